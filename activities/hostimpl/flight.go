package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
)

const (
	// heartbeatEvery is also how soon a cancellation is noticed.
	heartbeatEvery = time.Second
	// heartbeatCall bounds one call: the gateway may be away, which must not hold up the next try.
	heartbeatCall = 10 * time.Second
	// orphanKeep is how long work goes on that nobody waits for: longer than the heartbeat timeout and the longest
	// retry interval together, so that the next attempt of a step finds its work still running.
	orphanKeep = 60 * time.Second
	// stopGrace is what running work gets when the agent stops.
	stopGrace = 5 * time.Second
)

// errAsked, errOrphan and errStopping are the reasons work is ended for.
var (
	errAsked    = errors.New("the operation asked to cancel")
	errOrphan   = errors.New("no attempt of the step waits for it any more")
	errStopping = errors.New("the agent is stopping")
)

// flight is work under way. It belongs to the step, not to the attempt: when the connection breaks Temporal gives
// the step to a new attempt, which finds the work here and waits for it instead of doing it twice.
type flight struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	done     chan struct{}
	out      any
	err      error
	progress atomic.Pointer[host.Progress]

	mu       sync.Mutex
	waiting  int
	orphaned *time.Timer
}

// flights are the works under way by step.
type flights struct {
	log *slog.Logger

	mu sync.Mutex
	by map[string]*flight
}

func newFlights(log *slog.Logger) *flights { return &flights{log: log, by: map[string]*flight{}} }

// join returns the work of a step, begun now unless it is under way.
func (fs *flights) join(ctx context.Context, key string, work func(*flight) (any, error)) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	old, ok := fs.by[key]
	if ok && old.attach() {
		return old
	}
	// Work that was given up may still be winding down; two of one step never overlap.
	next := work
	if ok {
		next = func(f *flight) (any, error) {
			<-old.done
			return work(f)
		}
	}
	f := begin(ctx, fs.log, next, func(f *flight) {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		if fs.by[key] == f {
			delete(fs.by, key)
		}
	})
	fs.by[key] = f
	return f
}

// stopAll ends everything, when the agent stops.
func (fs *flights) stopAll() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.by {
		f.cancel(errStopping)
	}
}

// begin starts work that the end of ctx does not reach; only its values are kept.
func begin(ctx context.Context, log *slog.Logger, work func(*flight) (any, error), ended func(*flight)) *flight {
	f := &flight{done: make(chan struct{}), waiting: 1}
	f.ctx, f.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer func() {
			if p := recover(); p != nil {
				log.Error("verb panicked", "panic", p, "stack", string(debug.Stack()))
				f.err = op.Transient(op.CodeInternal, fmt.Errorf("verb panicked: %v", p))
			}
			// Leave the table before the answer is seen: a caller that asks again must not find this flight.
			ended(f)
			f.cancel(nil)
			close(f.done)
		}()
		f.out, f.err = work(f)
	}()
	return f
}

// attach counts one more attempt that waits; it fails where the work was given up.
func (f *flight) attach() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return false
	}
	f.waiting++
	if f.orphaned != nil {
		f.orphaned.Stop()
		f.orphaned = nil
	}
	return true
}

func (f *flight) detach() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting--
	if f.waiting == 0 {
		f.orphaned = time.AfterFunc(orphanKeep, func() { f.cancel(errOrphan) })
	}
}

// report sets the progress that the next heartbeat carries.
func (f *flight) report(p host.Progress) {
	if f != nil {
		f.progress.Store(&p)
	}
}

