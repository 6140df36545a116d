package embedpostgres_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/internal/embedpostgres"
	"github.com/pgdrover/pgdrover/internal/embedpostgres/pgtest"
	"github.com/stretchr/testify/require"
)

func connect(tb testing.TB, dsn string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), dsn)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	return conn
}

func show(tb testing.TB, conn *pgx.Conn, setting string) string {
	tb.Helper()
	var value string
	require.NoError(tb, conn.QueryRow(tb.Context(), "SELECT current_setting($1)", setting).Scan(&value))
	return value
}

func stop(tb testing.TB, c *embedpostgres.Cluster) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 20*time.Second)
	defer cancel()
	require.NoError(tb, c.Stop(ctx))
}

func TestNewClusterIsAsDescribed(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, func(cfg *embedpostgres.Config) { cfg.Settings = map[string]string{"work_mem": "7MB"} })
	conn := connect(t, c.DSN("postgres"))

	want := map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(c.Port), "data_checksums": "on", "lc_collate": "C.UTF-8",
		"server_encoding": "UTF8", "password_encryption": "scram-sha-256", "work_mem": "7MB", "fsync": "off",
	}
	for name, value := range want {
		require.Equal(t, value, show(t, conn, name), name)
	}
	var user string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_user").Scan(&user))
	require.Equal(t, embedpostgres.Superuser, user)

	_, err := pgx.Connect(t.Context(), strings.Replace(c.DSN("postgres"), c.Password, "wrong", 1))
	require.ErrorContains(t, err, "password authentication failed")

	info, err := os.Stat(filepath.Join(filepath.Dir(c.DataDir()), "password"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.NotEmpty(t, c.SocketDir())
	bySocket := connect(t, "host="+c.SocketDir()+" user=pgdrover dbname=postgres password="+c.Password+" port="+strconv.Itoa(c.Port))
	require.NoError(t, bySocket.Ping(t.Context()))
}

func TestCreateDatabaseTwice(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t)
	for range 2 {
		require.NoError(t, c.CreateDatabase(t.Context(), `odd "name"`))
	}
	conn := connect(t, c.DSN(`odd "name"`))
	require.NoError(t, conn.Ping(t.Context()))
}

func TestDataPortAndPasswordSurviveRestart(t *testing.T) {
	t.Parallel()
	cfg := embedpostgres.Config{Dir: pgtest.Dir(t) + "/pg", FastUnsafe: true}
	first, err := embedpostgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	_, err = connect(t, first.DSN("postgres")).Exec(t.Context(), "CREATE TABLE kept AS SELECT 42 AS n")
	require.NoError(t, err)
	stop(t, first)

	cfg.Settings = map[string]string{"work_mem": "9MB"}
	second, err := embedpostgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	defer stop(t, second)
	require.Equal(t, first.DSN("postgres"), second.DSN("postgres"))
	conn := connect(t, second.DSN("postgres"))
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT n FROM kept").Scan(&n))
	require.Equal(t, 42, n)
	require.Equal(t, "9MB", show(t, conn, "work_mem"))
}

func TestTakenPortIsLeftAlone(t *testing.T) {
	t.Parallel()
	cfg := embedpostgres.Config{Dir: pgtest.Dir(t) + "/pg", FastUnsafe: true}
	first, err := embedpostgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	stop(t, first)
	taker, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(first.Port)))
	require.NoError(t, err)
	defer func() { require.NoError(t, taker.Close()) }()

	second, err := embedpostgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	defer stop(t, second)
	require.NotEqual(t, first.Port, second.Port)
	require.NoError(t, connect(t, second.DSN("postgres")).Ping(t.Context()))
}

func TestSecondManagerIsRefusedAndRunningServerAdopted(t *testing.T) {
	t.Parallel()
	cfg := embedpostgres.Config{Dir: pgtest.Dir(t) + "/pg", FastUnsafe: true}
	first, err := embedpostgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	_, err = embedpostgres.Start(t.Context(), cfg)
	require.ErrorContains(t, err, "another pgdrover process manages it")

	first.Release() // what the kernel does when the manager is killed
	second, err := embedpostgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	defer stop(t, second)
	require.Equal(t, first.Pid(), second.Pid())
	require.Equal(t, first.DSN("postgres"), second.DSN("postgres"))
	require.NoError(t, connect(t, second.DSN("postgres")).Ping(t.Context()))
}

