package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/temporaltest"
	"google.golang.org/grpc"
)

// runIn is the input of the test's own operation: one program on the host.
type runIn struct {
	HostID string            `json:"host_id"`
	In     host.CommandRunIn `json:"in"`
}

var runOperation = op.Define(op.Spec[runIn]{
	Name:       "test-run",
	Title:      "Run",
	Doc:        "Runs.",
	Group:      "host",
	Target:     op.TargetHost,
	Permission: "host.command",
	Risk:       op.RiskChange,
}, func(ctx workflow.Context, in runIn) (host.CommandRunOut, error) {
	return host.CommandRun.Do(ctx, "run it", in.In)
})

// world is a Temporal server, a manager's worker with the operation, and a gateway in front.
type world struct {
	t   *testing.T
	g   *fakeGateway
	c   client.Client
	dir string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ts := temporaltest.NewServer(temporaltest.WithT(t), temporaltest.WithBaseClientOptions(client.Options{
		ContextPropagators: []workflow.ContextPropagator{op.StepPropagator()},
	}))
	ts.NewWorker(op.ManagerQueue, func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(runOperation.Workflow(), workflow.RegisterOptions{Name: runOperation.Info().Name})
		running := op.RecordRunning.Impl(func(context.Context, op.RunningIn) (op.Nothing, error) { return op.Nothing{}, nil })
		finished := op.RecordFinished.Impl(func(context.Context, op.FinishedIn) (op.Nothing, error) { return op.Nothing{}, nil })
		r.RegisterActivityWithOptions(running.Func, running.Options)
		r.RegisterActivityWithOptions(finished.Func, finished.Options)
	})
	w := &world{t: t, g: newFakeGateway(t), c: ts.GetDefaultClient()}
	p, err := proxy.NewWorkflowServiceProxyServer(proxy.WorkflowServiceProxyOptions{Client: w.c.WorkflowService()})
	require.NoError(t, err)
	s := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(s, p)
	w.g.grpc = s
	w.dir, err = os.MkdirTemp("", "pgdrover") //nolint:usetesting // t.TempDir is closed to other users
	require.NoError(t, err)
	w.dir, err = filepath.EvalSymlinks(w.dir)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(w.dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(w.dir) })
	// The namespace of temporaltest is its own.
	w.g.namespace = ts.GetDefaultNamespace()
	return w
}

// agent makes an agent whose policy allows the program.
func (w *world) agent(change ...func(*agent)) *agent {
	w.t.Helper()
	cfg := testConfig(w.t, w.dir)
	require.NoError(w.t, os.WriteFile(cfg.PolicyFile, []byte("program_folders: ["+w.dir+"/bin]\n"), 0o644))
	a, err := newAgent(cfg)
	require.NoError(w.t, err)
	a.configWait, a.refusedWait = 50*time.Millisecond, 50*time.Millisecond
	for _, f := range change {
		f(a)
	}
	return a
}

