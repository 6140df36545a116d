// Package record_test runs every operation on a real Temporal with fakes of the verbs, and keeps the histories as the
// corpus of the replay test (workflows/replay_test.go): "make replay-record RELEASE=v0.1". Without the flag it records
// one operation and replays it, so that the recorder works on the day of a release. Histories of a release never change:
// files that exist are left alone.
package record_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/pgdrover/pgdrover/workflows/op/optest"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/temporaltest"
)

var release = flag.String("record", "", "record all operations as this release")

func TestRecord(t *testing.T) {
	st := newStage(t)
	if *release == "" {
		h := st.run(t, workflows.ByName("instance-restart"), &scenario{name: "success"})
		require.Equal(t, enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, h.GetEvents()[len(h.GetEvents())-1].GetEventType())
		require.NoError(t, replayer(t, workflows.ByName("instance-restart")).ReplayWorkflowHistory(nil, h))
		return
	}
	for _, o := range workflows.All {
		t.Run(o.Info().Name, func(t *testing.T) { st.record(t, o) })
	}
}

// record keeps the ways an operation can go: to its end, failing at its first and its last step, canceled and paused
// half way, and as a dry run.
func (st *stage) record(t *testing.T, o op.Operation) {
	peace, err := optest.Execute(o, optest.Options{})
	require.NoError(t, err)
	steps := peace.Steps
	half, last := steps[len(steps)/2].Step, steps[len(steps)-1].Step
	for _, sc := range []*scenario{
		{name: "success"},
		{name: "failed-first", failAt: steps[0].Step},
		{name: "failed-last", failAt: last},
		{name: "canceled", cancelAt: half},
		{name: "paused", pauseAt: steps[0].Step},
		{name: "dry-run", dryRun: true},
	} {
		dir := filepath.Join("..", "..", "..", "testdata", "replay", *release, o.Info().Name)
		file := filepath.Join(dir, sc.name+".json.gz")
		if _, err := os.Stat(file); err == nil {
			t.Logf("%s is there", file)
			continue
		}
		h := st.run(t, o, sc)
		require.NoError(t, replayer(t, o).ReplayWorkflowHistory(nil, h), "%s does not replay right after it was recorded", sc.name)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(file, packed(t, h), 0o644))
	}
}

// scenario is one way an operation goes, and what the fakes do for it.
type scenario struct {
	name                      string
	failAt, cancelAt, pauseAt string
	dryRun                    bool
}

// stage is a Temporal with the workers of a manager and of one agent.
type stage struct {
	client client.Client
	now    atomic.Pointer[scenario]
}

func newStage(t *testing.T) *stage {
	t.Helper()
	st := &stage{}
	server := temporaltest.NewServer(temporaltest.WithT(t))
	// A fixed name: the machine's would be in every history.
	st.client = server.NewClientWithOptions(client.Options{
		Identity: "record", ContextPropagators: []workflow.ContextPropagator{op.StepPropagator()},
	})
	options := worker.Options{Identity: "record", DisableRegistrationAliasing: true}
	manager := worker.New(st.client, op.ManagerQueue, options)
	options.DisableWorkflowWorker = true
	agent := worker.New(st.client, op.AgentQueue(optest.HostID), options)
	for _, o := range workflows.All {
		manager.RegisterWorkflowWithOptions(o.Workflow(), workflow.RegisterOptions{Name: o.Info().Name})
	}
	records := []op.Implementation{op.RecordRunning.Impl(st.recordRunning), op.RecordFinished.Impl(recordFinished)}
	for _, impl := range append(optest.Fakes(st.attempt), records...) {
		w := manager
		if impl.Info.Side == op.OnAgent {
			w = agent
		}
		w.RegisterActivityWithOptions(impl.Func, impl.Options)
	}
	for _, w := range []worker.Worker{manager, agent} {
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
	}
	return st
}

func (st *stage) attempt(ctx context.Context) error {
	ref, ok := op.Ref(ctx)
	if !ok {
		return errors.New("an activity without a step")
	}
	sc := st.now.Load()
	switch ref.Step {
	case sc.failAt:
		return op.Permanent("broken", "It was broken to be recorded.", "")
	case sc.cancelAt:
		return st.client.CancelWorkflow(ctx, optest.OperationID, "")
	case sc.pauseAt:
		return st.client.SignalWorkflow(ctx, optest.OperationID, "", op.SignalPause, nil)
	}
	return nil
}

// recordRunning lets a paused operation go on as soon as it says that it is paused.
func (st *stage) recordRunning(ctx context.Context, in op.RunningIn) (op.Nothing, error) {
	if in.State == op.StatePaused {
		return op.Nothing{}, st.client.SignalWorkflow(ctx, in.Operation, "", op.SignalResume, nil)
	}
	return op.Nothing{}, nil
}

func recordFinished(context.Context, op.FinishedIn) (op.Nothing, error) { return op.Nothing{}, nil }

func (st *stage) run(t *testing.T, o op.Operation, sc *scenario) *historypb.History {
	t.Helper()
	st.now.Store(sc)
	envelope, err := optest.Envelope(o, sc.dryRun)
	require.NoError(t, err)
	run, err := st.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: envelope.Operation, TaskQueue: op.ManagerQueue, StaticSummary: o.Info().Title,
	}, envelope.Name, envelope)
	require.NoError(t, err)
	var out op.Outcome
	require.NoError(t, run.Get(t.Context(), &out))
	require.NoError(t, expected(sc, out))
	h := &historypb.History{}
	all := enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT
	for it := st.client.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, all); it.HasNext(); {
		e, err := it.Next()
		require.NoError(t, err)
		h.Events = append(h.Events, e)
	}
	return h
}

// expected guards against recording something else than the name says. A cancellation during the last step, or past
// the point of no return, comes too late.
func expected(sc *scenario, out op.Outcome) error {
	want := []op.State{op.StateSucceeded}
	if sc.failAt != "" {
		want = []op.State{op.StateFailed}
	}
	if sc.cancelAt != "" {
		want = append(want, op.StateCanceled)
	}
	if slices.Contains(want, out.State) {
		return nil
	}
	return fmt.Errorf("%s ended %s: %+v", sc.name, out.State, out.Failure)
}

func replayer(t *testing.T, o op.Operation) worker.WorkflowReplayer {
	t.Helper()
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DisableRegistrationAliasing: true})
	require.NoError(t, err)
	r.RegisterWorkflowWithOptions(o.Workflow(), workflow.RegisterOptions{Name: o.Info().Name})
	return r
}

func packed(t *testing.T, h *historypb.History) []byte {
	t.Helper()
	raw, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(h)
	require.NoError(t, err)
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	require.NoError(t, err)
	_, err = z.Write(raw)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}
