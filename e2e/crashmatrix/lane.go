package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// kase is one cell of the matrix.
type kase struct {
	op    op.Operation
	peace peace
	// step, phase: where; victim: who is killed there.
	step, phase, victim string
}

// peace is how an operation goes when nothing is killed.
type peace struct {
	steps   []string
	points  []point
	world   world
	seconds float64
}

// limit for a disturbed operation: what dies mid-task is found again by time-outs of seconds; this is far above.
const limit = 3 * time.Minute

// lane is one system with what its cases need.
type lane struct {
	dir    string
	sys    *system.System
	client *system.Client
	server *http.Server
	hostID string
	agent  *system.Process
	n      int

	mu    sync.Mutex
	armed *arming
	seen  []point
}

// point is a moment of an operation: before a step, after its work ("worked", where the journal does not know yet), or
// before its answer goes out ("after").
type point struct{ step, phase string }

// arming is the one point at which to strike.
type arming struct {
	operation, step, phase, victim string
	struck                         bool
	err                            error
}

func newLane(ctx context.Context, dir, bin string) (*lane, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	l := &lane{dir: dir}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for crash points: %w", err)
	}
	l.server = &http.Server{Handler: http.HandlerFunc(l.point), ReadHeaderTimeout: time.Minute}
	go func() { _ = l.server.Serve(listener) }()
	l.sys, err = system.Start(ctx, system.Options{
		Dir: dir, Bin: bin, Crashpoint: "http://" + listener.Addr().String(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return l, err
	}
	l.client = &system.Client{URL: l.sys.URL}
	if err := l.client.SignIn(ctx); err != nil {
		return l, err
	}
	l.hostID, l.agent, err = l.sys.AddAgent(ctx, l.client, "db1")
	return l, err
}

func (l *lane) close() {
	l.stopInstances()
	if l.sys != nil {
		l.sys.Stop()
	}
	_ = l.server.Close()
}

// point is asked by every process before and after each step.
func (l *lane) point(_ http.ResponseWriter, r *http.Request) {
	var p struct {
		Process, Phase string
		Ref            op.StepRef
	}
	if json.NewDecoder(r.Body).Decode(&p) != nil {
		return
	}
	l.mu.Lock()
	if at := (point{p.Ref.Step, p.Phase}); !slices.Contains(l.seen, at) {
		l.seen = append(l.seen, at)
	}
	a := l.armed
	if a == nil || a.struck || a.step != p.Ref.Step || a.phase != p.Phase || a.operation != p.Ref.Operation {
		l.mu.Unlock()
		return
	}
	a.struck = true
	l.mu.Unlock()
	if err := l.kill(context.WithoutCancel(r.Context()), a.victim); err != nil {
		l.mu.Lock()
		a.err = err
		l.mu.Unlock()
	}
}

func (l *lane) kill(ctx context.Context, victim string) error {
	switch victim {
	case "agent":
		return l.agent.Restart()
	case "manager":
		return l.sys.Manager.Restart()
	case "temporal":
		return l.sys.Temporal.Restart()
	case "repository":
		return l.sys.RestartRepository(ctx)
	}
	return fmt.Errorf("unknown victim %s", victim)
}

// peace runs an operation undisturbed and notes its steps and what it leaves.
func (l *lane) peace(ctx context.Context, o op.Operation) (peace, error) {
	f, err := l.prepare(ctx, o)
	if err != nil {
		return peace{}, fmt.Errorf("prepare: %w", err)
	}
	l.mu.Lock()
	l.seen, l.armed = nil, nil
	l.mu.Unlock()
	begin := time.Now()
	done, err := l.perform(ctx, o, f, nil)
	if err != nil {
		return peace{}, err
	}
	p := peace{seconds: time.Since(begin).Seconds()}
	if done.State != "succeeded" {
		return p, fmt.Errorf("it ended %s: %+v", done.State, done.Failure)
	}
	l.mu.Lock()
	p.points = slices.Clone(l.seen)
	l.mu.Unlock()
	for _, at := range p.points {
		if !slices.Contains(p.steps, at.step) {
			p.steps = append(p.steps, at.step)
		}
	}
	slices.Sort(p.steps)
	p.world, err = l.look(ctx, f, done)
	return p, err
}

// run is one case.
func (l *lane) run(ctx context.Context, c kase) error {
	f, err := l.prepare(ctx, c.op)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	a := &arming{step: c.step, phase: c.phase, victim: c.victim}
	done, err := l.perform(ctx, c.op, f, a)
	if err != nil {
		return err
	}
	if done.State != "succeeded" {
		return fmt.Errorf("it ended %s: %+v", done.State, done.Failure)
	}
	l.mu.Lock()
	struck, killErr := a.struck, a.err
	l.mu.Unlock()
	if killErr != nil {
		return fmt.Errorf("kill %s: %w", c.victim, killErr)
	}
	if !struck {
		return fmt.Errorf("the point was never reached")
	}
	if err := l.checkSteps(ctx, done.ID, c.peace.steps); err != nil {
		return err
	}
	w, err := l.look(ctx, f, done)
	if err != nil {
		return err
	}
	if w != c.peace.world {
		return fmt.Errorf("it left %+v, undisturbed it leaves %+v", w, c.peace.world)
	}
	return nil
}

// checkSteps wants the record whole: every step completed once, none forgotten or left running.
func (l *lane) checkSteps(ctx context.Context, id string, want []string) error {
	steps, err := l.client.Steps(ctx, id)
	if err != nil {
		return err
	}
	var got []string
	for _, s := range steps {
		if s.State != "completed" {
			return fmt.Errorf("step %s is recorded as %s", s.Step, s.State)
		}
		got = append(got, s.Step)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("steps recorded %v, undisturbed %v", got, want)
	}
	return nil
}