func (w *world) script(body string) string {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(w.dir+"/bin", 0o755))
	file := w.dir + "/bin/prog"
	require.NoError(w.t, os.WriteFile(file, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
	return file
}

func (w *world) start(program string) client.WorkflowRun {
	w.t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	in, err := json.Marshal(runIn{HostID: w.g.hostID.String(), In: host.CommandRunIn{Program: program}})
	require.NoError(w.t, err)
	run, err := w.c.ExecuteWorkflow(
		w.t.Context(),
		client.StartWorkflowOptions{ID: id, TaskQueue: op.ManagerQueue},
		runOperation.Info().Name,
		op.Envelope{
			Operation: id, Name: "test-run", HostID: w.g.hostID.String(), ObjectID: w.g.hostID.String(), Fence: 1, Input: in,
		},
	)
	require.NoError(w.t, err)
	return run
}

func (w *world) outcome(run client.WorkflowRun) op.Outcome {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	var out op.Outcome
	require.NoError(w.t, run.Get(ctx, &out))
	return out
}

// TestAgentWorks: the gateway is away at first; then a step is carried out, its output and the reports arrive.
func TestAgentWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.start()
	w.g.enroll(filepath.Join(w.dir, "state"))
	w.g.stop()
	var mu sync.Mutex
	var phases []string
	ready := make(chan struct{})
	a := w.agent(func(a *agent) {
		a.cfg.OnReady = func() { close(ready) }
		a.cfg.StepHook = func(_ context.Context, phase string, ref op.StepRef) {
			mu.Lock()
			defer mu.Unlock()
			phases = append(phases, phase+" "+ref.Step+" "+ref.Title)
		}
	})
	running(t, a)
	run := w.start(w.script(`echo hello; id -un`))
	w.g.start()
	<-ready
	out := w.outcome(run)
	require.Equal(t, op.StateSucceeded, out.State, "%+v", out.Failure)
	require.Contains(t, string(out.Result), `"tail":"hello`)
	mu.Lock()
	require.Equal(t, []string{"before 01-command-run run it", "after 01-command-run run it"}, phases)
	mu.Unlock()
	eventually(t, "the output arrives", func() bool { return strings.HasPrefix(w.g.text("01-command-run"), "hello\n") })

	eventually(t, "the first report arrives", func() bool { return len(w.g.reported()) > 0 })
	first := w.g.reported()[0]
	require.NotNil(t, first.Facts)
	require.Len(t, first.Facts.Agent.Capabilities, len(host.Verbs()))
	require.Equal(t, int64(1), first.Seq)

	// An instance turns up in the data root: the manager names it, the change is reported within seconds.
	dir := filepath.Join(w.dir, "instances/one")
	require.NoError(t, os.MkdirAll(dir+"/global", 0o755))
	control := make([]byte, 512)
	binary.NativeEndian.PutUint64(control, 42)
	binary.NativeEndian.PutUint32(control[8:], 1300)
	binary.NativeEndian.PutUint32(control[16:], 1)
	require.NoError(t, os.WriteFile(dir+"/global/pg_control", control, 0o600))
	require.NoError(t, os.WriteFile(dir+"/PG_VERSION", []byte("15\n"), 0o600))
	w.g.mu.Lock()
	w.g.config.Etag, w.g.config.Instances = "2", []host.ManagedInstance{{DataDirectory: dir}}
	w.g.conflict = []host.InstanceConflict{{DataDirectory: dir, HeldBy: "db2"}}
	w.g.mu.Unlock()
	status := func(want string) func() bool {
		return func() bool {
			all := w.g.reported()
			for _, in := range all[len(all)-1].Instances {
				if in.DataDirectory == dir && in.Status == want {
					return true
				}
			}
			return false
		}
	}
	eventually(t, "the change is reported", status(host.InstanceStopped))
	eventually(t, "the conflict is known", func() bool { return a.facts.Conflict(dir) == "db2" })
	require.NoError(t, os.RemoveAll(dir))
	eventually(t, "it is missing", status(host.InstanceMissing))
	for i, r := range w.g.reported() {
		require.Equal(t, int64(i+1), r.Seq)
	}
}

// TestCommandSurvivesTheGateway: a cut of several seconds neither ends the program nor runs it twice.
func TestCommandSurvivesTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.start()
	w.g.enroll(filepath.Join(w.dir, "state"))
	running(t, w.agent())
	run := w.start(w.script(`echo begun; i=0; while [ ! -e ` + w.dir + `/go ]; do sleep 0.05; done; echo ended`))
	eventually(t, "it runs", func() bool { return w.g.text("01-command-run") == "begun\n" })
	w.g.stop()
	// Longer than the SDK's own patience with heartbeats, which is a second.
	after := time.After(3 * time.Second)
	<-after
	w.g.start()
	require.NoError(t, os.WriteFile(w.dir+"/go", nil, 0o644))
	out := w.outcome(run)
	require.Equal(t, op.StateSucceeded, out.State, "%+v", out.Failure)
	eventually(t, "all output arrives", func() bool { return w.g.text("01-command-run") == "begun\nended\n" })
}

