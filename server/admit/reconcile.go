package admit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
)

// Reconcile repairs what a crash left between repository and Temporal: it starts accepted operations, closes rows
// whose workflow is gone and frees their locks, repeats cancellations, grants free locks, and raises late ones.
// It is safe to run anywhere, at any time, more than once at a time.
func (s *Service) Reconcile(ctx context.Context) (string, error) {
	var errList []error
	started, err := s.startAccepted(ctx)
	errList = append(errList, err)
	closed, err := s.checkRunning(ctx)
	errList = append(errList, err)
	granted, err := s.grantWaiting(ctx)
	errList = append(errList, err)
	late, err := s.raiseLate(ctx)
	errList = append(errList, err)
	return fmt.Sprintf("%d started, %d closed, %d granted, %d late", started, closed, granted, late), errors.Join(errList...)
}

func (s *Service) startAccepted(ctx context.Context) (int, error) {
	ids, err := s.DB.OpenOperationsToStart(ctx, 2)
	if err != nil {
		return 0, fmt.Errorf("list operations to start: %w", err)
	}
	for n, id := range ids {
		row, err := s.DB.GetOperation(ctx, id)
		if err != nil {
			return n, fmt.Errorf("look up operation %s: %w", id, err)
		}
		if err := s.Start(ctx, row); err != nil {
			return n, err
		}
		// A row whose workflow was started and ended without a word is found by checkRunning from now on.
		if err := s.DB.MarkWorkflowStarted(ctx, id); err != nil {
			return n, fmt.Errorf("mark operation %s as started: %w", id, err)
		}
	}
	return len(ids), nil
}

func (s *Service) checkRunning(ctx context.Context) (int, error) {
	rows, err := s.DB.OpenOperationsToCheck(ctx, 20)
	if err != nil {
		return 0, fmt.Errorf("list running operations: %w", err)
	}
	closed := 0
	for _, r := range rows {
		gone, why, err := s.gone(ctx, r.ID)
		if err != nil {
			return closed, err
		}
		if !gone {
			if r.CancelRequested {
				if err := s.Temporal.CancelWorkflow(ctx, r.ID.String(), ""); err != nil {
					s.Log.Warn("repeat a cancellation", "operation", r.ID, "error", err)
				}
			}
			continue
		}
		if err := s.closeLost(ctx, r.ID, why); err != nil {
			return closed, err
		}
		closed++
	}
	return closed, nil
}

func (s *Service) gone(ctx context.Context, id uuid.UUID) (bool, string, error) {
	d, err := s.Temporal.DescribeWorkflowExecution(ctx, id.String(), "")
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return true, "Its workflow is no longer known to Temporal.", nil
	}
	if err != nil {
		return false, "", fmt.Errorf("describe the workflow of operation %s: %w", id, err)
	}
	status := d.GetWorkflowExecutionInfo().GetStatus()
	if status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING || status == enums.WORKFLOW_EXECUTION_STATUS_PAUSED {
		return false, "", nil
	}
	// A finished workflow closes its own row a moment before it ends; give a slow transaction its time.
	if end := d.GetWorkflowExecutionInfo().GetCloseTime(); end != nil && time.Since(end.AsTime()) < 10*time.Second {
		return false, "", nil
	}
	return true, "Its workflow was ended from outside (" + status.String() + ").", nil
}

func (s *Service) closeLost(ctx context.Context, id uuid.UUID, why string) error {
	failure, err := json.Marshal(op.Failure{
		Code: "lost", Message: "The operation was lost. " + why,
		Hint: "Look at the object before you try again: steps may have been half done.",
	})
	if err != nil {
		return fmt.Errorf("write failure: %w", err)
	}
	var granted []uuid.UUID
	if err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		_, granted, err = db.Finish(ctx, q, db.End{
			Operation: id, State: string(op.StateFailed), Failure: failure, Message: why, Undone: string(op.UndonePartly),
		})
		return err
	}); err != nil {
		return fmt.Errorf("close lost operation %s: %w", id, err)
	}
	s.StartGranted(ctx, granted)
	return nil
}

func (s *Service) grantWaiting(ctx context.Context) (int, error) {
	var ids []uuid.UUID
	if err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		var err error
		ids, err = db.GrantWaiting(ctx, q)
		return err
	}); err != nil {
		return 0, fmt.Errorf("grant waiting operations: %w", err)
	}
	s.StartGranted(ctx, ids)
	return len(ids), nil
}

func (s *Service) raiseLate(ctx context.Context) (int, error) {
	n := 0
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		rows, err := q.MarkLate(ctx)
		if err != nil {
			return err
		}
		n = len(rows)
		for _, o := range rows {
			if err := raise(ctx, q, o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("raise late operations: %w", err)
	}
	return n, nil
}

func raise(ctx context.Context, q *gen.Queries, o gen.Operation) error {
	if o.AccountID != nil {
		id := uuid.Must(uuid.NewV7())
		if err := q.InsertNotification(ctx, gen.InsertNotificationParams{
			ID: id, AccountID: *o.AccountID, Kind: "operation-late", Title: o.Title + " " + o.TargetName + " is late",
			Body:     "It should have ended by now. It is still at work; look whether its host is online.",
			Severity: "warning", OperationID: &o.ID,
		}); err != nil {
			return err
		}
		if err := db.Notify(ctx, q, db.Event{Kind: "notification", ID: id.String(), Parent: o.AccountID.String()}); err != nil {
			return err
		}
	}
	return db.Notify(ctx, q, db.Event{Kind: "operation", ID: o.ID.String()})
}
