// Command crashmatrix kills pgdrover everywhere. For every registered operation it runs the operation once in peace,
// and then once for each of its steps, for each process (agent, manager, Temporal, repository), before and after the
// step: the process is killed with -9 at exactly that point and started again. The operation must end as if
// undisturbed, with nothing done twice. Operations are found in the registry, their inputs made from their schemas:
// a new operation is in the matrix without a test being written.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
)

var victims = []string{"agent", "manager", "temporal", "repository"}

type options struct {
	short       bool
	ops, victim string
	phase       string
	lanes       int
	keep        bool
}

func main() {
	system.Main()
	var o options
	flag.BoolVar(&o.short, "short", false, "a part that takes less than ten minutes")
	flag.StringVar(&o.ops, "op", "", "only these operations, comma separated")
	flag.StringVar(&o.victim, "victim", "", "only this process")
	flag.StringVar(&o.phase, "phase", "", "only before, worked or after")
	flag.IntVar(&o.lanes, "lanes", 3, "systems side by side")
	flag.BoolVar(&o.keep, "keep", false, "keep the folders")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	failed, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "crashmatrix: "+err.Error())
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// result of one case.
type result struct {
	c       kase
	seconds float64
	err     error
}

func run(ctx context.Context, o options) (failed int, err error) {
	base, err := os.MkdirTemp("/var/tmp", "pgdrover-crash-")
	if err != nil {
		return 0, fmt.Errorf("make folder: %w", err)
	}
	if err := os.Chmod(base, 0o755); err != nil { //nolint:gosec // the servers' user must reach what is in it
		return 0, fmt.Errorf("open folder: %w", err)
	}
	if !o.keep {
		defer os.RemoveAll(base)
	}
	bin := base + "/bin"
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return 0, fmt.Errorf("make folder: %w", err)
	}
	if err := system.Build(ctx, bin, os.Stderr); err != nil {
		return 0, err
	}
	lanes, err := open(ctx, base, bin, o.lanes)
	defer func() {
		for _, l := range lanes {
			l.close()
		}
	}()
	if err != nil {
		return 0, err
	}
	cases, err := plan(ctx, lanes[0], o)
	if err != nil {
		return 0, err
	}
	fmt.Printf("%d cases on %d systems side by side\n", len(cases), len(lanes))
	results := work(ctx, lanes, cases)
	return report(results), ctx.Err()
}

func open(ctx context.Context, base, bin string, n int) ([]*lane, error) {
	var lanes []*lane
	for i := range n {
		l, err := newLane(ctx, fmt.Sprintf("%s/lane%d", base, i), bin)
		if l != nil {
			lanes = append(lanes, l)
		}
		if err != nil {
			return lanes, err
		}
	}
	return lanes, nil
}

// plan runs every operation once in peace and makes the cases from the steps it took.
func plan(ctx context.Context, l *lane, o options) ([]kase, error) {
	var cases []kase
	for _, reg := range workflows.All {
		info := reg.Info()
		if o.ops != "" && !slices.Contains(strings.Split(o.ops, ","), info.Name) {
			continue
		}
		peace, err := l.peace(ctx, reg)
		if err != nil {
			return nil, fmt.Errorf("%s in peace: %w", info.Name, err)
		}
		fmt.Printf("%-18s %2d steps, %5.2f s in peace\n", info.Name, len(peace.steps), peace.seconds)
		for _, at := range peace.points {
			for _, victim := range victims {
				c := kase{op: reg, peace: peace, step: at.step, phase: at.phase, victim: victim}
				if wanted(o, c, info) {
					cases = append(cases, c)
				}
			}
		}
	}
	return cases, nil
}

// wanted chooses; the short part has the worst moment of each step of the three hardest operations, and of the last step
// of each other one.
func wanted(o options, c kase, info op.Info) bool {
	if (o.victim != "" && o.victim != c.victim) || (o.phase != "" && o.phase != c.phase) {
		return false
	}
	if !o.short {
		return true
	}
	worst := "after"
	if slices.Contains(c.peace.points, point{c.step, "worked"}) {
		worst = "worked"
	}
	hard := slices.Contains([]string{"instance-create", "instance-restart", "instance-delete"}, info.Name)
	return c.phase == worst && (hard || c.step == c.peace.steps[len(c.peace.steps)-1])
}

func work(ctx context.Context, lanes []*lane, cases []kase) []result {
	queue := make(chan int)
	results := make([]result, len(cases))
	var all sync.WaitGroup
	for _, l := range lanes {
		all.Go(func() {
			for i := range queue {
				begin := time.Now()
				err := l.run(ctx, cases[i])
				results[i] = result{c: cases[i], seconds: time.Since(begin).Seconds(), err: err}
				word := "ok"
				if err != nil {
					word = "FAILED: " + err.Error()
				}
				fmt.Printf("%-18s %-28s %-6s %-10s %5.1f s  %s\n", cases[i].op.Info().Name, cases[i].step, cases[i].phase,
					cases[i].victim, results[i].seconds, word)
			}
		})
	}
	for i := range cases {
		select {
		case queue <- i:
		case <-ctx.Done():
		}
	}
	close(queue)
	all.Wait()
	return results
}

// report prints the table, operation by process.
func report(results []result) (failed int) {
	type cell struct{ passed, all int }
	table := map[string]map[string]*cell{}
	var names []string
	slowest := 0.0
	for _, r := range results {
		name := r.c.op.Info().Name
		if table[name] == nil {
			table[name] = map[string]*cell{}
			names = append(names, name)
		}
		if table[name][r.c.victim] == nil {
			table[name][r.c.victim] = &cell{}
		}
		c := table[name][r.c.victim]
		c.all++
		if r.err == nil {
			c.passed++
		} else {
			failed++
		}
		slowest = max(slowest, r.seconds)
	}
	fmt.Printf("\n%-18s", "killed with -9:")
	for _, v := range victims {
		fmt.Printf("%12s", v)
	}
	fmt.Println()
	for _, n := range names {
		fmt.Printf("%-18s", n)
		for _, v := range victims {
			text := "-"
			if c := table[n][v]; c != nil {
				text = fmt.Sprintf("%d/%d", c.passed, c.all)
			}
			fmt.Printf("%12s", text)
		}
		fmt.Println()
	}
	fmt.Printf("slowest case %.1f s\n%d passed, %d failed\n", slowest, len(results)-failed, failed)
	return failed
}
