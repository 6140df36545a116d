package op

import (
	"context"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
)

// ManagerQueue is the task queue of the managers: workflows and manager-side activities.
const ManagerQueue = "manager"

// AgentQueue is the only place that turns a host's id into a task queue.
func AgentQueue(hostID string) string { return "agent:" + hostID }

// StepHeader is the header field that carries a StepRef with every activity; the gateway reads it too.
const StepHeader = "pgdrover-step"

// StepRef says which step of which operation an activity is. Agents use Operation and Step to do work
// once, Object and Fence to refuse what comes from an operation that lost its lock.
type StepRef struct {
	Operation string `json:"operation"`
	Step      string `json:"step"`
	Seq       int    `json:"seq"`
	Verb      string `json:"verb"`
	Title     string `json:"title"`
	// Host is the host's id, empty for manager-side steps.
	Host   string `json:"host,omitempty"`
	Object string `json:"object,omitempty"`
	Fence  int64  `json:"fence,omitempty"`
	// Undo marks a compensation.
	Undo bool `json:"undo,omitempty"`
	// ReadOnly steps need neither journal nor fence.
	ReadOnly bool `json:"read_only,omitempty"`
}

type refKey struct{}

func withRef(ctx workflow.Context, ref StepRef) workflow.Context {
	return workflow.WithValue(ctx, refKey{}, ref)
}

// Ref returns the step an activity's context belongs to; ok is false outside operations (live reads).
func Ref(ctx context.Context) (ref StepRef, ok bool) {
	ref, ok = ctx.Value(refKey{}).(StepRef)
	return ref, ok
}

// ContextWithRef puts a step into a context, for tests of verbs.
func ContextWithRef(ctx context.Context, ref StepRef) context.Context {
	return context.WithValue(ctx, refKey{}, ref)
}

// StepPropagator carries the StepRef from workflow to activity in the header. Every client and worker has it.
func StepPropagator() workflow.ContextPropagator { return propagator{} }

type propagator struct{}

func (propagator) Inject(ctx context.Context, w workflow.HeaderWriter) error { return nil }

func (propagator) InjectFromWorkflow(ctx workflow.Context, w workflow.HeaderWriter) error {
	ref, ok := ctx.Value(refKey{}).(StepRef)
	if !ok {
		return nil
	}
	p, err := converter.GetDefaultDataConverter().ToPayload(ref)
	if err != nil {
		return err
	}
	w.Set(StepHeader, p)
	return nil
}

func (propagator) Extract(ctx context.Context, r workflow.HeaderReader) (context.Context, error) {
	p, ok := r.Get(StepHeader)
	if !ok {
		return ctx, nil
	}
	var ref StepRef
	if err := converter.GetDefaultDataConverter().FromPayload(p, &ref); err != nil {
		return ctx, err
	}
	return ContextWithRef(ctx, ref), nil
}

func (propagator) ExtractToWorkflow(ctx workflow.Context, r workflow.HeaderReader) (workflow.Context, error) {
	return ctx, nil
}
