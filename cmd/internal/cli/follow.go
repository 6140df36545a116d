package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/internal/apiclient"
)

// view shows an operation while it is followed.
type view interface {
	// update is told everything at each look; output is what steps wrote since the one before.
	update(op apiclient.Operation, steps []apiclient.Step, output map[string]string)
	// lost and back tell of the connection to the manager.
	lost(err error)
	back()
	// frame redraws what moves; end leaves the last state standing.
	frame()
	end()
}

// silent shows nothing.
type silent struct{}

func (silent) update(apiclient.Operation, []apiclient.Step, map[string]string) {}
func (silent) lost(error)                                                      {}
func (silent) back()                                                           {}
func (silent) frame()                                                          {}
func (silent) end()                                                            {}

// follower looks at one operation again and again.
type follower struct {
	c    *client
	id   string
	view view
	read map[string]*reading
	// output was read and not shown yet: a look may fail half-way.
	output map[string]string
}

// reading is how far a step's output was read: the next offset to ask for, and the run and begin of the last piece seen.
type reading struct {
	from, begin  int64
	run, attempt int32
	// ended is when the step was first seen ended.
	ended time.Time
}

// settled is how long after a step's end its last output may still be on its way.
const settled = 3 * time.Second

// late tells that output may still come.
func (r *reading) late(now time.Time) bool {
	return r.ended.IsZero() || (r.begin >= 0 && now.Sub(r.ended) < settled)
}

// follow looks until the operation has ended. It survives a manager that goes away for a while; only what no waiting
// mends ends it. Ctrl-C leaves the operation as it is.
func (c *client) follow(ctx context.Context, id string, v view) (apiclient.Operation, []byte, error) {
	f := &follower{c: c, id: id, view: v, read: map[string]*reading{}, output: map[string]string{}}
	ectx, stop := context.WithCancel(ctx)
	defer stop()
	wake := make(chan struct{}, 1)
	go c.listen(ectx, id, wake)
	defer v.end()
	pause := c.cli.Pace.Retry
	for {
		op, raw, err := f.look(ctx)
		switch {
		case ctx.Err() != nil:
			v.end()
			return op, nil, c.detached(id)
		case err != nil && !transient(err):
			return op, nil, err
		case err != nil:
			v.lost(err)
			_ = sleep(ctx, pause) // the next look tells of Ctrl-C
			pause = min(pause*2, c.cli.Pace.RetryMax)
			continue
		}
		pause = c.cli.Pace.Retry
		if final(op.State) {
			f.last(ctx)
			return op, raw, nil
		}
		f.idle(ctx, wake)
	}
}

func final(s apiclient.OperationState) bool {
	return s == apiclient.OperationStateSucceeded || s == apiclient.OperationStateFailed || s == apiclient.OperationStateCanceled
}

func (c *client) detached(id string) error {
	fmt.Fprintf(c.cli.Err, "\nThe operation goes on without you.\n"+
		"  follow it:  pgdrover operations follow %s\n  cancel it:  pgdrover operations cancel %s\n", id, id)
	return &Error{Exit: exitInterrupted, Detail: "interrupted", Quiet: true}
}

// idle waits for an event or the next look, and keeps the display moving.
func (f *follower) idle(ctx context.Context, wake <-chan struct{}) {
	p := f.c.cli.Pace
	// Many events come at once; one look sees them all.
	gap, poll := time.NewTimer(p.Gap), time.NewTimer(p.Poll)
	frame := time.NewTicker(p.Frame)
	defer gap.Stop()
	defer poll.Stop()
	defer frame.Stop()
	woken, rested := false, false
	for !woken || !rested {
		select {
		case <-wake:
			woken = true
		case <-gap.C:
			rested = true
		case <-poll.C:
			return
		case <-frame.C:
			f.view.frame()
		case <-ctx.Done():
			return
		}
	}
}

