// Package managerimpl carries out the manager-side activities on the repository. Each is one transaction and
// idempotent, so that a retry after a lost answer changes nothing more.
package managerimpl

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// Activities holds what they need.
type Activities struct {
	DB  *db.DB
	Log *slog.Logger
	// StartGranted starts operations that got their locks by the end of another one.
	StartGranted func(ctx context.Context, ids []uuid.UUID)
	// LaunchSchedule runs one time of a schedule; RunState tells whether its operation has ended.
	LaunchSchedule func(ctx context.Context, in manager.ScheduleLaunchIn) (manager.ScheduleLaunchOut, error)
	RunState       func(ctx context.Context, in manager.ScheduleLaunchIn) (manager.ScheduleLaunchOut, error)
	// RunEnded tells the launch workflow of a schedule that its operation ended.
	RunEnded func(ctx context.Context, o gen.Operation)
}

// Implementations binds the contract.
func (a *Activities) Implementations() []op.Implementation {
	return []op.Implementation{
		op.RecordRunning.Impl(a.recordRunning),
		op.RecordFinished.Impl(a.recordFinished),
		manager.HostGet.Impl(a.hostGet),
		manager.InstanceGet.Impl(a.instanceGet),
		manager.InstanceRegister.Impl(a.instanceRegister),
		manager.InstanceAdopt.Impl(a.instanceAdopt),
		manager.InstanceObserved.Impl(a.instanceObserved),
		manager.InstanceForget.Impl(a.instanceForget),
		manager.ScheduleLaunch.Impl(a.LaunchSchedule),
		manager.ScheduleRunState.Impl(a.RunState),
	}
}

func (a *Activities) recordRunning(ctx context.Context, in op.RunningIn) (op.Nothing, error) {
	id, err := parse(in.Operation)
	if err != nil {
		return op.Nothing{}, err
	}
	return op.Nothing{}, a.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		_, err := q.MarkRunning(ctx, string(in.State), id)
		if db.IsNotFound(err) {
			return op.Permanent("operation-closed", "The operation was closed before it could run.", "")
		}
		if err != nil {
			return fmt.Errorf("record state of operation %s: %w", id, err)
		}
		return db.Notify(ctx, q, db.Event{Kind: "operation", ID: in.Operation})
	})
}

func (a *Activities) recordFinished(ctx context.Context, in op.FinishedIn) (op.Nothing, error) {
	end, err := endOf(in)
	if err != nil {
		return op.Nothing{}, err
	}
	var granted []uuid.UUID
	var row gen.Operation
	if err := a.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		row, granted, err = db.Finish(ctx, q, end)
		return err
	}); err != nil {
		return op.Nothing{}, err
	}
	a.StartGranted(ctx, granted)
	if row.ScheduleID != nil {
		a.RunEnded(ctx, row)
	}
	return op.Nothing{}, nil
}

func endOf(in op.FinishedIn) (db.End, error) {
	id, err := parse(in.Operation)
	if err != nil {
		return db.End{}, err
	}
	end := db.End{Operation: id, State: string(in.Outcome.State), Result: in.Outcome.Result, Undone: string(in.Outcome.Undone)}
	if f := in.Outcome.Failure; f != nil {
		end.Message = f.Message
		if end.Failure, err = json.Marshal(f); err != nil {
			return end, fmt.Errorf("write failure: %w", err)
		}
	}
	if len(in.Outcome.Plan) > 0 {
		if end.Plan, err = json.Marshal(in.Outcome.Plan); err != nil {
			return end, fmt.Errorf("write plan: %w", err)
		}
	}
	for _, s := range in.Steps {
		r := db.StepRecord{Step: s.Step, Seq: int32(s.Seq), Verb: s.Verb, Title: s.Title, State: s.State, Undo: s.Undo}
		if h, err := uuid.Parse(s.Host); err == nil {
			r.Host = &h
		}
		if s.Failure != nil {
			if r.Failure, err = json.Marshal(s.Failure); err != nil {
				return end, fmt.Errorf("write failure of step %s: %w", s.Step, err)
			}
		}
		end.Steps = append(end.Steps, r)
	}
	return end, nil
}

func parse(id string) (uuid.UUID, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return u, op.Permanent(op.CodeInvalid, "%q is not an id", "", id)
	}
	return u, nil
}
