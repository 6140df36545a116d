// Package pgtest gives tests a real PostgreSQL in about a second.
//
// Start makes a cluster for one test. Where many tests of a package need only a database each, let TestMain call Main and
// the tests NewDatabase: one cluster serves them all. Data lies under the system's temporary folder, made so that the
// unprivileged user PostgreSQL runs as can reach it (t.TempDir cannot be reached by it).
package pgtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/internal/embedpostgres"
	"github.com/stretchr/testify/require"
)

const stopPatience = 20 * time.Second

// Dir makes a temporary folder that any user may pass through; it goes with the test.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := makeDir()
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) }) // left-overs in the temporary folder harm nobody
	return dir
}

func makeDir() (string, error) {
	// Not t.TempDir: its parent is private to us, and long names leave no room for a socket.
	dir, err := os.MkdirTemp("", "pgt")
	if err != nil {
		return "", fmt.Errorf("make folder for PostgreSQL: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // must be passable, the cluster's own folder is private
		return "", fmt.Errorf("open folder for PostgreSQL: %w", err)
	}
	return dir, nil
}

// Start runs a cluster for one test, without fsync, and stops it at the end.
func Start(tb testing.TB, options ...func(*embedpostgres.Config)) *embedpostgres.Cluster {
	tb.Helper()
	cfg := embedpostgres.Config{Dir: Dir(tb) + "/pg", FastUnsafe: true, Logger: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		option(&cfg)
	}
	c, err := embedpostgres.Start(tb.Context(), cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), stopPatience)
		defer cancel()
		require.NoError(tb, c.Stop(ctx))
	})
	return c
}

var (
	shared  *embedpostgres.Cluster
	counter atomic.Int64
)

// Main runs the tests of a package beside one shared cluster: func TestMain(m *testing.M) { pgtest.Main(m) }.
func Main(m *testing.M) {
	os.Exit(runMain(m))
}

func runMain(m *testing.M) int {
	ctx := context.Background() //nolint:forbidigo // a TestMain is a main
	dir, err := makeDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	shared, err = embedpostgres.Start(ctx, embedpostgres.Config{Dir: dir + "/pg", FastUnsafe: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		stop, cancel := context.WithTimeout(ctx, stopPatience)
		defer cancel()
		if err := shared.Stop(stop); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return m.Run()
}

// NewDatabase creates an empty database in the shared cluster of Main and gives its connection string.
func NewDatabase(tb testing.TB) string {
	tb.Helper()
	require.NotNil(tb, shared, "the package's TestMain must call pgtest.Main")
	safe := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return '_'
	}, strings.ToLower(tb.Name()))
	name := fmt.Sprintf("%.40s_%d", safe, counter.Add(1))
	require.NoError(tb, shared.CreateDatabase(tb.Context(), name))
	return shared.DSN(name)
}

// Shared is the cluster of Main.
func Shared(tb testing.TB) *embedpostgres.Cluster {
	tb.Helper()
	require.NotNil(tb, shared, "the package's TestMain must call pgtest.Main")
	return shared
}
