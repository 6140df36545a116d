package hostimpl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/temporal"
)

// attempt is what a changing verb knows of its own past.
type attempt struct {
	Ref op.StepRef
	// Interrupted says that an earlier attempt of this step began and did not end.
	Interrupted bool

	flight  *flight
	journal *journal
	rec     *record
}

// Progress sets what the next heartbeat tells.
func (a *attempt) Progress(p host.Progress) { a.flight.report(p) }

// Notes reads what an earlier attempt saved; false where it saved nothing.
func (a *attempt) Notes(v any) (bool, error) {
	if a.rec == nil || len(a.rec.Notes) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(a.rec.Notes, v); err != nil {
		return false, fmt.Errorf("read notes of step %s: %w", a.Ref.Step, err)
	}
	return true, nil
}

// Save writes private notes through to the disk: what a later attempt has to know if this one is interrupted.
func (a *attempt) Save(v any) error {
	if a.rec == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save notes of step %s: %w", a.Ref.Step, err)
	}
	a.rec.Notes = b
	return a.journal.save(*a.rec)
}

// changing wraps a verb that changes something: a step reference is required, the fence checked, the work journaled
// and done by one flight however many attempts ask for it.
func changing[In, Out any](v *Verbs, a op.Activity[In, Out],
	fn func(context.Context, *attempt, In) (Out, error),
) op.Implementation {
	return a.Impl(func(ctx context.Context, in In) (Out, error) {
		var zero Out
		ref, ok := op.Ref(ctx)
		if !ok {
			return zero, op.Permanent(op.CodeForbidden, "refuse %s: it changes the host and belongs to no step of an operation", "",
				a.Name)
		}
		if err := v.ready(); err != nil {
			return zero, classify(err)
		}
		if ref.ReadOnly {
			return watch(ctx, v, func(ctx context.Context, f *flight) (Out, error) {
				return fn(ctx, &attempt{Ref: ref, flight: f}, in)
			})
		}
		if _, err := v.journal.file(ref.Operation, ref.Step); err != nil {
			return zero, err
		}
		if ref.Object != "" {
			if err := v.fences.pass(ref.Object, ref.Fence); err != nil {
				return zero, err
			}
		}
		f := v.flights.join(ctx, ref.Operation+"/"+ref.Step, func(f *flight) (any, error) {
			return once(v, f, a.Name, ref, func(ctx context.Context, at *attempt) (Out, error) { return fn(ctx, at, in) })
		})
		return landed[Out](f.await(ctx, v.log))
	})
}

// reading wraps a verb that changes nothing: it needs neither journal nor fence and ends when nobody waits.
func reading[In, Out any](v *Verbs, a op.Activity[In, Out], fn func(context.Context, In) (Out, error)) op.Implementation {
	return a.Impl(func(ctx context.Context, in In) (Out, error) {
		return watch(ctx, v, func(ctx context.Context, _ *flight) (Out, error) { return fn(ctx, in) })
	})
}

func watch[Out any](ctx context.Context, v *Verbs, fn func(context.Context, *flight) (Out, error)) (Out, error) {
	f := begin(ctx, v.log, func(f *flight) (any, error) {
		out, err := fn(f.ctx, f)
		return out, ended(f, err)
	}, func(*flight) {})
	defer f.cancel(errOrphan)
	return landed[Out](f.await(ctx, v.log))
}

func landed[Out any](out any, err error) (Out, error) {
	var zero Out
	if err != nil {
		return zero, err
	}
	o, ok := out.(Out)
	if !ok {
		// Two verbs under one step reference: a bug of a workflow.
		return zero, op.Permanent(op.CodeInvalid, "answer the step: another verb runs under the same reference", "")
	}
	return o, nil
}

// once does the work of a step unless the journal has its answer.
func once[Out any](v *Verbs, f *flight, verb string, ref op.StepRef,
	fn func(context.Context, *attempt) (Out, error),
) (any, error) {
	var zero Out
	rec, known, err := v.journal.load(ref.Operation, ref.Step)
	if err != nil {
		return zero, err
	}
	if known && rec.Verb != verb {
		return zero, op.Permanent(op.CodeInvalid, "answer the step: it was %s before and is %s now", "", rec.Verb, verb)
	}
	if known && rec.State == stateDone {
		return recall[Out](rec)
	}
	if !known {
		rec = record{State: stateIntent, Verb: verb, Operation: ref.Operation, Step: ref.Step, StartedAt: time.Now().UTC()}
	}
	rec.Attempts++
	if err := v.journal.save(rec); err != nil {
		return zero, err
	}
	at := &attempt{Ref: ref, Interrupted: known, flight: f, journal: v.journal, rec: &rec}
	out, err := fn(f.ctx, at)
	if err = ended(f, err); err != nil && !permanent(err) {
		return zero, err
	}
	if v.cfg.Worked != nil {
		v.cfg.Worked(f.ctx, ref)
	}
	rec.State, rec.EndedAt = stateDone, time.Now().UTC()
	if err != nil {
		rec.Failure = failureOf(err)
	} else if rec.Answer, err = json.Marshal(out); err != nil {
		return zero, fmt.Errorf("write the answer of step %s: %w", ref.Step, err)
	}
	if jerr := v.journal.finish(rec); jerr != nil {
		v.log.Error("answer not in the journal: if it is lost the step may be asked for again after a restart",
			"operation", ref.Operation, "step", ref.Step, "error", jerr)
	}
	if rec.Failure != nil {
		return zero, asError(*rec.Failure)
	}
	return out, nil
}

// recall gives the same answer again, a failure included.
func recall[Out any](rec record) (any, error) {
	var out Out
	if rec.Failure != nil {
		return out, asError(*rec.Failure)
	}
	if err := json.Unmarshal(rec.Answer, &out); err != nil {
		return out, op.Permanent(op.CodeInternal, "read the answer of step %s from the journal: %v", "", rec.Step, err)
	}
	return out, nil
}

// ended says why work ended that did not come to its own end, so that it is neither journaled nor taken for a failure.
func ended(f *flight, err error) error {
	if err == nil {
		return nil
	}
	switch cause := context.Cause(f.ctx); {
	case errors.Is(cause, errAsked):
		return temporal.NewCanceledError(op.Failure{Code: op.CodeCanceled, Message: err.Error()})
	case errors.Is(cause, errStopping), errors.Is(cause, errOrphan):
		return op.Transient(op.CodeBusy, fmt.Errorf("interrupted, %w: %w", cause, err))
	}
	return classify(err)
}

func unmarshalNotes(r record, v any) error {
	if len(r.Notes) == 0 {
		return nil
	}
	return json.Unmarshal(r.Notes, v)
}