// last reads once more what steps wrote at their very end.
func (f *follower) last(ctx context.Context) {
	for _, r := range f.read {
		if r.begin >= 0 && r.late(f.c.cli.Now()) {
			if sleep(ctx, 2*f.c.cli.Pace.Gap) == nil {
				_, _, _ = f.look(ctx) // the operation has ended; what was seen stands
			}
			return
		}
	}
}

// look fetches everything and shows it.
func (f *follower) look(ctx context.Context) (apiclient.Operation, []byte, error) {
	// The operation is read first: what is final then has all its steps.
	rctx, cancel := context.WithTimeout(ctx, f.c.cli.Pace.Request)
	defer cancel()
	op, raw, err := decode[apiclient.Operation](f.c.OperationGet(rctx, f.id)) //nolint:bodyclose // decode closes it
	if err != nil {
		return op, nil, err
	}
	steps, _, err := decode[apiclient.PageStep](f.c.OperationSteps(rctx, f.id)) //nolint:bodyclose // decode closes it
	if err != nil {
		return op, nil, err
	}
	f.view.back()
	if _, none := f.view.(silent); !none {
		for _, s := range steps.Items {
			if err := f.outputOf(rctx, s); err != nil {
				return op, nil, err
			}
		}
	}
	f.view.update(op, steps.Items, f.output)
	clear(f.output)
	return op, raw, nil
}

// outputOf reads what a step wrote since the last look, until the step has ended and was read once more.
func (f *follower) outputOf(ctx context.Context, s apiclient.Step) error {
	r := f.read[s.Step]
	if r == nil {
		r = &reading{run: -1, begin: -1}
		f.read[s.Step] = r
	}
	if r.attempt != s.Attempt {
		// Offsets begin anew with each run.
		r.from, r.attempt, r.ended = 0, s.Attempt, time.Time{}
	}
	if !r.late(f.c.cli.Now()) {
		return nil
	}
	for {
		params := &apiclient.OperationOutputParams{Step: &s.Step, Offset: &r.from}
		page, _, err := decode[apiclient.OutputOutBody](f.c.OperationOutput(ctx, f.id, params)) //nolint:bodyclose // decode closes it
		if err != nil {
			return err
		}
		for _, chunk := range page.Chunks {
			if chunk.Run < r.run || (chunk.Run == r.run && chunk.Offset <= r.begin) {
				continue
			}
			r.run, r.begin = chunk.Run, chunk.Offset
			f.output[s.Step] += chunk.Text
		}
		// The manager counts bytes; the text here may have other ones in place of what was no text.
		if len(page.Chunks) == 0 || page.NextOffset <= r.from {
			break
		}
		r.from = page.NextOffset
	}
	if r.ended.IsZero() && s.State != apiclient.StepStateRunning && s.State != apiclient.StepStateRetrying {
		r.ended = f.c.cli.Now()
	}
	return nil
}

// listen wakes the follower at each event of its operation; without a stream the follower polls.
func (c *client) listen(ctx context.Context, id string, wake chan<- struct{}) {
	pause := c.cli.Pace.Retry
	for ctx.Err() == nil {
		if err := c.stream(ctx, id, wake); err == nil {
			pause = c.cli.Pace.Retry
		}
		if sleep(ctx, pause) != nil {
			return
		}
		pause = min(pause*2, c.cli.Pace.RetryMax)
	}
}

// stream reads server-sent events until they end; nil where any came.
func (c *client) stream(ctx context.Context, id string, wake chan<- struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+"/api/v1/events", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("events: %s", resp.Status)
	}
	notify(wake)
	// A dead connection says nothing; the manager says something every few seconds.
	watch := time.AfterFunc(c.cli.Pace.Quiet, cancel)
	defer watch.Stop()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		watch.Reset(c.cli.Pace.Quiet)
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var e struct{ Kind, ID, Parent string }
		if json.Unmarshal([]byte(data), &e) == nil && (e.ID == id || e.Parent == id || e.Kind == "resync") {
			notify(wake)
		}
	}
	return nil
}

func notify(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// sleep waits, or tells that the context ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err())
	}
}