// TestCancel reaches the program within seconds.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.start()
	w.g.enroll(filepath.Join(w.dir, "state"))
	running(t, w.agent())
	run := w.start(w.script(`echo begun; exec sleep 600`))
	eventually(t, "it runs", func() bool { return w.g.text("01-command-run") == "begun\n" })
	begun := time.Now()
	require.NoError(t, w.c.CancelWorkflow(t.Context(), run.GetID(), ""))
	require.Equal(t, op.StateCanceled, w.outcome(run).State)
	require.Less(t, time.Since(begun), 15*time.Second)
	// The step itself ended as canceled, not as failed.
	it := w.c.GetWorkflowHistory(t.Context(), run.GetID(), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	canceled := false
	for it.HasNext() {
		e, err := it.Next()
		require.NoError(t, err)
		canceled = canceled || e.GetEventType() == enums.EVENT_TYPE_ACTIVITY_TASK_CANCELED
	}
	require.True(t, canceled)
}

// TestAgentRestart: the agent stops in the middle of a step; the next one does it anew, in order.
func TestAgentRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.start()
	w.g.enroll(filepath.Join(w.dir, "state"))
	stop := running(t, w.agent())
	require.NoError(t, os.Mkdir(w.dir+"/out", 0o777))
	require.NoError(t, os.Chmod(w.dir+"/out", 0o777))
	run := w.start(w.script(`go=$(ls ` + w.dir + `/go 2>/dev/null); echo $$ >> ` + w.dir + `/out/all; [ "$go" ] || exec sleep 600`))
	eventually(t, "it runs", func() bool { _, err := os.Stat(w.dir + "/out/all"); return err == nil })
	require.NoError(t, os.WriteFile(w.dir+"/go", nil, 0o644))
	// Only one agent at a time works with the state.
	require.ErrorContains(t, w.agent().run(t.Context()), "another agent runs")
	stop()
	running(t, w.agent())
	out := w.outcome(run)
	require.Equal(t, op.StateSucceeded, out.State, "%+v", out.Failure)
	all, err := os.ReadFile(w.dir + "/out/all")
	require.NoError(t, err)
	require.Len(t, strings.Fields(string(all)), 2)
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.start()
	// The certificate is backdated by an hour, so two thirds of its life are over.
	w.g.life = 10 * time.Minute
	w.g.enroll(filepath.Join(w.dir, "state"))
	a := w.agent()
	old := a.id.expires()
	running(t, a)
	eventually(t, "it is renewed", func() bool { return a.id.expires().After(old) })
	// Work goes on, on connections under the new certificate.
	eventually(t, "the new one is used", func() bool {
		w.g.mu.Lock()
		defer w.g.mu.Unlock()
		return len(w.g.serials) == 2
	})
	require.Equal(t, op.StateSucceeded, w.outcome(w.start(w.script(`true`))).State)
	id, err := loadIdentity(filepath.Join(w.dir, "state"))
	require.NoError(t, err)
	require.Equal(t, a.id.expires(), id.expires())
}

func TestRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.g.start()
	w.g.enroll(filepath.Join(w.dir, "state"))
	a := w.agent()
	running(t, a)
	prog := w.script(`true`)
	require.Equal(t, op.StateSucceeded, w.outcome(w.start(prog)).State)
	w.g.refuse("*", &GatewayError{Status: 401, Code: "certificate-revoked", Detail: "The certificate is revoked."})
	eventually(t, "it is noticed", a.isRefused)
	run := w.start(prog)
	w.g.refuse("*", nil)
	eventually(t, "it is taken back", func() bool { return !a.isRefused() })
	require.Equal(t, op.StateSucceeded, w.outcome(run).State)
}

func TestSecretsOfTheManager(t *testing.T) {
	t.Parallel()
	g := newFakeGateway(t)
	g.start()
	dir := t.TempDir()
	cfg := testConfig(t, dir)
	g.enroll(cfg.StateDir)
	a, err := newAgent(cfg)
	require.NoError(t, err)
	g.secrets["s1"] = "value"
	v, err := a.Fetch(t.Context(), "s1", "op1")
	require.NoError(t, err)
	require.Equal(t, "value", v)
	g.refuse(host.PathSecret, &GatewayError{Status: 403, Code: "forbidden", Detail: "no right"})
	_, err = a.Fetch(t.Context(), "s1", "op1")
	require.Equal(t, op.CodeForbidden, op.FailureOf(err).Code)
	g.refuse(host.PathSecret, &GatewayError{Status: 503, Code: "repository-unavailable"})
	_, err = a.Fetch(t.Context(), "s1", "op1")
	require.Equal(t, "manager-away", op.FailureOf(err).Code)
}
