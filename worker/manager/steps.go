package manager

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// StepHook is called before and after each manager-side step ("after": done, not answered yet). Crash tests use it.
type StepHook func(ctx context.Context, phase string, ref op.StepRef)

// stepRecorder writes down the steps that run beside the manager. What it cannot write, the digest at the end mends.
type stepRecorder struct {
	interceptor.WorkerInterceptorBase
	db   *db.DB
	log  *slog.Logger
	hook StepHook
}

func (r *stepRecorder) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &stepInbound{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, r: r}
}

type stepInbound struct {
	interceptor.ActivityInboundInterceptorBase
	r *stepRecorder
}

func (i *stepInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	ref, ok := op.Ref(ctx)
	if !ok {
		return i.Next.ExecuteActivity(ctx, in)
	}
	id, err := uuid.Parse(ref.Operation)
	if err != nil {
		return i.Next.ExecuteActivity(ctx, in)
	}
	if i.r.hook != nil {
		i.r.hook(ctx, "before", ref)
	}
	i.r.begin(ctx, id, ref)
	out, err := i.Next.ExecuteActivity(ctx, in)
	i.r.end(ctx, id, ref, err)
	if i.r.hook != nil {
		i.r.hook(ctx, "after", ref)
	}
	return out, err
}

func (r *stepRecorder) begin(ctx context.Context, id uuid.UUID, ref op.StepRef) {
	r.write(ctx, id, ref, func(ctx context.Context, q *gen.Queries) error {
		return q.UpsertStep(ctx, gen.UpsertStepParams{
			OperationID: id, Step: ref.Step, Seq: int32(ref.Seq), Verb: ref.Verb, Title: ref.Title, Undo: ref.Undo,
			Attempt: activity.GetInfo(ctx).Attempt,
		})
	})
}

func (r *stepRecorder) end(ctx context.Context, id uuid.UUID, ref op.StepRef, err error) {
	p := gen.EndStepParams{OperationID: id, Step: ref.Step, State: "completed"}
	if err != nil {
		p.State = "failed"
		var app *temporal.ApplicationError
		if !errors.As(err, &app) || !app.NonRetryable() {
			p.State = "retrying"
		}
		p.Failure, _ = json.Marshal(op.FailureOf(err))
	}
	r.write(ctx, id, ref, func(ctx context.Context, q *gen.Queries) error { return q.EndStep(ctx, p) })
}

func (r *stepRecorder) write(ctx context.Context, id uuid.UUID, ref op.StepRef, fn func(context.Context, *gen.Queries) error) {
	err := r.db.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if err := fn(ctx, q); err != nil {
			return err
		}
		return db.Notify(ctx, q, db.Event{Kind: "step", ID: ref.Step, Parent: id.String()})
	})
	if err != nil {
		r.log.Warn("write down a step", "operation", id, "step", ref.Step, "error", err)
	}
}
