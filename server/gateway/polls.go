package gateway

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/server/gateway/lostpoll"
	"github.com/pgdrover/pgdrover/workflows/op"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// upstreamPollTime is longer than Temporal holds a poll (a minute): it ends on Temporal's side.
	upstreamPollTime = 75 * time.Second
	// dropPatience is how long Temporal may take to end a poll it was asked to end.
	dropPatience = 2 * time.Second
	failPatience = 30 * time.Second
	// retryDelay of tasks that we fail ourselves: the agent is there again or will be soon.
	retryDelay = 100 * time.Millisecond
)

// The failures that the gateway itself answers tasks with. All are retryable.
const (
	FailureAgentAway      = "agent-away"
	FailureAgentRestarted = "agent-restarted"
)

// poll holds an agent's poll until there is a task for it.
func (g *Gateway) poll(ctx context.Context, c caller, req *pollReq) (*pollResp, error) {
	if req.GetIdentity() == "" {
		return nil, status.Error(codes.PermissionDenied, "a poll needs the identity of the agent's process")
	}
	h := g.hosts.get(c.hostID)
	number, lost := lostpoll.FromIncoming(ctx)
	w := &waiter{
		serial: c.serial, session: req.GetIdentity(), poll: number, worker: req.GetWorkerInstanceKey(), ch: make(chan delivery, 1),
	}
	out, err := h.enter(w, lost, time.Now())
	g.failAll(ctx, h, out.orphans, FailureAgentRestarted, "The agent was restarted while it worked on this step.")
	if out.announce {
		g.announce(ctx, sessionNote{Host: h.id, Session: w.session})
	}
	if err != nil {
		return nil, err
	}
	if out.start != nil {
		g.startUpstream(ctx, h, out.start, req)
	}
	metricParked.Inc()
	defer metricParked.Dec()
	select {
	case d := <-w.ch:
		return g.deliver(ctx, h, w, d)
	case <-ctx.Done():
		if t := h.leave(w, time.Now()); t != nil {
			g.failAll(ctx, h, []*task{t}, FailureAgentAway, awayMessage)
		}
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

const awayMessage = "The agent went away before it took this step."

func (g *Gateway) deliver(ctx context.Context, h *hostState, w *waiter, d delivery) (*pollResp, error) {
	switch {
	case d.err != nil:
		return nil, d.err
	case d.task == nil && d.empty != nil:
		return d.empty, nil
	case d.task == nil:
		return &pollResp{}, nil
	}
	if ctx.Err() != nil {
		if t := h.giveBack(w, d.task, time.Now()); t != nil {
			g.failAll(ctx, h, []*task{t}, FailureAgentAway, awayMessage)
		}
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	g.steps.started(h.id, d.task)
	return d.task.resp, nil
}

// startUpstream begins a poll at Temporal that outlives the agent's own.
func (g *Gateway) startUpstream(ctx context.Context, h *hostState, p *upstreamPoll, agent *pollReq) {
	req := proto.CloneOf(agent)
	req.Namespace = g.cfg.Namespace
	req.TaskQueue = &taskqueuepb.TaskQueue{Name: op.AgentQueue(h.id.String()), Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
	// A key of its own lets Temporal end this poll alone, without the race of a cancelled call.
	req.WorkerInstanceKey = p.key
	req.WorkerControlTaskQueue = ""
	g.work.Go(func() {
		defer close(p.done)
		defer p.cancel()
		resp, err := g.upstream(h.id).PollActivityTaskQueue(p.ctx, req) //nolint:contextcheck // it outlives the agent's own poll
		var t *task
		if err == nil && len(resp.GetTaskToken()) > 0 {
			t, err = g.caught(h.id, resp)
		}
		if left := h.finished(p, t, resp, toStatus(err), time.Now()); left != nil {
			g.failAll(ctx, h, []*task{left}, FailureAgentAway, awayMessage)
		}
	})
}

// caught seals the token of a task and reads which step it is.
func (g *Gateway) caught(host uuid.UUID, resp *pollResp) (*task, error) {
	t := &task{resp: resp, raw: resp.GetTaskToken(), caught: time.Now(), step: stepOf(resp)}
	if t.step != nil {
		t.ref = taskRef{Operation: t.step.Operation, Step: t.step.Step}
	}
	t.ref.Attempt = resp.GetAttempt()
	if most := resp.GetRetryPolicy().GetMaximumAttempts(); most > 0 && t.ref.Attempt >= most {
		t.ref.Last = true
	}
	sealed, err := g.tokens.seal(host, t.ref, t.raw)
	if err != nil {
		return nil, err
	}
	resp.TaskToken = sealed
	return t, nil
}

// stepOf is nil for activities that are no steps of an operation.
func stepOf(resp *pollResp) *op.StepRef {
	p, ok := resp.GetHeader().GetFields()[op.StepHeader]
	if !ok {
		return nil
	}
	var ref op.StepRef
	if err := converter.GetDefaultDataConverter().FromPayload(p, &ref); err != nil {
		return nil
	}
	if _, err := uuid.Parse(ref.Operation); err != nil || ref.Step == "" {
		return nil
	}
	return &ref
}

// dropPolls ends polls at Temporal. Where Temporal can end a poll itself, a task that is just on its way still
// arrives and is failed; a cancelled call would lose it.
func (g *Gateway) dropPolls(ctx context.Context, h *hostState, polls []*upstreamPoll) {
	for _, p := range polls {
		g.work.Go(func() {
			defer p.cancel()
			if !g.endsPolls.Load() {
				return
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
			defer cancel()
			_, err := g.upstream(h.id).ShutdownWorker(ctx, &shutdownReq{
				Namespace: g.cfg.Namespace, Identity: "gateway", Reason: "agent away", WorkerInstanceKey: p.key,
				TaskQueue: op.AgentQueue(h.id.String()), TaskQueueTypes: []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_ACTIVITY},
			})
			if err != nil {
				return
			}
			select {
			case <-p.done:
			case <-ctx.Done():
			}
		})
	}
}

// failAll answers tasks that no agent will answer, so that Temporal tries again at once instead of waiting for a time
// limit.
func (g *Gateway) failAll(ctx context.Context, h *hostState, tasks []*task, kind, message string) {
	for _, t := range tasks {
		metricFailed.Inc()
		g.log.Info("a task is given back to Temporal", "host", h.id, "why", kind, "operation", t.ref.Operation, "step", t.ref.Step,
			"attempt", t.ref.Attempt)
		g.steps.ended(t.ref, retryState(t.ref), &op.Failure{Code: kind, Message: message})
		g.work.Go(func() { g.fail(context.WithoutCancel(ctx), h, t, kind, message) })
	}
}

func (g *Gateway) fail(ctx context.Context, h *hostState, t *task, kind, message string) {
	ctx, cancel := context.WithTimeout(ctx, failPatience)
	defer cancel()
	req := &failedReq{
		TaskToken: t.raw, Namespace: g.cfg.Namespace, Identity: "gateway",
		Failure: &failurepb.Failure{
			Message: message, Source: "gateway",
			FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{
				Type: kind, NextRetryDelay: durationpb.New(retryDelay), Details: failureDetails(kind, message),
			}},
		},
	}
	wait := 50 * time.Millisecond
	for {
		_, err := g.upstream(h.id).RespondActivityTaskFailed(ctx, req)
		if code := toCode(err); err == nil || code == codes.NotFound || code == codes.InvalidArgument {
			return
		}
		select {
		case <-ctx.Done():
			g.log.Warn("a task could not be failed; it waits for its time limit", "host", h.id, "kind", kind, "error", err)
			return
		case <-time.After(wait):
			wait = min(wait*2, 2*time.Second)
		}
	}
}

func failureDetails(kind, message string) *commonpb.Payloads {
	p, err := converter.GetDefaultDataConverter().ToPayloads(op.Failure{Code: kind, Message: message})
	if err != nil {
		return nil
	}
	return p
}

// upstream spreads hosts over the connections to Temporal.
func (g *Gateway) upstream(id uuid.UUID) workflowservice.WorkflowServiceClient {
	f := fnv.New32a()
	_, _ = f.Write(id[:])
	return g.cfg.Temporal[int(f.Sum32()%uint32(len(g.cfg.Temporal)))]
}

// shutdownWorker answers the polls of a worker that stops, so that it need not cut them.
func (g *Gateway) shutdownWorker(ctx context.Context, h *hostState, worker string) {
	if worker == "" {
		return
	}
	h.dismiss(func(w *waiter) bool { return w.worker == worker }, delivery{}, time.Now())
	g.dropPolls(ctx, h, h.surplus())
}

// maintain looks after agents that stay away.
func (g *Gateway) maintain(ctx context.Context) {
	every(ctx, g.cfg.timing.tick, func() {
		for _, h := range g.hosts.all() {
			drop, fail := h.tick(time.Now())
			g.dropPolls(ctx, h, drop)
			g.failAll(ctx, h, fail, FailureAgentAway, awayMessage)
			if session, lost := h.toTell(); len(lost) > 0 {
				g.announce(ctx, sessionNote{Host: h.id, Session: session, Lost: lost})
			}
		}
	})
}

// learnUpstream finds out what Temporal can do; it may start after us.
func (g *Gateway) learnUpstream(ctx context.Context) {
	for {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		resp, err := g.cfg.Temporal[0].DescribeNamespace(call, &namespaceReq{Namespace: g.cfg.Namespace})
		cancel()
		if err == nil {
			g.endsPolls.Store(resp.GetNamespaceInfo().GetCapabilities().GetWorkerPollCompleteOnShutdown())
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// toStatus gives errors of the SDK's client their gRPC form back.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	return serviceerror.ToStatus(err).Err()
}

func toCode(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	return serviceerror.ToStatus(err).Code()
}