// await waits for the work on behalf of one attempt: it heartbeats, and tells a cancellation that was asked for from
// a connection that broke. The SDK's own heartbeat gives an attempt up after a second without the gateway, so the
// calls are made here and a failing one is only repeated.
func (f *flight) await(ctx context.Context, log *slog.Logger) (any, error) {
	beat := newHeartbeat(ctx)
	defer beat.close()
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	ctxDone, stop := ctx.Done(), workerStop(ctx)
	for {
		select {
		case <-f.done:
			return f.out, f.err
		case <-stop:
			// What is nearly done may end; the rest is ended so that the agent's restart is not held up.
			time.AfterFunc(stopGrace, func() { f.cancel(errStopping) })
			stop = nil
		case <-ctxDone:
			ctxDone = nil
			if cause := context.Cause(ctx); f.heed(ctx, cause) {
				return nil, op.Transient(op.CodeBusy, fmt.Errorf("attempt given up while the work goes on: %w", cause))
			}
		case <-tick.C:
			beat.send(f.progress.Load())
		case err := <-beat.answers:
			if f.heed(ctx, err) {
				return nil, op.Transient(op.CodeBusy, fmt.Errorf("attempt given up while the work goes on: %w", err))
			}
			log.Debug("heartbeat failed", "error", err)
		}
	}
}

// heed acts on what an attempt was told; true means that nobody waits for this attempt any more.
func (f *flight) heed(ctx context.Context, cause error) (gone bool) {
	switch {
	case errors.Is(cause, worker.ErrWorkerShutdown):
		f.cancel(errStopping)
	case asked(ctx, cause):
		if activity.IsActivity(ctx) && ctx.Err() == nil {
			// Told to the SDK too, so that it answers "canceled" for this attempt.
			activity.RecordHeartbeat(ctx)
		}
		f.cancel(errAsked)
	case lost(cause):
		f.detach()
		return true
	}
	return false
}

// asked tells a cancellation by the workflow; in tests, where there is no activity, the end of the context is one.
func asked(ctx context.Context, cause error) bool {
	return temporal.IsCanceledError(cause) || !activity.IsActivity(ctx)
}

// lost tells that Temporal no longer waits for this attempt.
func lost(err error) bool {
	var nf *serviceerror.NotFound
	return errors.As(err, &nf) || errors.Is(err, activity.ErrActivityPaused) || errors.Is(err, activity.ErrActivityReset) ||
		errors.Is(err, context.DeadlineExceeded)
}

func workerStop(ctx context.Context) <-chan struct{} {
	if !activity.IsActivity(ctx) {
		return nil
	}
	return activity.GetWorkerStopChannel(ctx)
}

// heartbeat sends the progress of one attempt, one call at a time and never in the way of the work's end.
type heartbeat struct {
	// answers has the errors of calls.
	answers chan error
	call    func(*host.Progress) error
	busy    atomic.Bool
	cancel  context.CancelFunc
}

func newHeartbeat(ctx context.Context) *heartbeat {
	b := &heartbeat{answers: make(chan error), cancel: func() {}}
	if !activity.IsActivity(ctx) || activity.GetInfo(ctx).HeartbeatTimeout <= 0 {
		return b
	}
	var hctx context.Context
	hctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c, ok := clientOf(ctx)
	if !ok {
		b.call = func(p *host.Progress) error { activity.RecordHeartbeat(hctx, p); return nil }
		return b
	}
	token := activity.GetInfo(ctx).TaskToken
	b.call = func(p *host.Progress) error {
		cctx, cancel := context.WithTimeout(hctx, heartbeatCall)
		defer cancel()
		var details []any
		if p != nil {
			details = append(details, *p)
		}
		err := c.RecordActivityHeartbeat(cctx, token, details...)
		if cctx.Err() != nil && err != nil && !temporal.IsCanceledError(err) {
			// The call's own timeout is not the attempt's.
			return errCall
		}
		return err
	}
	return b
}

var errCall = errors.New("the gateway did not answer in time")

func (b *heartbeat) send(p *host.Progress) {
	if b.call == nil || !b.busy.CompareAndSwap(false, true) {
		return
	}
	go func() {
		err := b.call(p)
		b.busy.Store(false)
		if err != nil {
			select {
			case b.answers <- err:
			case <-time.After(heartbeatCall):
			}
		}
	}()
}

func (b *heartbeat) close() { b.cancel() }

// clientOf returns the worker's client; Temporal's test environment has none and panics.
func clientOf(ctx context.Context) (c client.Client, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	c = activity.GetClient(ctx)
	return c, c != nil
}
