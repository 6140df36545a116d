package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/server/gateway/lostpoll"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
)

const (
	dialTimeout = 10 * time.Second
	// workerStop is what running steps get when the agent stops.
	workerStop = 20 * time.Second
	// maxSteps run at a time; most of them wait for a program.
	maxSteps = 16
	// heartbeatThrottle lets progress and cancellation pass within a second.
	heartbeatThrottle = time.Second
)

// conns are the open connections to the gateway, so that they can be made anew when the certificate changed.
type conns struct {
	mu  sync.Mutex
	all map[net.Conn]struct{}
}

type trackedConn struct {
	net.Conn
	from *conns
}

func (c *conns) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: nc, from: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[net.Conn]struct{}{}
	}
	c.all[t] = struct{}{}
	return t, nil
}

func (t *trackedConn) Close() error {
	t.from.mu.Lock()
	delete(t.from.all, t)
	t.from.mu.Unlock()
	return t.Conn.Close()
}

// cut closes all: gRPC dials again by itself, the gateway keeps the polls, and running steps do not notice.
func (c *conns) cut() {
	c.mu.Lock()
	var list []net.Conn
	for nc := range c.all {
		list = append(list, nc)
	}
	c.mu.Unlock()
	for _, nc := range list {
		_ = nc.Close()
	}
}

func (a *agent) temporalOptions() client.Options {
	id := a.id.get()
	return client.Options{
		HostPort: a.address(), Namespace: id.Namespace, Identity: a.session,
		Logger:             sdklog.NewStructuredLogger(a.log.With("part", "temporal")),
		ContextPropagators: []workflow.ContextPropagator{op.StepPropagator()},
		ConnectionOptions: client.ConnectionOptions{
			TLS:                  a.id.tlsConfig(),
			GetSystemInfoTimeout: dialTimeout,
			DialOptions: []grpc.DialOption{
				grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return a.conns.dial(ctx, "tcp", addr) }),
				grpc.WithChainUnaryInterceptor(a.lostPolls),
				// The default waits up to two minutes, which is too long for a gateway that was restarted.
				grpc.WithConnectParams(grpc.ConnectParams{
					Backoff: grpcbackoff.Config{
						BaseDelay:  200 * time.Millisecond,
						Multiplier: 1.6,
						Jitter:     0.2,
						MaxDelay:   5 * time.Second,
					},
					MinConnectTimeout: dialTimeout,
				}),
			},
		},
	}
}

// work connects to Temporal through the gateway and works until ctx ends, retrying for ever while the gateway is away
// and slowly while it refuses us. An error is one that only a new process can mend.
func (a *agent) work(ctx context.Context) error {
	back := newBackoff(a.log)
	for ctx.Err() == nil {
		if a.isRefused() {
			// The poll of the configuration finds out when that changes.
			if err := a.awaitAccepted(ctx); err != nil {
				return err
			}
			continue
		}
		w, c, err := a.connect(ctx)
		if err != nil {
			back.wait(ctx, err, "cannot reach Temporal through the gateway")
			continue
		}
		back.reset()
		a.log.Info("ready for work", "host", a.id.get().HostID, "gateway", a.address())
		a.markReady()
		err = a.serve(ctx, w)
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) connect(ctx context.Context) (worker.Worker, client.Client, error) {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := client.DialContext(dctx, a.temporalOptions())
	if err != nil {
		return nil, nil, fmt.Errorf("connect to Temporal: %w", err)
	}
	a.fatal = make(chan error, 1)
	fatal := a.fatal
	w := worker.New(c, op.AgentQueue(a.id.get().HostID), worker.Options{
		Identity:                                a.session,
		DisableWorkflowWorker:                   true,
		DisableRegistrationAliasing:             true,
		DisableEagerActivities:                  true,
		MaxConcurrentActivityTaskPollers:        1,
		MaxConcurrentActivityExecutionSize:      maxSteps,
		MaxConcurrentLocalActivityExecutionSize: 1,
		MaxHeartbeatThrottleInterval:            heartbeatThrottle,
		DefaultHeartbeatThrottleInterval:        heartbeatThrottle,
		WorkerStopTimeout:                       workerStop,
		Interceptors:                            []interceptor.WorkerInterceptor{&hook{agent: a}},
		OnFatalError: func(err error) {
			select {
			case fatal <- err:
			default:
			}
		},
	})
	for _, impl := range a.verbs.Implementations() {
		w.RegisterActivityWithOptions(impl.Func, impl.Options)
	}
	if err := w.Start(); err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("start worker: %w", err)
	}
	return w, c, nil
}

// serve lets the worker run until it has to stop.
func (a *agent) serve(ctx context.Context, w worker.Worker) error {
	select {
	case <-ctx.Done():
		w.Stop()
		a.verbs.Stop()
		return nil
	case err := <-a.quit:
		w.Stop()
		return err
	case err := <-a.fatal:
		w.Stop()
		if a.isRefused() {
			return nil
		}
		return fmt.Errorf("the worker cannot go on: %w", err)
	case <-a.refusedNow():
		a.log.Error("the manager refuses this agent; it takes no more work", "host", a.id.get().HostID)
		w.Stop()
		return nil
	}
}

// hook calls the configured function around each step of an operation.
type hook struct {
	interceptor.WorkerInterceptorBase
	agent *agent
}

func (h *hook) InterceptActivity(
	ctx context.Context,
	next interceptor.ActivityInboundInterceptor,
) interceptor.ActivityInboundInterceptor {
	i := &hookInbound{agent: h.agent}
	i.Next = next
	return i
}

type hookInbound struct {
	interceptor.ActivityInboundInterceptorBase
	agent *agent
}

func (h *hookInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	ref, isStep := op.Ref(ctx)
	begun := time.Now()
	if isStep && h.agent.cfg.StepHook != nil {
		h.agent.cfg.StepHook(ctx, "before", ref)
	}
	out, err := h.Next.ExecuteActivity(ctx, in)
	if isStep {
		log := h.agent.log.With("operation", ref.Operation, "step", ref.Step, "seconds",
			time.Since(begun).Round(time.Millisecond).Seconds())
		if err != nil && !errors.Is(err, context.Canceled) {
			log.Info("step failed", "error", err)
		} else {
			log.Debug("step done")
		}
		if h.agent.cfg.StepHook != nil {
			h.agent.cfg.StepHook(ctx, "after", ref)
		}
	}
	return out, err
}

func newLostPolls() grpc.UnaryClientInterceptor { return lostpoll.ClientInterceptor() }
