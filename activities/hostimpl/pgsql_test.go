package hostimpl

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

// running makes an instance and starts it.
func running(t *testing.T) (*bench, *server) {
	t.Helper()
	b := newBench(t)
	s := b.newServer()
	must(b, host.PGCtl, s.ctl("start"))
	return b, s
}

func query(b *bench, in host.PGQueryIn) (host.PGQueryOut, error) {
	return call(op.ContextWithRef(b.t.Context(), op.StepRef{Operation: testOperation, Step: "01-q", ReadOnly: true}), b,
		host.PGQuery, in)
}

func TestQuery(t *testing.T) {
	t.Parallel()
	b, s := running(t)

	out, err := query(b, host.PGQueryIn{
		Conn:   s.tcp(),
		SQL:    "SELECT $1::int + 1 AS n, $2 || '!' AS t, NULL::numeric(10,2) AS x, array[1,2] AS a",
		Params: []*string{new("41"), new("häh")},
	})
	require.NoError(t, err)
	require.Equal(
		t,
		[]host.PGColumn{
			{Name: "n", Type: "integer"},
			{Name: "t", Type: "text"},
			{Name: "x", Type: "numeric(10,2)"},
			{Name: "a", Type: "integer[]"},
		},
		out.Columns,
	)
	require.Equal(t, [][]*string{{new("42"), new("häh!"), nil, new("{1,2}")}}, out.Rows)
	require.Equal(t, "SELECT 1", out.Command)

	out, err = query(b, host.PGQueryIn{Conn: s.peer(), SQL: "SELECT generate_series(1, 10000000)", MaxRows: 5})
	require.NoError(t, err)
	require.Len(t, out.Rows, 5)
	require.True(t, out.Truncated)
	require.Equal(t, "integer", out.Columns[0].Type)

	out, err = query(b, host.PGQueryIn{Conn: s.peer(), SQL: "SELECT repeat('x', 50000) FROM generate_series(1, 100)"})
	require.NoError(t, err)
	require.Len(t, out.Rows, 4, "200 KiB are the limit")
	require.True(t, out.Truncated)

	out, err = query(b, host.PGQueryIn{Conn: s.peer(), SQL: "SELECT 1 AS one WHERE false"})
	require.NoError(t, err)
	require.Len(t, out.Columns, 1)
	require.NotNil(t, out.Rows)
	require.Empty(t, out.Rows)
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	b, s := running(t)

	_, err := query(b, host.PGQueryIn{Conn: s.peer(), SQL: "SELECT nothing FROM pg_class"})
	f := wantCode(t, err, "sql-error")
	require.Contains(t, f.Message, "42703")
	require.Contains(t, f.Message, "character 8")

	_, err = query(b, host.PGQueryIn{Conn: s.peer(), SQL: "CREATE TABLE t(a int)"})
	wantCode(t, err, "sql-error")
	_, err = query(b, host.PGQueryIn{Conn: s.peer(), SQL: "SELECT 1; DROP TABLE t"})
	wantCode(t, err, "sql-error")
	// Leaving the transaction does not make the next one writable: there is none.
	_, err = query(b, host.PGQueryIn{Conn: s.peer(), SQL: "COMMIT"})
	require.NoError(t, err)

	begun := time.Now()
	_, err = query(b, host.PGQueryIn{Conn: s.peer(), SQL: "SELECT pg_sleep(60)", TimeoutSeconds: 1})
	wantCode(t, err, op.CodeTimeout)
	require.Less(t, time.Since(begun), 10*time.Second)

	b.secrets.values["bad"] = "not the password"
	bad := s.tcp()
	bad.Password = op.SecretReference("bad")
	_, err = query(b, host.PGQueryIn{Conn: bad, SQL: "SELECT 1"})
	f = wantCode(t, err, "wrong-password")
	require.NotContains(t, f.Message, "not the password")

	bad.Password = "plain text"
	_, err = query(b, host.PGQueryIn{Conn: bad, SQL: "SELECT 1"})
	f = wantCode(t, err, op.CodeInvalid)
	require.NotContains(t, f.Message, "plain text")

	gone := s.peer()
	gone.Port = freePort(t)
	_, err = query(b, host.PGQueryIn{Conn: gone, SQL: "SELECT 1"})
	wantCode(t, err, "connection-failed")

	other := s.peer()
	other.Database = "none"
	_, err = query(b, host.PGQueryIn{Conn: other, SQL: "SELECT 1"})
	f = wantCode(t, err, "connection-failed")
	require.Contains(t, f.Message, "3D000")
}

// TestQueryIsCancelledInTheServer: when nobody waits any more the statement does not run on.
func TestQueryIsCancelledInTheServer(t *testing.T) {
	t.Parallel()
	b, s := running(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := call(ctx, b, host.PGQuery, host.PGQueryIn{Conn: s.peer(), SQL: "SELECT pg_sleep(600)", TimeoutSeconds: 600})
		done <- err
	}()
	const active = "SELECT count(*) FROM pg_stat_activity " +
		"WHERE query LIKE '%pg_sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()"
	eventually(t, "the statement runs", func() bool { return b.scalar(s, active) == "1" })
	cancel()
	require.Error(t, <-done)
	eventually(t, "the statement ends", func() bool { return b.scalar(s, active) == "0" })
}

