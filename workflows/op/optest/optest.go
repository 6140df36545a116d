// Package optest runs operations in Temporal's test environment with fakes of the agents' and managers' verbs, so that
// every operation can be disturbed at every step in milliseconds. Fakes are by verb, not by operation: a new
// operation that composes known verbs is tested without a line being written.
package optest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

// The ids that fakes and inputs use.
const (
	OperationID = "01900000-0000-7000-8000-000000000001"
	HostID      = "01900000-0000-7000-8000-000000000002"
	InstanceID  = "01900000-0000-7000-8000-000000000003"
	// Name of the fake instance and host.
	Name = "fake"
)

// Disturb decides what an attempt at a step does: nil for its work, an error instead of it.
type Disturb func(ref op.StepRef, attempt int) error

// ErrLost stands for an answer that never came though the work was done.
var ErrLost = errors.New("the answer was lost")

// Run is one run of an operation.
type Run struct {
	// Steps as they were begun, in order, retries left out.
	Steps []op.StepRef
	// Attempts by step.
	Attempts map[string]int
	// Finished is what the end recorded; nil if it was never told.
	Finished *op.FinishedIn
	Outcome  op.Outcome
	// Error of the workflow itself; operations have none even when they fail.
	Error error

	mu sync.Mutex
}

// Options of a run.
type Options struct {
	DryRun  bool
	Disturb Disturb
	// CancelAt cancels the operation when the step begins.
	CancelAt string
}

// Envelope is what admission would give the operation's workflow for its example input.
func Envelope(o op.Operation, dryRun bool) (op.Envelope, error) {
	raw, err := Input(o.InputType())
	if err != nil {
		return op.Envelope{}, err
	}
	in, fields, err := o.Prepare(raw)
	if err != nil || len(fields) > 0 {
		return op.Envelope{}, fmt.Errorf("prepare example input %s: %v %w", raw, fields, err)
	}
	prepared, err := json.Marshal(in)
	if err != nil {
		return op.Envelope{}, fmt.Errorf("write input: %w", err)
	}
	return op.Envelope{
		Operation: OperationID, Name: o.Info().Name, Actor: "test", Target: o.Info().Target, TargetID: o.TargetID(in), HostID: HostID,
		ObjectID: InstanceID, Fence: 1, DryRun: dryRun, Input: prepared,
	}, nil
}

