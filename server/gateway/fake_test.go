package gateway

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

func base64Decode(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }

type (
	heartbeatResp  = workflowservice.RecordActivityTaskHeartbeatResponse
	completedResp  = workflowservice.RespondActivityTaskCompletedResponse
	failedResp     = workflowservice.RespondActivityTaskFailedResponse
	systemInfoResp = workflowservice.GetSystemInfoResponse
)

// fakeTemporal stands in for the frontend where a test must decide when a task comes.
type fakeTemporal struct {
	workflowservice.WorkflowServiceClient // calls that are not expected panic

	mu        sync.Mutex
	queues    map[string]chan *pollResp
	polling   map[string]int
	keys      map[string]chan struct{}
	failed    []*failedReq
	completed []*completedReq
	beats     []*heartbeatReq
	canceled  int
	number    atomic.Int64
	// ends: polls can be ended by ShutdownWorker.
	ends bool
}

func newFake() *fakeTemporal {
	return &fakeTemporal{
		queues: map[string]chan *pollResp{}, polling: map[string]int{},
		keys: map[string]chan struct{}{}, ends: true,
	}
}

func (f *fakeTemporal) queue(name string) chan *pollResp {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queues[name] == nil {
		f.queues[name] = make(chan *pollResp)
	}
	return f.queues[name]
}

func (f *fakeTemporal) polls(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polling[name]
}

func (f *fakeTemporal) PollActivityTaskQueue(ctx context.Context, in *pollReq, _ ...grpc.CallOption) (*pollResp, error) {
	name := in.GetTaskQueue().GetName()
	end := make(chan struct{})
	f.mu.Lock()
	f.polling[name]++
	f.keys[in.GetWorkerInstanceKey()] = end
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.polling[name]--
		delete(f.keys, in.GetWorkerInstanceKey())
		f.mu.Unlock()
	}()
	select {
	case t := <-f.queue(name):
		return t, nil
	case <-end:
		return &pollResp{}, nil
	case <-ctx.Done():
		f.mu.Lock()
		f.canceled++
		f.mu.Unlock()
		return nil, ctx.Err()
	}
}

func (f *fakeTemporal) ShutdownWorker(_ context.Context, in *shutdownReq, _ ...grpc.CallOption) (*shutdownResp, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := f.keys[in.GetWorkerInstanceKey()]; end != nil {
		close(end)
		delete(f.keys, in.GetWorkerInstanceKey())
	}
	return &shutdownResp{}, nil
}

func (f *fakeTemporal) DescribeNamespace(_ context.Context, in *namespaceReq, _ ...grpc.CallOption) (*namespaceResp, error) {
	return &namespaceResp{NamespaceInfo: &namespacepb.NamespaceInfo{
		Name:         in.GetNamespace(),
		Capabilities: &namespacepb.NamespaceInfo_Capabilities{WorkerPollCompleteOnShutdown: f.ends, WorkerCommands: true},
	}}, nil
}

func (f *fakeTemporal) GetSystemInfo(context.Context, *systemInfoReq, ...grpc.CallOption) (*systemInfoResp, error) {
	return &systemInfoResp{ServerVersion: "fake"}, nil
}

func (f *fakeTemporal) RespondActivityTaskFailed(_ context.Context, in *failedReq, _ ...grpc.CallOption) (*failedResp, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = append(f.failed, in)
	return &failedResp{}, nil
}

func (f *fakeTemporal) RespondActivityTaskCompleted(
	_ context.Context, in *completedReq, _ ...grpc.CallOption,
) (*completedResp, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.completed = append(f.completed, in)
	return &completedResp{}, nil
}

func (f *fakeTemporal) RecordActivityTaskHeartbeat(
	_ context.Context, in *heartbeatReq, _ ...grpc.CallOption,
) (*heartbeatResp, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beats = append(f.beats, in)
	return &heartbeatResp{}, nil
}

func (f *fakeTemporal) failures() []*failedReq {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*failedReq(nil), f.failed...)
}

// task makes a task; with an operation it is a step.
func (f *fakeTemporal) task(t *testing.T, operation uuid.UUID, step string) *pollResp {
	t.Helper()
	n := f.number.Add(1)
	resp := &pollResp{
		TaskToken: fmt.Appendf(nil, "token-%d", n), ActivityId: step, Attempt: 1,
		StartToCloseTimeout: durationpb.New(time.Minute),
	}
	if operation != uuid.Nil {
		p, err := converter.GetDefaultDataConverter().ToPayload(op.StepRef{
			Operation: operation.String(), Step: step, Seq: 1, Verb: "command-run", Title: "Do " + step,
		})
		require.NoError(t, err)
		resp.Header = &commonpb.Header{Fields: map[string]*commonpb.Payload{op.StepHeader: p}}
	}
	return resp
}

// give waits until a poll takes the task.
func (f *fakeTemporal) give(t *testing.T, queue string, task *pollResp) {
	t.Helper()
	select {
	case f.queue(queue) <- task:
	case <-time.After(10 * time.Second):
		require.Fail(t, "nobody polls "+queue)
	}
}

func pollRequest(queue, session string) *pollReq {
	return &pollReq{
		Namespace: "anything", TaskQueue: &taskqueuepb.TaskQueue{Name: queue}, Identity: session,
		WorkerInstanceKey: "worker-" + session,
	}
}

type pollResult struct {
	resp *pollResp
	err  error
}

// pollAsync polls in the background.
func pollAsync(ctx context.Context, c workflowservice.WorkflowServiceClient, queue, session string) <-chan pollResult {
	ch := make(chan pollResult, 1)
	go func() {
		resp, err := c.PollActivityTaskQueue(ctx, pollRequest(queue, session))
		ch <- pollResult{resp, err}
	}()
	return ch
}

func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(15 * time.Second):
		require.Fail(t, "nothing came")
		panic("unreachable")
	}
}

func stripSeal(token []byte) string {
	s := string(token)
	return s[strings.LastIndex(s, "token-"):]
}