func TestStalePidFile(t *testing.T) {
	t.Parallel()
	cfg := embedpostgres.Config{Dir: pgtest.Dir(t) + "/pg", FastUnsafe: true}
	c, err := embedpostgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	pidFile := filepath.Join(c.DataDir(), "postmaster.pid")
	raw, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	require.NoError(t, c.Kill9(t.Context()))
	c.Release()

	// Once with the dead number that a crash leaves, once with the number of a live process that is not PostgreSQL.
	foreign := strconv.Itoa(os.Getpid())
	for _, pid := range []string{strings.SplitN(string(raw), "\n", 2)[0], foreign} {
		body := pid + "\n" + strings.SplitN(string(raw), "\n", 2)[1]
		require.NoError(t, os.WriteFile(pidFile, []byte(body), 0o600))
		c, err = embedpostgres.Start(t.Context(), cfg)
		require.NoError(t, err, "pid %s", pid)
		require.NoError(t, connect(t, c.DSN("postgres")).Ping(t.Context()))
		stop(t, c)
	}
}

func TestSuperviseRestartsOnTheSamePort(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Supervise(ctx)
	}()
	dsn, pid := c.DSN("postgres"), c.Pid()
	require.NoError(t, c.Kill9(t.Context()))
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	}, 20*time.Second, 20*time.Millisecond)
	require.NotEqual(t, pid, c.Pid())
	require.Equal(t, dsn, c.DSN("postgres"))
	cancel()
	<-ended
}

func TestClearErrors(t *testing.T) {
	t.Parallel()
	_, err := embedpostgres.Start(t.Context(), embedpostgres.Config{})
	require.ErrorContains(t, err, "no folder given")

	dir := pgtest.Dir(t)
	_, err = embedpostgres.Start(t.Context(), embedpostgres.Config{Dir: dir + "/a", Settings: map[string]string{"port": "1"}})
	require.ErrorContains(t, err, "port is decided by pgdrover")

	_, err = embedpostgres.Start(t.Context(), embedpostgres.Config{Dir: dir + "/b", BinDir: dir})
	require.ErrorContains(t, err, "find program initdb in "+dir)

	if os.Geteuid() != 0 {
		t.Skip("privileges are dropped only as root")
	}
	closed := filepath.Join(dir, "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	_, err = embedpostgres.Start(t.Context(), embedpostgres.Config{Dir: filepath.Join(closed, "deep", "pg")})
	require.ErrorContains(t, err, "folder "+closed+" does not let it pass")

	_, err = embedpostgres.Start(t.Context(), embedpostgres.Config{Dir: dir + "/c", OSUser: "root"})
	require.ErrorContains(t, err, "refuses to run as root")
}

func TestLongPathHasNoSocketButWorks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), strings.Repeat("x", 100))
	require.NoError(t, os.Mkdir(dir, 0o755))
	c := pgtest.Start(t, func(cfg *embedpostgres.Config) { cfg.Dir = dir + "/pg" })
	require.Empty(t, c.SocketDir())
	require.NoError(t, connect(t, c.DSN("postgres")).Ping(t.Context()))
}

func TestFindBinDirs(t *testing.T) {
	t.Parallel()
	dirs := embedpostgres.FindBinDirs(t.Context())
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		require.True(t, strings.HasPrefix(dir.Version, strconv.Itoa(dir.Major)), "%+v", dir)
		require.FileExists(t, filepath.Join(dir.Path, "initdb"))
	}
}

// BenchmarkStart shows what a restart of a stopped cluster costs.
func BenchmarkStart(b *testing.B) {
	cfg := embedpostgres.Config{Dir: pgtest.Dir(b) + "/pg", FastUnsafe: true}
	for b.Loop() {
		c, err := embedpostgres.Start(b.Context(), cfg)
		require.NoError(b, err)
		stop(b, c)
	}
}
