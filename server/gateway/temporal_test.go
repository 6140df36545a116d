package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/server/gateway/lostpoll"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/common/dynamicconfig"
	temporalserver "go.temporal.io/server/temporal"
	"go.temporal.io/server/temporaltest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// realFixture is a gateway before a real Temporal.
type realFixture struct {
	*fixture
	client client.Client
	spy    *spy
}

// spy counts what passes between gateway and Temporal. An overloaded Temporal loses tasks by itself; what it gave to
// the gateway, the gateway must not lose.
type spy struct {
	workflowservice.WorkflowServiceClient
	given, completed, failed atomic.Int64
}

func (s *spy) PollActivityTaskQueue(ctx context.Context, in *pollReq, opts ...grpc.CallOption) (*pollResp, error) {
	resp, err := s.WorkflowServiceClient.PollActivityTaskQueue(ctx, in, opts...)
	if len(resp.GetTaskToken()) > 0 {
		s.given.Add(1)
	}
	return resp, err
}

func (s *spy) RespondActivityTaskCompleted(
	ctx context.Context, in *completedReq, opts ...grpc.CallOption,
) (*completedResp, error) {
	resp, err := s.WorkflowServiceClient.RespondActivityTaskCompleted(ctx, in, opts...)
	if err == nil {
		s.completed.Add(1)
	}
	return resp, err
}

func (s *spy) RespondActivityTaskFailed(ctx context.Context, in *failedReq, opts ...grpc.CallOption) (*failedResp, error) {
	s.failed.Add(1)
	return s.WorkflowServiceClient.RespondActivityTaskFailed(ctx, in, opts...)
}

func newReal(t *testing.T, change ...func(*Config)) *realFixture {
	t.Helper()
	settings := dynamicconfig.StaticClient{
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): []dynamicconfig.ConstrainedValue{{Value: true}},
		dynamicconfig.EnableCancelWorkerPollsOnShutdown.Key():       []dynamicconfig.ConstrainedValue{{Value: true}},
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():      []dynamicconfig.ConstrainedValue{{Value: 1}},
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key():     []dynamicconfig.ConstrainedValue{{Value: 1}},
	}
	ts := temporaltest.NewServer(temporaltest.WithT(t),
		temporaltest.WithBaseServerOptions(temporalserver.WithDynamicConfigClient(settings)))
	conn, err := grpc.NewClient(ts.GetFrontendHostPort(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	f := newRepository(t)
	watched := &spy{WorkflowServiceClient: workflowservice.NewWorkflowServiceClient(conn)}
	f.upstream, f.namespace = watched, ts.GetDefaultNamespace()
	f.running = f.serve(t, change...)
	return &realFixture{fixture: f, spy: watched, client: ts.NewClientWithOptions(client.Options{
		Logger:             quietLog{},
		ContextPropagators: []workflow.ContextPropagator{op.StepPropagator()},
	})}
}

func (s *spy) answered() bool { return s.given.Load() == s.completed.Load() }

// manager runs the workflow.
func (f *realFixture) manager(t *testing.T, register func(worker.Registry)) {
	t.Helper()
	w := worker.New(f.client, op.ManagerQueue, worker.Options{})
	register(w)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

// startAgent is an SDK worker that reaches Temporal through the gateway alone.
func (f *realFixture) startAgent(t *testing.T, a *agent, session string, register func(worker.Registry)) (stop func()) {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort: f.addr, Namespace: f.namespace, Identity: session, Logger: quietLog{},
		ContextPropagators: []workflow.ContextPropagator{op.StepPropagator()},
		ConnectionOptions: client.ConnectionOptions{
			TLS:         &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{a.cert}, MinVersion: tls.VersionTLS13},
			DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(lostpoll.ClientInterceptor())},
		},
	})
	require.NoError(t, err)
	w := worker.New(c, a.queue(), worker.Options{
		DisableWorkflowWorker: true, MaxConcurrentActivityTaskPollers: 1, MaxHeartbeatThrottleInterval: 100 * time.Millisecond,
	})
	register(w)
	require.NoError(t, w.Start())
	stop = sync.OnceFunc(func() { w.Stop(); c.Close() })
	t.Cleanup(stop)
	return stop
}

