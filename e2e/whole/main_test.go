// Package whole_test tries a whole pgdrover of real processes with bad input and faults, as people and machines will:
// every refusal must be a problem document that says what to do and leave no trace, every fault be survived.
// Most tests share one system, on hosts and instances of their own; those that kill parts have their own system.
package whole_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

// limit is far above what anything here takes on a busy machine.
const limit = 2 * time.Minute

var (
	base   string
	shared *world
)

func TestMain(m *testing.M) {
	system.Main()
	flag.Parse()
	// What is tested waits for other processes most of the time.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	if base, err = os.MkdirTemp("/var/tmp", "pgdrover-whole-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cleanUp()
	// The servers' user must reach what is in it.
	if err := os.Chmod(base, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin := filepath.Join(base, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := system.Build(ctx, bin, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared, err = newWorld(ctx, "shared")
	if shared != nil {
		defer shared.stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the system:", err)
		return 1
	}
	return m.Run()
}

// cleanUp ends the servers that tests left and removes everything; with PGDROVER_KEEP it stays for a look.
func cleanUp() {
	for _, pid := range processesWith(base) {
		_ = syscall.Kill(pid, syscall.SIGQUIT)
	}
	if os.Getenv("PGDROVER_KEEP") == "" {
		_ = os.RemoveAll(base)
	}
}

// processesWith finds the processes that have a text in their arguments.
func processesWith(text string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), text) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// world is one system, what is signed in to it, and its first host.
type world struct {
	*system.System
	client *system.Client
	points *points
	db     *pgxpool.Pool
	*host

	adminOnce  sync.Once
	adminToken string
}

func newWorld(ctx context.Context, name string) (*world, error) {
	dir := filepath.Join(base, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	w := &world{points: newPoints()}
	var err error
	w.System, err = system.Start(ctx, system.Options{
		Dir: dir, Bin: filepath.Join(base, "bin"), Crashpoint: w.points.url(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return w, err
	}
	w.client = &system.Client{URL: w.URL}
	if err := w.client.SignIn(ctx); err != nil {
		return w, err
	}
	if w.db, err = pgxpool.New(ctx, w.Repository.DSN("pgdrover")); err != nil {
		return w, err
	}
	w.host, err = w.addHost(ctx, name, hostOptions{})
	return w, err
}

// ownWorld is a system for a test that kills parts of it.
func ownWorld(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(t.Context(), unique("own"))
	if w != nil {
		t.Cleanup(w.stop)
	}
	require.NoError(t, err)
	return w
}

func (w *world) stop() {
	w.points.close()
	if w.host != nil {
		w.agent.kill()
	}
	if w.db != nil {
		w.db.Close()
	}
	if w.System != nil && w.Repository != nil {
		w.Stop()
	}
}

var counter atomic.Int64

// unique makes a name nobody else has.
func unique(prefix string) string { return prefix + "-" + strconv.FormatInt(counter.Add(1), 10) }

var nextPort atomic.Int64

// freePort gives every port once, below those that the kernel gives to connections.
func freePort(t *testing.T) int {
	t.Helper()
	for range 2000 {
		p := 18000 + (os.Getpid()*37+int(nextPort.Add(1)))%12000
		if l, err := listenOn(p); err == nil {
			_ = l.Close()
			return p
		}
	}
	require.FailNow(t, "no port is free")
	return 0
}
