package admit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/api/serviceerror"
)

// Cancel asks an operation to end: what has not begun ends at once, what runs undoes its work first.
func (s *Service) Cancel(ctx context.Context, id uuid.UUID, actor Actor) (gen.Operation, error) {
	var row gen.Operation
	var granted []uuid.UUID
	forward := false
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		var err error
		forward = false
		if row, err = s.open(ctx, q, id); err != nil {
			return err
		}
		if o := workflows.ByName(row.Name); o != nil && o.Info().Cancel == op.CancelNever {
			return errs.New(errs.Conflict, "not-cancelable", "%s cannot be canceled.", row.Title)
		}
		if row, err = q.RequestCancel(ctx, id); err != nil {
			return fmt.Errorf("record the wish to cancel: %w", err)
		}
		if err := s.auditControl(ctx, q, row, actor, "operation-cancel"); err != nil {
			return err
		}
		if row.State == string(op.StateWaiting) {
			row, granted, err = db.Finish(ctx, q, db.End{
				Operation: id, State: string(op.StateCanceled), Undone: string(op.UndoneNothing),
				Message: "Canceled by " + actor.Login + " before it began.",
				Failure: json.RawMessage(`{"code":"canceled","message":"The operation was canceled before it began."}`),
			})
			return err
		}
		forward = true
		return db.Notify(ctx, q, db.Event{Kind: "operation", ID: id.String()})
	})
	if err != nil {
		return row, err
	}
	s.StartGranted(ctx, granted)
	if forward {
		s.forwardCancel(ctx, row)
	}
	return row, nil
}

// forwardCancel tells Temporal; if it is away the reconciler repeats it.
func (s *Service) forwardCancel(ctx context.Context, row gen.Operation) {
	if err := s.Start(ctx, row); err != nil {
		s.Log.Warn("start before cancel", "operation", row.ID, "error", err)
	}
	if err := s.Temporal.CancelWorkflow(ctx, row.ID.String(), ""); err != nil {
		s.Log.Warn("cancel is recorded, but Temporal did not take it; the reconciler repeats it", "operation", row.ID, "error", err)
	}
}

// Pause holds a running operation between two steps; Resume lets it go on.
func (s *Service) Pause(ctx context.Context, id uuid.UUID, actor Actor) (gen.Operation, error) {
	return s.signal(ctx, id, actor, op.SignalPause)
}

// Resume lets a paused operation go on.
func (s *Service) Resume(ctx context.Context, id uuid.UUID, actor Actor) (gen.Operation, error) {
	return s.signal(ctx, id, actor, op.SignalResume)
}

func (s *Service) signal(ctx context.Context, id uuid.UUID, actor Actor, name string) (gen.Operation, error) {
	var row gen.Operation
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		var err error
		if row, err = s.open(ctx, q, id); err != nil {
			return err
		}
		if row.State == string(op.StateWaiting) {
			return errs.New(errs.Conflict, "not-running", "The operation waits for a lock and cannot be %sd.", name)
		}
		return s.auditControl(ctx, q, row, actor, "operation-"+name)
	})
	if err != nil {
		return row, err
	}
	err = s.Temporal.SignalWorkflow(ctx, id.String(), "", name, nil)
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return row, errs.New(errs.Conflict, "not-running", "The operation does not run.").Because(err)
	}
	if err != nil {
		return row, errs.New(errs.Unavailable, "temporal-unavailable", "Temporal did not take the request; try again.").Because(err)
	}
	return row, nil
}

// Retry asks for the same thing again as a new operation. Verbs that find their work done do nothing, so it
// takes up where the failed one stopped.
func (s *Service) Retry(ctx context.Context, id uuid.UUID, actor Actor, key string) (gen.Operation, error) {
	row, err := s.DB.GetOperation(ctx, id)
	if db.IsNotFound(err) {
		return row, errs.New(errs.NotFound, "not-found", "There is no operation %s.", id)
	}
	if err != nil {
		return row, fmt.Errorf("look up operation: %w", err)
	}
	if s := op.State(row.State); s != op.StateFailed && s != op.StateCanceled {
		return row, errs.New(errs.Conflict, "not-retryable", "Only a failed or canceled operation can be retried; this one is %s.",
			row.State)
	}
	return s.Admit(ctx, Request{Name: row.Name, Input: row.Input, Actor: actor, IdempotencyKey: key, RetryOf: &row.ID})
}

func (s *Service) open(ctx context.Context, q *gen.Queries, id uuid.UUID) (gen.Operation, error) {
	row, err := q.GetOperationForUpdate(ctx, id)
	if db.IsNotFound(err) {
		return row, errs.New(errs.NotFound, "not-found", "There is no operation %s.", id)
	}
	if err != nil {
		return row, fmt.Errorf("look up operation: %w", err)
	}
	if op.State(row.State).Final() {
		return row, errs.New(errs.Conflict, "already-ended", "The operation has already ended: %s.", row.State)
	}
	return row, nil
}

func (s *Service) auditControl(ctx context.Context, q *gen.Queries, row gen.Operation, actor Actor, action string) error {
	if err := q.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: actor.Login, AccountID: actor.AccountID, RemoteAddress: actor.RemoteAddress, Action: action, TargetKind: "operation",
		TargetID: row.ID.String(), TargetName: row.Title, Result: "accepted", OperationID: &row.ID, Detail: json.RawMessage(`{}`),
	}); err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}
