package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/workflows/op"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

const servicePrefix = "/temporal.api.workflowservice.v1.WorkflowService/"

var errNotAllowed = status.Error(codes.PermissionDenied, "an agent may not do this")

// intercept is the door to Temporal: who calls, may they, and with which arguments. What is not named here is refused.
func (g *Gateway) intercept(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("panic in an agent's call", "method", info.FullMethod, "panic", p, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "something went wrong in the gateway")
		}
	}()
	c, err := g.callerOf(ctx)
	if err != nil {
		return nil, g.unknown(c, info.FullMethod, err)
	}
	resp, err = g.dispatch(ctx, c, req, next)
	if errors.Is(err, errNotAllowed) {
		g.refuse(refusal{caller: c, what: methodName(info.FullMethod), reason: "not allowed to agents"})
		return nil, errNotAllowed
	}
	if err != nil {
		return nil, toStatus(err)
	}
	return resp, nil
}

func (g *Gateway) dispatch(ctx context.Context, c caller, req any, next grpc.UnaryHandler) (any, error) {
	switch r := req.(type) {
	case *systemInfoReq:
		return next(ctx, r)
	case *namespaceReq:
		return g.describeNamespace(ctx, next)
	case *pollReq:
		if r.GetTaskQueue().GetName() != op.AgentQueue(c.hostID.String()) {
			return nil, errNotAllowed
		}
		return g.poll(ctx, c, r)
	case *heartbeatReq:
		return g.heartbeat(ctx, c, r, next)
	case *completedReq:
		r.Namespace = g.cfg.Namespace
		return g.respond(ctx, c, &r.TaskToken, r, next, func(taskRef) (string, *op.Failure) { return stepCompleted, nil })
	case *failedReq:
		r.Namespace = g.cfg.Namespace
		return g.respond(ctx, c, &r.TaskToken, r, next, func(ref taskRef) (string, *op.Failure) {
			return failedAs(ref, r.GetFailure())
		})
	case *canceledReq:
		r.Namespace = g.cfg.Namespace
		return g.respond(ctx, c, &r.TaskToken, r, next, func(taskRef) (string, *op.Failure) { return stepCanceled, nil })
	case *workerHeartbeatReq:
		r.Namespace = g.cfg.Namespace
		for _, hb := range r.GetWorkerHeartbeat() {
			if hb.GetTaskQueue() != op.AgentQueue(c.hostID.String()) {
				return nil, errNotAllowed
			}
		}
		return next(ctx, r)
	case *shutdownReq:
		return g.shutdown(ctx, c, r, next)
	}
	return nil, errNotAllowed
}

// describeNamespace hides what an agent must not use and promises what the gateway does itself: an SDK that knows that
// polls are answered when its worker shuts down does not cut them.
func (g *Gateway) describeNamespace(ctx context.Context, next grpc.UnaryHandler) (any, error) {
	answer, err := next(ctx, &namespaceReq{Namespace: g.cfg.Namespace})
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*namespaceResp)
	if !ok {
		return nil, fmt.Errorf("describe namespace: unexpected answer %T", answer)
	}
	if c := resp.GetNamespaceInfo().GetCapabilities(); c != nil {
		c.WorkerPollCompleteOnShutdown = true
		c.WorkerCommands = false
		c.PollerAutoscaling = false
		c.PollerAutoscalingAutoEnroll = false
	}
	return resp, nil
}

func (g *Gateway) shutdown(ctx context.Context, c caller, r *shutdownReq, next grpc.UnaryHandler) (any, error) {
	queue := op.AgentQueue(c.hostID.String())
	if q := r.GetTaskQueue(); q != "" && q != queue {
		return nil, errNotAllowed
	}
	if hb := r.GetWorkerHeartbeat(); hb != nil && hb.GetTaskQueue() != queue {
		return nil, errNotAllowed
	}
	r.Namespace, r.StickyTaskQueue = g.cfg.Namespace, ""
	g.shutdownWorker(ctx, g.hosts.get(c.hostID), r.GetWorkerInstanceKey())
	resp, err := next(ctx, r)
	if err != nil {
		// The polls are answered, which is what counts; an activity worker has no sticky queue to unload.
		return &shutdownResp{}, nil //nolint:nilerr // see above
	}
	return resp, nil
}

func (g *Gateway) heartbeat(ctx context.Context, c caller, r *heartbeatReq, next grpc.UnaryHandler) (any, error) {
	ref, raw, err := g.tokens.open(c.hostID, r.GetTaskToken())
	if err != nil {
		return nil, g.forged(c, "RecordActivityTaskHeartbeat")
	}
	r.Namespace, r.TaskToken = g.cfg.Namespace, raw
	g.steps.progress(ref, r.GetDetails())
	resp, err := next(ctx, r)
	if toCode(err) == codes.NotFound {
		g.hosts.get(c.hostID).answered(raw)
	}
	return resp, err
}

// respond passes an answer on. The step is written down first: the operation may end with this very answer, and its
// record should find the step ended.
func (g *Gateway) respond(
	ctx context.Context, c caller, token *[]byte, req any, next grpc.UnaryHandler, end func(taskRef) (string, *op.Failure),
) (any, error) {
	ref, raw, err := g.tokens.open(c.hostID, *token)
	if err != nil {
		return nil, g.forged(c, fmt.Sprintf("%T", req))
	}
	*token = raw
	state, failure := end(ref)
	g.steps.ended(ref, state, failure)
	resp, err := next(ctx, req)
	if code := toCode(err); code == codes.OK || code == codes.NotFound {
		g.hosts.get(c.hostID).answered(raw)
	}
	return resp, err
}

func (g *Gateway) forged(c caller, what string) error {
	g.refuse(refusal{caller: c, what: strings.TrimPrefix(what, "*workflowservice."), reason: "forged task token"})
	return status.Error(codes.PermissionDenied, errForged.Error())
}

func (g *Gateway) callerOf(ctx context.Context) (caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, errNoCertificate
	}
	var state *tls.ConnectionState
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		state = &info.State
	}
	c, err := g.identities.caller(ctx, state, hostOf(p.Addr.String()))
	if err == nil {
		g.presence.seen(g.hosts.get(c.hostID), connOf(ctx), c.serial)
	}
	return c, err
}

// unknown maps a caller without a good certificate to its gRPC error.
func (g *Gateway) unknown(c caller, method string, err error) error {
	e := asError(err)
	if e.Kind != errs.Unauthorized {
		return status.Error(codes.Unavailable, e.Detail)
	}
	g.refuse(refusal{caller: c, what: methodName(method), reason: e.Code})
	return status.Error(codes.Unauthenticated, e.Detail)
}

// unknownMethod refuses all services but Temporal's workflow service.
func (g *Gateway) unknownMethod(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	c, err := g.callerOf(stream.Context())
	if err != nil {
		return g.unknown(c, method, err)
	}
	g.refuse(refusal{caller: c, what: methodName(method), reason: "not allowed to agents"})
	return errNotAllowed
}

func methodName(full string) string { return strings.TrimPrefix(full, servicePrefix) }