type quietLog struct{}

func (quietLog) Debug(string, ...any) {}
func (quietLog) Info(string, ...any)  {}
func (quietLog) Warn(string, ...any)  {}
func (quietLog) Error(string, ...any) {}

var _ sdklog.Logger = quietLog{}

type nothing = op.Nothing

// activities runs n activities on a host one after another and returns the attempt each of them took.
func activities(ctx workflow.Context, queue string, n int) ([]int, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: queue, StartToCloseTimeout: time.Minute})
	var attempts []int
	for range n {
		var attempt int
		if err := workflow.ExecuteActivity(ctx, "attempt").Get(ctx, &attempt); err != nil {
			return attempts, err
		}
		attempts = append(attempts, attempt)
	}
	return attempts, nil
}

func attempt(ctx context.Context) (int, error) { return int(activity.GetInfo(ctx).Attempt), nil }

func registerAttempt(r worker.Registry) {
	r.RegisterActivityWithOptions(attempt, activity.RegisterOptions{Name: "attempt"})
}

func (f *realFixture) run(t *testing.T, a *agent, n int) client.WorkflowRun {
	t.Helper()
	options := client.StartWorkflowOptions{TaskQueue: op.ManagerQueue}
	run, err := f.client.ExecuteWorkflow(t.Context(), options, activities, a.queue(), n)
	require.NoError(t, err)
	return run
}

func TestOperationOnAnAgentThroughTheGateway(t *testing.T) {
	t.Parallel()
	f := newReal(t)
	a := f.enroll(t, "a")
	operation := op.Define(op.Spec[nothing]{
		Name: "test-operation", Title: "Test", Doc: "Test.", Group: "test", Target: op.TargetNone,
		Permission: "test", Risk: op.RiskRead,
	}, func(ctx workflow.Context, _ nothing) (host.FileStatOut, error) {
		return host.FileStat.Do(op.OnHost(ctx, a.id.String()), "Look at the file", host.FileStatIn{Path: "/x"})
	})
	f.manager(t, func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(operation.Workflow(), workflow.RegisterOptions{Name: "test-operation"})
		for _, i := range []op.Implementation{
			op.RecordRunning.Impl(func(context.Context, op.RunningIn) (nothing, error) { return nothing{}, nil }),
			op.RecordFinished.Impl(func(context.Context, op.FinishedIn) (nothing, error) { return nothing{}, nil }),
		} {
			r.RegisterActivityWithOptions(i.Func, i.Options)
		}
	})
	f.startAgent(t, a, "session", func(r worker.Registry) {
		i := host.FileStat.Impl(func(ctx context.Context, in host.FileStatIn) (host.FileStatOut, error) {
			activity.RecordHeartbeat(ctx, host.Progress{Done: 1, Total: 2, Unit: "files"})
			return host.FileStatOut{Exists: true, Type: in.Path}, nil
		})
		r.RegisterActivityWithOptions(i.Func, i.Options)
	})
	o := f.operation(t, &a.id)
	run, err := f.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: o.String(), TaskQueue: op.ManagerQueue},
		"test-operation", op.Envelope{Operation: o.String(), Name: "test-operation", Input: []byte("{}")})
	require.NoError(t, err)
	var out op.Outcome
	require.NoError(t, run.Get(t.Context(), &out))
	require.Equal(t, op.StateSucceeded, out.State)
	require.Contains(t, string(out.Result), `"/x"`)
	row := f.awaitStep(t, o, "01-file-stat", "completed")
	require.Equal(t, "Look at the file", row.Title)
	require.Equal(t, a.id, *row.HostID)
	eventually(t, 5*time.Second, "online", func() bool { return f.online(t, a) })
}

