// Package bench_test measures the budgets of the design on a real system of real processes, with fsync on. It is run by
// "make bench" alone: nothing here fails when a budget is missed, for the machine may be busy; the table at the end says
// what was measured and how it stands to the budget. Each benchmark takes its samples once, whatever -benchtime says.
package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

// masterKey is the one that package system gives its managers; with it the bench signs certificates as a manager would.
const masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestMain(m *testing.M) {
	system.Main()
	fleetMain()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	defer cleanUp()
	code := m.Run()
	printTable()
	return code
}

var (
	base  string
	build sync.Once
	built error
	start sync.Once
	begun error
	rig   *bed
)

// bed is what most benchmarks run on: one system with one agent.
type bed struct {
	*system.System
	client *system.Client
	hostID string
	agent  *system.Process
}

// programs builds what is measured, without crash points, into a folder that the servers' user can reach.
func programs(b *testing.B) string {
	b.Helper()
	build.Do(func() {
		// Not b.TempDir: it is private to us, and goes with the first benchmark.
		if base, built = os.MkdirTemp("/var/tmp", "pgdrover-bench-"); built != nil { //nolint:usetesting // see above
			return
		}
		if built = os.Chmod(base, 0o755); built != nil {
			return
		}
		cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", base+"/bin/", "github.com/pgdrover/pgdrover/cmd/...")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		built = cmd.Run()
	})
	require.NoError(b, built)
	return filepath.Join(base, "bin")
}

func theBed(b *testing.B) *bed {
	b.Helper()
	bin := programs(b)
	start.Do(func() {
		rig, begun = newBed(context.Background(), bin)
	})
	require.NoError(b, begun)
	return rig
}

func newBed(ctx context.Context, bin string) (*bed, error) {
	t := &bed{}
	dir := filepath.Join(base, "system")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return t, fmt.Errorf("make folder: %w", err)
	}
	var err error
	if t.System, err = system.Start(ctx, system.Options{Dir: dir, Bin: bin, Durable: true}); err != nil {
		return t, err
	}
	t.client = &system.Client{URL: t.URL}
	if err := t.client.SignIn(ctx); err != nil {
		return t, err
	}
	t.hostID, t.agent, err = t.AddAgent(ctx, t.client, "bench")
	return t, err
}

// cleanUp ends the servers that were made and removes everything; with PGDROVER_KEEP it stays for a look.
func cleanUp() {
	if rig != nil && rig.System != nil {
		rig.Stop()
	}
	if base == "" {
		return
	}
	files, _ := filepath.Glob(base + "/*/*/*/*/postmaster.pid")
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil {
			first, _, _ := strings.Cut(string(text), "\n")
			if pid, err := strconv.Atoi(first); err == nil {
				_ = syscall.Kill(pid, syscall.SIGQUIT)
			}
		}
	}
	if os.Getenv("PGDROVER_KEEP") == "" {
		_ = os.RemoveAll(base)
	}
}

// line of the table: a value, and the budget it stands against where there is one.
type line struct {
	what, unit    string
	value, budget float64
}

var lines []line

// report writes a value down, for the framework and for the table; budget 0 means that there is none.
func report(b *testing.B, what, unit string, value, budget float64) {
	b.Helper()
	lines = append(lines, line{what: what, unit: unit, value: value, budget: budget})
	name := strings.NewReplacer(" ", "-", ",", "").Replace(strings.TrimSpace(what))
	b.ReportMetric(value, name+"_"+unit)
	if budget > 0 {
		b.ReportMetric(value/budget, name+"_of-budget")
	}
	b.ReportMetric(0, "ns/op") // of the whole benchmark: says nothing
}

func printTable() {
	if len(lines) == 0 {
		return
	}
	load, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(load), " ")
	fmt.Printf("\nmeasured on %d cores, load average now %s\n", runtime.NumCPU(), one)
	for _, l := range lines {
		if l.budget > 0 {
			fmt.Printf("%-52s %10.2f %-5s %8.2f of the budget of %g %s\n", l.what, l.value, l.unit, l.value/l.budget, l.budget, l.unit)
		} else {
			fmt.Printf("%-52s %10.2f %s\n", l.what, l.value, l.unit)
		}
	}
	fmt.Println()
}

// times takes n samples after a few to warm up, one after the other.
func times(b *testing.B, warm, n int, fn func()) []time.Duration {
	b.Helper()
	for range warm {
		fn()
	}
	out := make([]time.Duration, n)
	for i := range out {
		begin := time.Now()
		fn()
		out[i] = time.Since(begin)
	}
	slices.Sort(out)
	return out
}

// percentile of sorted samples, in milliseconds.
func percentile(sorted []time.Duration, p float64) float64 {
	i := min(int(float64(len(sorted))*p), len(sorted)-1)
	return sorted[i].Seconds() * 1000
}

// memory is a process's resident set in MiB.
func memory(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(b, err)
	for l := range strings.SplitSeq(string(text), "\n") {
		if v, ok := strings.CutPrefix(l, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(v)[0])
			require.NoError(b, err)
			return float64(kib) / 1024
		}
	}
	require.FailNow(b, "no VmRSS in /proc")
	return 0
}

// cpu is the time a process has used, threads and system time included.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	// The program's name stands in parentheses and may hold spaces.
	_, rest, ok := strings.Cut(string(text), ") ")
	require.True(b, ok)
	f := strings.Fields(rest)
	user, err := strconv.Atoi(f[11])
	require.NoError(b, err)
	sys, err := strconv.Atoi(f[12])
	require.NoError(b, err)
	return time.Duration(user+sys) * 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
}

// watch calls fn once a second for a time: idleness can only be measured by waiting.
func watch(d time.Duration, fn func()) {
	end := time.After(d)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
			fn()
		}
	}
}
