package admit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// The search attributes of operations, ids and words only: Temporal keeps them in clear.
var (
	AttributeTarget    = temporal.NewSearchAttributeKeyKeywordList("PgdroverTarget")
	AttributeActor     = temporal.NewSearchAttributeKeyKeyword("PgdroverActor")
	AttributeOperation = temporal.NewSearchAttributeKeyKeyword("PgdroverOperation")
)

// SearchAttributes are those the namespace must have.
func SearchAttributes() map[string]enums.IndexedValueType {
	return map[string]enums.IndexedValueType{
		AttributeTarget.GetName():    enums.INDEXED_VALUE_TYPE_KEYWORD_LIST,
		AttributeActor.GetName():     enums.INDEXED_VALUE_TYPE_KEYWORD,
		AttributeOperation.GetName(): enums.INDEXED_VALUE_TYPE_KEYWORD,
	}
}

// Start starts the workflow of an accepted operation. Told twice it starts one.
func (s *Service) Start(ctx context.Context, row gen.Operation) error {
	env := op.Envelope{
		Operation: row.ID.String(), Name: row.Name, Actor: row.Actor, Target: op.TargetKind(row.TargetKind),
		TargetID: text(row.TargetID),
		HostID:   text(row.HostID), ObjectID: text(row.ObjectID), Fence: row.Fence, DryRun: row.DryRun, Input: row.Input,
	}
	targets := []string{}
	for _, id := range []*uuid.UUID{row.TargetID, row.HostID, row.ObjectID} {
		if id != nil {
			targets = append(targets, id.String())
		}
	}
	summary := row.Title
	if row.TargetName != "" {
		summary += " " + row.TargetName
	}
	if row.DryRun {
		summary += " (dry run)"
	}
	_, err := s.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: env.Operation, TaskQueue: op.ManagerQueue, WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL, WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart: true, StaticSummary: summary, Memo: map[string]any{"title": summary, "actor": row.Actor},
		TypedSearchAttributes: temporal.NewSearchAttributes(AttributeTarget.ValueSet(targets), AttributeActor.ValueSet(row.Actor),
			AttributeOperation.ValueSet(row.Name)),
	}, row.Name, env)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &already) {
		return fmt.Errorf("start the workflow of operation %s: %w", row.ID, err)
	}
	return nil
}

// StartOrLeave starts the workflow if Temporal answers soon; otherwise the row waits for the reconciler.
func (s *Service) StartOrLeave(ctx context.Context, row gen.Operation) {
	// The person's request may be cut off now; the operation was accepted and goes on.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Start(ctx, row); err != nil {
		s.Log.Warn("operation accepted, but Temporal is away; the reconciler will start it", "operation", row.ID, "error", err)
	}
}

// StartGranted starts operations that just got their locks.
func (s *Service) StartGranted(ctx context.Context, ids []uuid.UUID) {
	for _, id := range ids {
		row, err := s.DB.GetOperation(ctx, id)
		if err != nil {
			s.Log.Warn("look up a granted operation", "operation", id, "error", err)
			continue
		}
		s.StartOrLeave(ctx, row)
	}
}

func text(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}
