package db

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db/gen"
)

// StepRecord is a step as its workflow saw it end.
type StepRecord struct {
	Step    string
	Seq     int32
	Verb    string
	Title   string
	Host    *uuid.UUID
	State   string
	Undo    bool
	Failure json.RawMessage
}

// End is the end of an operation.
type End struct {
	Operation uuid.UUID
	State     string
	Result    json.RawMessage
	Plan      json.RawMessage
	Failure   json.RawMessage
	// Message is the failure's sentence, for the notification.
	Message string
	Undone  string
	Steps   []StepRecord
}

// Finish closes an operation: record, digest of its steps, locks, audit and notification, all or nothing. Told
// twice it does nothing more. It returns the operations that got their locks and may start.
func Finish(ctx context.Context, q *gen.Queries, e End) (o gen.Operation, granted []uuid.UUID, err error) {
	digest, err := digestOf(e.Steps)
	if err != nil {
		return o, nil, err
	}
	o, err = q.FinishOperation(ctx, gen.FinishOperationParams{
		ID: e.Operation, State: e.State, Result: e.Result, Plan: e.Plan, Failure: e.Failure, Undone: e.Undone, Digest: digest,
	})
	if IsNotFound(err) {
		return o, nil, nil
	}
	if err != nil {
		return o, nil, fmt.Errorf("close operation %s: %w", e.Operation, err)
	}
	if err := mendSteps(ctx, q, e); err != nil {
		return o, nil, err
	}
	if _, err := q.ReleaseLocks(ctx, e.Operation); err != nil {
		return o, nil, fmt.Errorf("release locks of operation %s: %w", e.Operation, err)
	}
	if err := announce(ctx, q, o, e); err != nil {
		return o, nil, err
	}
	granted, err = GrantWaiting(ctx, q)
	return o, granted, err
}

// mendSteps fills in what the gateway or an interceptor could not write down.
func mendSteps(ctx context.Context, q *gen.Queries, e End) error {
	for _, s := range e.Steps {
		if err := q.DigestStep(ctx, gen.DigestStepParams{
			OperationID: e.Operation, Step: s.Step, Seq: s.Seq, Verb: s.Verb, Title: s.Title, HostID: s.Host,
			State: s.State, Undo: s.Undo, Failure: s.Failure,
		}); err != nil {
			return fmt.Errorf("record step %s of operation %s: %w", s.Step, e.Operation, err)
		}
	}
	left := "canceled"
	if e.State == "failed" {
		left = "failed"
	}
	if err := q.SealSteps(ctx, left, e.Operation); err != nil {
		return fmt.Errorf("close steps of operation %s: %w", e.Operation, err)
	}
	return nil
}

func announce(ctx context.Context, q *gen.Queries, o gen.Operation, e End) error {
	result := "done"
	severity := map[string]string{"succeeded": "success", "failed": "error", "canceled": "warning"}[e.State]
	if e.State != "succeeded" {
		result = "failed"
	}
	if err := q.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: o.Actor, AccountID: o.AccountID, Action: o.Name, TargetKind: o.TargetKind, TargetID: idText(o.TargetID),
		TargetName: o.TargetName, Result: result, OperationID: &o.ID, Detail: json.RawMessage(`{"state":"` + e.State + `"}`),
	}); err != nil {
		return fmt.Errorf("audit operation %s: %w", o.ID, err)
	}
	if o.AccountID != nil && !o.DryRun {
		title := o.Title
		if o.TargetName != "" {
			title += " " + o.TargetName
		}
		id := uuid.Must(uuid.NewV7())
		if err := q.InsertNotification(ctx, gen.InsertNotificationParams{
			ID: id, AccountID: *o.AccountID, Kind: "operation-" + e.State, Title: title + ": " + e.State, Body: e.Message,
			Severity: severity, OperationID: &o.ID,
		}); err != nil {
			return fmt.Errorf("notify of operation %s: %w", o.ID, err)
		}
		if err := Notify(ctx, q, Event{Kind: "notification", ID: id.String(), Parent: o.AccountID.String()}); err != nil {
			return err
		}
	}
	return Notify(ctx, q, Event{Kind: "operation", ID: o.ID.String(), State: e.State})
}

func digestOf(steps []StepRecord) ([]byte, error) {
	b, err := json.Marshal(steps)
	if err != nil {
		return nil, fmt.Errorf("write steps: %w", err)
	}
	sum := sha256.Sum256(b)
	return sum[:], nil
}

func idText(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}
