package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
)

const (
	// maxBuffered output waits in memory while the manager is away.
	maxBuffered = 4 << 20
	maxChunk    = 64 << 10
	// outputPatience is how long a command is held up when the buffer is full, before output is left out.
	outputPatience = 2 * time.Second
	// outputLinger gathers what a command prints in quick succession.
	outputLinger = 50 * time.Millisecond
)

// uploader takes the output of steps to the manager in order. It never fails a command and holds one up only shortly;
// what does not fit is left out, and the output says so.
type uploader struct {
	log *slog.Logger

	mu     sync.Mutex
	queue  []*host.OutputChunk
	bytes  int
	full   map[string]bool
	wake   chan struct{}
	space  chan struct{}
	idle   chan struct{}
	max    int
	waited time.Duration
}

func newUploader(log *slog.Logger) *uploader {
	u := &uploader{
		log: log, full: map[string]bool{}, wake: make(chan struct{}, 1), space: make(chan struct{}), idle: make(chan struct{}),
		max: maxBuffered, waited: outputPatience,
	}
	close(u.idle)
	return u
}

// stream is the output of one run of a step.
type stream struct {
	u         *uploader
	operation string
	step      string
	run       int
	offset    int64
	missing   int64
}

// Stream opens the output of one run of a step's command.
func (u *uploader) Stream(operation, step string, run int) io.WriteCloser {
	return &stream{u: u, operation: operation, step: step, run: run}
}

func (s *stream) Close() error { return nil }

func (s *stream) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		piece := p[:min(len(p), maxChunk)]
		p = p[len(piece):]
		if s.missing > 0 {
			piece = append([]byte(fmt.Sprintf("\n[%d bytes of output are missing here: the manager was away]\n", s.missing)), piece...)
		}
		if s.u.put(s, piece) {
			s.missing = 0
		} else {
			s.missing += int64(min(len(piece), maxChunk))
		}
	}
	return n, nil
}

// put queues a piece, waiting a little for space.
func (u *uploader) put(s *stream, p []byte) bool {
	deadline := time.NewTimer(u.waited)
	defer deadline.Stop()
	for {
		u.mu.Lock()
		if u.full[s.operation] {
			u.mu.Unlock()
			return true
		}
		if u.bytes+len(p) <= u.max {
			u.append(s, p)
			u.mu.Unlock()
			return true
		}
		space := u.space
		u.mu.Unlock()
		if s.missing > 0 {
			// It was held up once; from now on it runs at its own speed.
			return false
		}
		select {
		case <-space:
		case <-deadline.C:
			return false
		}
	}
}

func (u *uploader) append(s *stream, p []byte) {
	if len(u.queue) == 0 {
		u.idle = make(chan struct{})
	}
	last := len(u.queue) - 1
	// The first of the queue may be on its way, so only a later one grows.
	if last > 0 && u.queue[last].Operation == s.operation && u.queue[last].Step == s.step && u.queue[last].Run == s.run &&
		len(u.queue[last].Data)+len(p) <= maxChunk {
		u.queue[last].Data = append(u.queue[last].Data, p...)
	} else {
		u.queue = append(u.queue, &host.OutputChunk{
			Operation: s.operation, Step: s.step, Run: s.run, Offset: s.offset, Data: slices.Clone(p),
		})
	}
	s.offset += int64(len(p))
	u.bytes += len(p)
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// run sends until ctx ends.
func (u *uploader) run(ctx context.Context, send func(context.Context, *host.OutputChunk) error, back *backoff) {
	for {
		select {
		case <-u.wake:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(outputLinger):
		case <-ctx.Done():
		}
		for c := u.first(); c != nil && ctx.Err() == nil; c = u.first() {
			err := send(ctx, c)
			switch {
			case err == nil:
				back.reset()
			case pointless(err):
				u.refuse(c, err)
			default:
				back.wait(ctx, err, "output cannot be delivered; it is kept for now")
				continue
			}
			u.drop(c)
		}
	}
}

func (u *uploader) first() *host.OutputChunk {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.queue) == 0 {
		return nil
	}
	return u.queue[0]
}

// refuse remembers an operation whose output the manager takes no more.
func (u *uploader) refuse(c *host.OutputChunk, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.full[c.Operation] {
		u.log.Warn("the manager takes no more output of an operation", "operation", c.Operation, "error", err)
	}
	if len(u.full) > 1000 {
		clear(u.full)
	}
	u.full[c.Operation] = true
}

func (u *uploader) drop(c *host.OutputChunk) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.queue) == 0 || u.queue[0] != c {
		return
	}
	u.queue = slices.Delete(u.queue, 0, 1)
	u.bytes -= len(c.Data)
	if len(u.queue) == 0 {
		close(u.idle)
	}
	close(u.space)
	u.space = make(chan struct{})
}

// flush waits until all is delivered or ctx ends.
func (u *uploader) flush(ctx context.Context) {
	u.mu.Lock()
	idle := u.idle
	u.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func sendOutput(g *gateway) func(context.Context, *host.OutputChunk) error {
	return func(ctx context.Context, c *host.OutputChunk) error {
		return g.post(ctx, host.PathOutput, c, nil)
	}
}