func TestExec(t *testing.T) {
	t.Parallel()
	b, s := running(t)
	in := host.PGExecIn{Conn: s.peer(), Statements: []host.PGStatement{
		{SQL: "CREATE TABLE IF NOT EXISTS t(a int)"},
		{SQL: "INSERT INTO t VALUES ($1), (2)", Params: []*string{new("1")}},
		{SQL: "SELECT count(*) AS n FROM t"},
	}}
	out, err := twice(b, host.PGExec, in)
	require.NoError(t, err)
	require.Equal(t, "2", *out.Rows[0][0])
	require.Equal(t, "bigint", out.Columns[0].Type)
	require.Equal(t, "2", b.scalar(s, "SELECT count(*) FROM t"))

	// All or nothing.
	_, err = twice(b, host.PGExec, host.PGExecIn{Conn: s.peer(), Statements: []host.PGStatement{
		{SQL: "INSERT INTO t VALUES (3)"}, {SQL: "SELECT 1/0"},
	}})
	f := wantCode(t, err, "sql-error")
	require.Contains(t, f.Message, "statement 2 of 2")
	require.Equal(t, "2", b.scalar(s, "SELECT count(*) FROM t"))

	guarded := host.PGExecIn{
		Conn:       s.peer(),
		Guard:      "SELECT EXISTS (SELECT FROM t WHERE a = 7)",
		Statements: []host.PGStatement{{SQL: "INSERT INTO t VALUES (7)"}},
	}
	require.False(t, must(b, host.PGExec, guarded).AlreadyDone)
	require.True(t, must(b, host.PGExec, guarded).AlreadyDone)
	require.Equal(t, "1", b.scalar(s, "SELECT count(*) FROM t WHERE a = 7"))
}

// TestExecOnceAfterLostAnswer plays a kill after the commit: without any guard the work is not done again.
func TestExecOnceAfterLostAnswer(t *testing.T) {
	t.Parallel()
	b, s := running(t)
	must(b, host.PGExec, host.PGExecIn{Conn: s.peer(), Statements: []host.PGStatement{{SQL: "CREATE TABLE t(a int)"}}})
	in := host.PGExecIn{Conn: s.peer(), Statements: []host.PGStatement{{SQL: "INSERT INTO t VALUES (1)"}}}
	ref := b.ref()
	_, err := step(b, host.PGExec, ref, in)
	require.NoError(t, err)
	b.interrupt(ref)
	out, err := step(b, host.PGExec, ref, in)
	require.NoError(t, err)
	require.True(t, out.AlreadyDone)
	require.Equal(t, "1", b.scalar(s, "SELECT count(*) FROM t"))

	// Killed before the commit: the noted transaction was rolled back, so it is done now.
	ref = b.ref()
	_, err = step(b, host.PGExec, ref, in)
	require.NoError(t, err)
	b.interrupt(ref, func(r *record) { r.Notes = nil })
	_, err = step(b, host.PGExec, ref, in)
	require.NoError(t, err)
	require.Equal(t, "3", b.scalar(s, "SELECT count(*) FROM t"))
}

func TestExecOutsideTransactions(t *testing.T) {
	t.Parallel()
	b, s := running(t)
	in := host.PGExecIn{Conn: s.peer(), Autocommit: true, Statements: []host.PGStatement{
		{SQL: "CREATE DATABASE d"}, {SQL: "ALTER SYSTEM SET work_mem = '5MB'"}, {SQL: "VACUUM pg_class"},
	}}
	ref := b.ref()
	_, err := step(b, host.PGExec, ref, in)
	require.NoError(t, err)
	// The statements that ended are not run again.
	b.interrupt(ref)
	_, err = step(b, host.PGExec, ref, in)
	require.NoError(t, err)
	require.Equal(t, "1", b.scalar(s, "SELECT count(*) FROM pg_database WHERE datname = 'd'"))
}

// TestPasswordIsNotLogged changes a password by its verifier and reads the server's log of all statements.
func TestPasswordIsNotLogged(t *testing.T) {
	t.Parallel()
	b, s := running(t)
	b.secrets.values["new"] = "n3w-Passw0rd-ü"
	must(b, host.PGExec, host.PGExecIn{Conn: s.peer(), Statements: []host.PGStatement{
		{SQL: "SET log_statement = 'all'"},
		{SQL: "SET log_min_duration_statement = 0"},
		{SQL: "CREATE ROLE app LOGIN"},
		{
			SQL:          "SELECT set_config('pgdrover.v', $1, true)",
			SecretParams: []host.SecretRef{op.SecretReference("new")},
			HashSecrets:  true,
		},
		{SQL: "DO $$ BEGIN EXECUTE format('ALTER ROLE app PASSWORD %L', current_setting('pgdrover.v')); END $$"},
	}})
	out, err := query(
		b,
		host.PGQueryIn{
			Conn: host.PGConn{Port: s.port, User: "app", Database: "postgres", Password: op.SecretReference("new")},
			SQL:  "SELECT current_user",
		},
	)
	require.NoError(t, err)
	require.Equal(t, "app", *out.Rows[0][0])
	log, err := os.ReadFile(filepath.Join(s.data, serverLog))
	require.NoError(t, err)
	require.Contains(t, string(log), "set_config", "the log has the statements")
	require.NotContains(t, string(log), "n3w-Passw0rd")
	b.noSecretOnDisk("n3w-Passw0rd")
}

// noSecretOnDisk looks for a value in all of the agent's state.
func (b *bench) noSecretOnDisk(value string) {
	b.t.Helper()
	require.NoError(b.t, filepath.Walk(b.v.cfg.StateDir, func(path string, fi os.FileInfo, err error) error {
		if err != nil || !fi.Mode().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		require.NotContains(b.t, string(content), value, "secret in %s", path)
		return err
	}))
}