// Execute runs an operation with its example input.
func Execute(o op.Operation, opt Options) (*Run, error) {
	envelope, err := Envelope(o, opt.DryRun)
	if err != nil {
		return nil, err
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetContextPropagators([]workflow.ContextPropagator{op.StepPropagator()})
	r := &Run{Attempts: map[string]int{}}
	for _, impl := range Fakes(func(ctx context.Context) error { return r.attempt(ctx, opt, env.CancelWorkflow) }) {
		env.RegisterActivityWithOptions(impl.Func, impl.Options)
	}
	r.registerRecords(env)
	env.RegisterWorkflowWithOptions(o.Workflow(), workflow.RegisterOptions{Name: o.Info().Name})
	env.ExecuteWorkflow(o.Info().Name, envelope)
	if !env.IsWorkflowCompleted() {
		return r, errors.New("the workflow is stuck")
	}
	if r.Error = env.GetWorkflowError(); r.Error == nil {
		r.Error = env.GetWorkflowResult(&r.Outcome)
	}
	return r, nil
}

func (r *Run) registerRecords(env *testsuite.TestWorkflowEnvironment) {
	running := op.RecordRunning.Impl(func(context.Context, op.RunningIn) (op.Nothing, error) { return op.Nothing{}, nil })
	env.RegisterActivityWithOptions(running.Func, running.Options)
	finished := op.RecordFinished.Impl(func(_ context.Context, in op.FinishedIn) (op.Nothing, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Finished = &in
		return op.Nothing{}, nil
	})
	env.RegisterActivityWithOptions(finished.Func, finished.Options)
}

// attempt is what happens at each attempt at a step; an error is returned instead of the verb's answer.
func (r *Run) attempt(ctx context.Context, opt Options, cancel func()) error {
	ref, _ := op.Ref(ctx)
	r.mu.Lock()
	r.Attempts[ref.Step]++
	attempt := r.Attempts[ref.Step]
	if attempt == 1 {
		r.Steps = append(r.Steps, ref)
	}
	r.mu.Unlock()
	if opt.CancelAt == ref.Step && attempt == 1 {
		cancel()
	}
	if opt.Disturb != nil {
		return opt.Disturb(ref, attempt)
	}
	return nil
}

// fake is a verb that asks what to do first.
type fake func(attempt func(context.Context) error) op.Implementation

// answer makes a fake that always answers the same.
func answer[In, Out any](a op.Activity[In, Out], out Out) fake {
	return func(attempt func(context.Context) error) op.Implementation {
		return a.Impl(func(ctx context.Context, _ In) (Out, error) {
			if err := attempt(ctx); err != nil {
				var zero Out
				return zero, err
			}
			return out, nil
		})
	}
}

// Fakes implements every verb of both contracts; attempt is called first at each attempt at a step, and its error
// is the verb's.
func Fakes(attempt func(context.Context) error) []op.Implementation {
	var all []op.Implementation
	for _, f := range fakes() {
		all = append(all, f(attempt))
	}
	return all
}

// fakes answers for every verb of both contracts as a healthy host and repository would.
func fakes() []fake {
	instance := host.Instance{DataDirectory: "/data/fake", Status: host.InstanceRunning, Port: 5432, PID: 42}
	one := "1"
	rows := host.PGQueryOut{Columns: []host.PGColumn{{Name: "?column?", Type: "integer"}}, Rows: [][]*string{{&one}}}
	return []fake{
		answer(host.CommandRun, host.CommandRunOut{}),
		answer(host.FileRead, host.FileReadOut{}),
		answer(host.FileWrite, host.FileWriteOut{Changed: true}),
		answer(host.FileStat, host.FileStatOut{FreeBytes: 1 << 40, TotalBytes: 1 << 41, NearestParent: "/"}),
		answer(host.FileRemove, host.FileRemoveOut{Removed: true}),
		answer(host.FileMkdir, host.FileMkdirOut{}),
		answer(host.JobStart, host.JobStartOut{Job: host.JobRef{Name: "job"}}),
		answer(host.JobWait, host.JobStatus{State: "done"}),
		answer(host.JobCollect, host.CommandRunOut{}),
		answer(host.JobStop, host.JobStatus{State: "stopped"}),
		answer(host.PGQuery, rows),
		answer(host.PGExec, host.PGExecOut{PGQueryOut: rows}),
		answer(host.PGCtl, host.PGCtlOut{Changed: true, Instance: instance}),
		answer(host.UnitControl, host.UnitControlOut{ActiveState: "active"}),
		answer(host.HostFacts, host.Facts{}),
		answer(host.InstanceInspect, instance),
		answer(host.PortProbe, host.PortProbeOut{}),
		answer(host.Fence, op.Nothing{}),
		answer(manager.HostGet, manager.Host{ID: HostID, Name: Name, InstanceOSUser: "postgres", Binaries: []host.Binaries{
			{Dir: "/usr/lib/postgresql/15/bin", Version: "15.18", Major: "15", Edition: "postgresql"},
		}}),
		answer(manager.InstanceGet, manager.Instance{
			ID: InstanceID, HostID: HostID, Name: Name, Managed: true, DataDirectory: "/data/fake", Port: 5432, DBMSUser: "postgres",
			Database: "postgres", OSUser: "postgres", BinDir: "/usr/lib/postgresql/15/bin",
		}),
		answer(manager.InstanceRegister, op.Nothing{}),
		answer(manager.InstanceAdopt, op.Nothing{}),
		answer(manager.InstanceObserved, op.Nothing{}),
		answer(manager.InstanceForget, op.Nothing{}),
	}
}

// Input makes an operation's input from its schema: the fake objects, examples, and nothing where there is a default.
func Input(t reflect.Type) (json.RawMessage, error) {
	values := map[string]any{
		"host_id": HostID, "instance_id": InstanceID, "name": Name, "confirm_name": Name, "data_directory": "/data/fake", "port": 5432,
	}
	in, err := FillInput(t, values)
	if err != nil {
		return nil, err
	}
	return json.Marshal(in)
}

// FillInput fills an input from given values by field name and from the examples of the schema; fields with a default
// and optional ones without example are left out.
func FillInput(t reflect.Type, values map[string]any) (map[string]any, error) {
	in := map[string]any{}
	for _, f := range reflect.VisibleFields(t) {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || f.Anonymous {
			continue
		}
		if v, ok := values[name]; ok {
			in[name] = v
			continue
		}
		example, ok := f.Tag.Lookup("example")
		if _, hasDefault := f.Tag.Lookup("default"); !ok && (hasDefault || strings.Contains(rest, "omitempty")) {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("field %s is required and has neither default nor example", name)
		}
		if f.Type.Kind() == reflect.String {
			in[name] = example
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(example), &v); err != nil {
			return nil, fmt.Errorf("example of field %s: %w", name, err)
		}
		in[name] = v
	}
	return in, nil
}