func TestCutPollsBeforeARealTemporal(t *testing.T) {
	t.Parallel()
	const n = 60
	f := newReal(t)
	a := f.enroll(t, "a")
	f.manager(t, func(r worker.Registry) { r.RegisterWorkflow(activities) })
	run := f.run(t, a, n)
	c := a.temporal(t, grpc.WithUnaryInterceptor(lostpoll.ClientInterceptor()))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	watched, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	cuts := 0
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			patience := time.Duration(1+rand.IntN(30)) * time.Millisecond
			if cuts%20 == 19 {
				patience = 5 * time.Second // on a slow machine none would ever arrive
				cuts++
			}
			short, cut := context.WithTimeout(ctx, patience)
			task, err := c.PollActivityTaskQueue(short, pollRequest(a.queue(), "s"))
			cut()
			if err != nil {
				cuts++
				continue
			}
			if len(task.GetTaskToken()) > 0 {
				_, err = c.RespondActivityTaskCompleted(t.Context(), &completedReq{
					TaskToken: task.GetTaskToken(), Result: payloads(t, int(task.GetAttempt())),
				})
				if err != nil {
					fail(err)
					return
				}
			}
		}
	}()
	begin := time.Now()
	var attempts []int
	err := run.Get(watched, &attempts)
	stop()
	<-ended
	require.NoError(t, context.Cause(watched))
	require.NoError(t, err)
	require.Len(t, attempts, n)
	eventually(t, 5*time.Second, "what Temporal gave was answered", f.spy.answered)
	require.Zero(t, f.spy.failed.Load())
	t.Logf("%d activities in %v with %d cut polls", n, time.Since(begin), cuts)
}

func TestRestartOfAnAgentTakesASecondNotATimeout(t *testing.T) {
	t.Parallel()
	f := newReal(t)
	a := f.enroll(t, "a")
	f.manager(t, func(r worker.Registry) { r.RegisterWorkflow(activities) })
	run := f.run(t, a, 1)
	// The first process takes the task and is killed: it never answers.
	task, err := a.temporal(t).PollActivityTaskQueue(t.Context(), pollRequest(a.queue(), "killed"))
	require.NoError(t, err)
	require.NotEmpty(t, task.GetTaskToken())

	begin := time.Now()
	f.startAgent(t, a, "restarted", registerAttempt)
	var attempts []int
	require.NoError(t, run.Get(t.Context(), &attempts))
	require.Equal(t, []int{2}, attempts)
	require.Less(t, time.Since(begin), 5*time.Second)
	t.Logf("recovered in %v", time.Since(begin))
}

func TestAgentThatWasAwayGetsItsTaskAsIfNothingHadBeen(t *testing.T) {
	t.Parallel()
	f := newReal(t, func(c *Config) { c.timing.away = 200 * time.Millisecond })
	eventually(t, 10*time.Second, "Temporal's abilities are known", f.endsPolls.Load)
	a := f.enroll(t, "a")
	f.manager(t, func(r worker.Registry) { r.RegisterWorkflow(activities) })
	stop := f.startAgent(t, a, "first", registerAttempt)
	var attempts []int
	require.NoError(t, f.run(t, a, 1).Get(t.Context(), &attempts))
	ctx, cut := context.WithCancel(t.Context())
	stop()
	held := pollAsync(ctx, a.temporal(t), a.queue(), "second")
	h := f.hosts.get(a.id)
	eventually(t, 5*time.Second, "held", func() bool { return h.waiting() == 1 })
	cut()
	<-held
	eventually(t, 5*time.Second, "the parked poll is dropped", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.waiters) == 0 && len(h.polls) == 0
	})
	run := f.run(t, a, 1)
	f.startAgent(t, a, "third", registerAttempt)
	require.NoError(t, run.Get(t.Context(), &attempts))
	require.Zero(t, f.spy.failed.Load(), "the task waited at Temporal")
}

func TestManyAgentsAtOnce(t *testing.T) {
	t.Parallel()
	const agents, each = 8, 5
	f := newReal(t)
	f.manager(t, func(r worker.Registry) { r.RegisterWorkflow(activities) })
	var runs []client.WorkflowRun
	for i := range agents {
		a := f.enroll(t, fmt.Sprintf("a%d", i))
		f.startAgent(t, a, uuid.NewString(), registerAttempt)
		runs = append(runs, f.run(t, a, each))
	}
	for _, run := range runs {
		var attempts []int
		require.NoError(t, run.Get(t.Context(), &attempts))
		require.Len(t, attempts, each)
	}
	eventually(t, 5*time.Second, "what Temporal gave was answered", f.spy.answered)
	require.Zero(t, f.spy.failed.Load())
}
