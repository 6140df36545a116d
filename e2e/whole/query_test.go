package whole_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

type rows struct {
	Columns   []struct{ Name, Type string }
	Rows      [][]*string
	Truncated bool
	Command   string
}

// TestQuery: limits, parameters, and that reading is all it does unless told otherwise.
func TestQuery(t *testing.T) {
	t.Parallel()
	w := shared
	pg := w.newInstance(t, w.host)
	ask := func(change map[string]any) operation {
		t.Helper()
		return w.await(t, w.start(t, "instance-query", with(map[string]any{"instance_id": pg.id}, change)).ID)
	}
	result := func(change map[string]any) rows {
		t.Helper()
		o := ask(change)
		require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
		var r rows
		require.NoError(t, json.Unmarshal(o.Result, &r))
		return r
	}
	failure := func(code string, change map[string]any) failure {
		t.Helper()
		o := ask(change)
		require.Equal(t, "failed", o.State)
		require.Equal(t, code, o.Failure.Code, "%+v", o.Failure)
		return *o.Failure
	}

	r := result(map[string]any{
		"sql": "SELECT $1::int + 1 AS n, $2::text IS NULL AS missing, $3 AS t, $4::text AS \"a b\"", "params": []any{"41", nil, "it's", ""},
	})
	require.Equal(t, []string{"n integer", "missing boolean", "t text", "a b text"}, columnsOf(r))
	require.Equal(t, "42 t it's ", fmt.Sprintf("%s %s %s %s", *r.Rows[0][0], *r.Rows[0][1], *r.Rows[0][2], *r.Rows[0][3]))
	require.Nil(t, result(map[string]any{"sql": "SELECT $1::text", "params": []any{nil}}).Rows[0][0], "NULL is not an empty text")

	r = result(map[string]any{"sql": "SELECT g FROM generate_series(1, 1000000) g", "max_rows": 3})
	require.Len(t, r.Rows, 3)
	require.True(t, r.Truncated)
	r = result(map[string]any{"sql": "SELECT g FROM generate_series(1, 3) g", "max_rows": 3})
	require.Len(t, r.Rows, 3)
	require.False(t, r.Truncated)
	r = result(map[string]any{"sql": "SELECT repeat('x', 100000) FROM generate_series(1, 10)"})
	require.Less(t, len(r.Rows), 3, "bytes are limited too")
	require.True(t, r.Truncated)

	f := failure("sql-error", map[string]any{"sql": "SELECT nonsense FROM nowhere"})
	require.Contains(t, f.Message, `relation "nowhere" does not exist (SQLSTATE 42P01)`)
	require.Contains(t, f.Message, "at character 22")
	f = failure("timeout", map[string]any{"sql": "SELECT pg_sleep(600)", "timeout_seconds": 1})
	require.Contains(t, f.Hint, "Raise the time limit")
	for _, sql := range []string{
		"CREATE TABLE t (i int)", "DO $$ BEGIN SET TRANSACTION READ WRITE; CREATE TABLE t (i int); END $$", "WITH x AS (DELETE FROM pg_class) SELECT 1", "ALTER SYSTEM SET work_mem = '1MB'",
		"SELECT 1; CREATE TABLE t (i int)", "COMMIT; CREATE TABLE t (i int)",
		"DO $$ BEGIN COMMIT; CREATE TABLE t (i int); END $$",
	} {
		failure("sql-error", map[string]any{"sql": sql})
	}
	// What a READ ONLY transaction lets pass is rolled back.
	for _, sql := range []string{"SELECT lo_create(4711)", "SET TRANSACTION READ WRITE", "COMMIT"} {
		ask(map[string]any{"sql": sql})
	}
	conn, err := pgx.Connect(t.Context(), pg.dsn(t, "postgres", pg.password))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relname = 't'").Scan(&n))
	require.Zero(t, n)
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_largeobject_metadata").Scan(&n))
	require.Zero(t, n)
	result(map[string]any{"sql": "CREATE TABLE t (i int)", "allow_changes": true})
	require.Equal(t, "INSERT 0 2", result(map[string]any{"sql": "INSERT INTO t VALUES (1), (2)", "allow_changes": true}).Command)
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n))
	require.Equal(t, 2, n)

	_, err = conn.Exec(t.Context(), "ALTER ROLE postgres PASSWORD 'another'")
	require.NoError(t, err)
	f = failure("wrong-password", map[string]any{"sql": "SELECT 1"})
	require.Contains(t, f.Message, "password authentication failed")
	require.NotContains(t, f.Message, pg.password)
	require.NotEmpty(t, f.Hint)
	pg.ctl(t, "stop", "-m", "fast")
	f = failure("connection-failed", map[string]any{"sql": "SELECT 1"})
	require.Contains(t, f.Hint, "Check that the instance runs")

	w.ask(t, "instance-query", map[string]any{"instance_id": uuid.NewString(), "sql": "SELECT 1"}).
		refused(t, 404, "not-found").at(t, "body.instance_id")
	w.ask(t, "instance-query", map[string]any{"instance_id": pg.id, "sql": ""}).refused(t, 422, "invalid-input").at(t, "body.sql")
	w.ask(t, "instance-query", map[string]any{"instance_id": pg.id, "sql": "SELECT 1", "max_rows": 10001}).
		refused(t, 422, "invalid-input").at(t, "body.max_rows")
}

func columnsOf(r rows) []string {
	var out []string
	for _, c := range r.Columns {
		out = append(out, c.Name+" "+c.Type)
	}
	return out
}

// newForeign makes and starts a server by hand, as pgdrover finds them.
func newForeign(t *testing.T, password string) instance {
	t.Helper()
	parent := filepath.Join(base, unique("foreign"))
	i := instance{dir: filepath.Join(parent, "pg"), port: freePort(t), password: password}
	require.NoError(t, os.Mkdir(parent, 0o755))
	fi, err := os.Stat(shared.Repository.DataDir())
	require.NoError(t, err)
	st, ok := fi.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.NoError(t, os.Chown(parent, int(st.Uid), int(st.Gid)))
	pw := filepath.Join(parent, "pw")
	require.NoError(t, os.WriteFile(pw, []byte(password), 0o644))
	cmd := exec.CommandContext(t.Context(), "runuser", "-u", "postgres", "--", "/usr/lib/postgresql/15/bin/initdb", "-D", i.dir, "-A", "scram-sha-256",
		"-U", "owner", "--pwfile="+pw, "--no-sync", "--locale=C.UTF-8")
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	i.ctl(t, "start", "-l", filepath.Join(i.dir, "server.log"), "-o", "-p "+strconv.Itoa(i.port)+" -k /tmp")
	t.Cleanup(func() { stopServer(i.dir) })
	return i
}

// TestAdopt: a server that was found is left alone until somebody with an account takes it.
func TestAdopt(t *testing.T) {
	t.Parallel()
	w := shared
	pg := newForeign(t, "found-Passw0rd")
	h := w.newHost(t, hostOptions{data: filepath.Dir(pg.dir)})
	require.NoError(t, system.Until(t.Context(), limit, "it is discovered", func() error {
		list := w.instances(t, "host_id="+h.id)
		i := slices.IndexFunc(list, func(i instanceRecord) bool { return i.DataDirectory == pg.dir })
		if i < 0 {
			return fmt.Errorf("%d instances", len(list))
		}
		pg.id, pg.name = list[i].ID, list[i].Name
		require.Equal(t, "discovered", list[i].Management)
		require.Equal(t, "running", list[i].Status)
		require.Equal(t, pg.port, list[i].Port)
		return nil
	}))
	for name, in := range map[string]map[string]any{
		"instance-restart": {}, "instance-stop": {}, "instance-start": {}, "instance-reload": {}, "instance-query": {"sql": "SELECT 1"},
		"instance-delete": {"with_data": true, "confirm_name": pg.name},
	} {
		p := w.ask(t, name, with(in, map[string]any{"instance_id": pg.id})).refused(t, 409, "instance-not-managed")
		require.Contains(t, p.Detail, "Adopt it first")
	}
	adopt := map[string]any{"instance_id": pg.id, "name": unique("adopted"), "dbms_user": "owner", "password": "wrong-Passw0rd"}
	o := w.run(t, "failed", "instance-adopt", adopt)
	require.Equal(t, "wrong-password", o.Failure.Code, "%+v", o.Failure)
	require.Contains(t, o.Failure.Message, `"owner"`)
	require.NotContains(t, o.Failure.Message, "wrong-Passw0rd")
	require.Equal(t, "nothing-to-undo", o.Undone)
	require.Equal(t, "discovered", w.instanceRecord(t, pg.id).Management)
	adopt["password"] = pg.password
	adopt["database"] = "nowhere"
	o = w.run(t, "failed", "instance-adopt", adopt)
	require.Equal(t, "connection-failed", o.Failure.Code, "%+v", o.Failure)
	require.Contains(t, o.Failure.Message, `database "nowhere" does not exist`)
	delete(adopt, "database")
	adopt["name"] = w.newInstance(t, w.host).name
	require.Equal(t, "name-taken", w.run(t, "failed", "instance-adopt", adopt).Failure.Code)
	require.Equal(t, "discovered", w.instanceRecord(t, pg.id).Management)

	adopt["name"] = unique("adopted")
	o = w.run(t, "succeeded", "instance-adopt", adopt)
	require.Contains(t, string(o.Result), "PostgreSQL 15")
	i := w.instanceRecord(t, pg.id)
	require.Equal(t, "managed", i.Management)
	require.Equal(t, adopt["name"], i.Name)
	require.Equal(t, "running", i.Status)
	o = w.run(t, "succeeded", "instance-query", map[string]any{"instance_id": pg.id, "sql": "SELECT current_user"})
	require.Contains(t, string(o.Result), `"owner"`)
	// Forgotten it is found again and still runs.
	w.run(t, "succeeded", "instance-delete", map[string]any{"instance_id": pg.id, "confirm_name": i.Name})
	require.NotEmpty(t, processesOf(pg.dir))
}

// TestCommand: what the host's policy allows runs, and its output is read while it does; nothing else runs.
func TestCommand(t *testing.T) {
	t.Parallel()
	w := shared
	folder := filepath.Join(base, unique("program"))
	require.NoError(t, os.Mkdir(folder, 0o755))
	program, gate := filepath.Join(folder, "report"), filepath.Join(folder, "gate")
	require.NoError(t, syscall.Mkfifo(gate, 0o666))
	require.NoError(t, os.Chmod(gate, 0o666))
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"first $1\"\nread line < "+gate+"\necho \"last $line\"\nexit 3\n"), 0o755))
	h := w.newHost(t, hostOptions{commands: []string{program, "/usr/bin/sleep"}})

	o := w.start(t, "host-command", map[string]any{"host_id": h.id, "program": program, "args": []string{"a b; echo $HOME"}})
	w.untilOutput(t, o.ID, "first a b; echo $HOME\n")
	require.Equal(t, "running", w.operation(t, o.ID).State)
	require.NotContains(t, w.output(t, o.ID), "last")
	require.NoError(t, os.WriteFile(gate, []byte("of all\n"), 0))
	o = w.await(t, o.ID)
	require.Equal(t, "failed", o.State)
	require.Equal(t, "command-failed", o.Failure.Code)
	require.Contains(t, o.Failure.Message, "exit code 3")
	require.Contains(t, o.Failure.Message, "last of all")
	w.untilOutput(t, o.ID, "last of all\n")
	require.Equal(t, "first a b; echo $HOME\nlast of all\n", w.output(t, o.ID))

	o = w.run(t, "failed", "host-command", map[string]any{"host_id": h.id, "program": "/usr/bin/sleep", "args": []string{"600"}, "timeout_seconds": 1})
	require.Equal(t, "timeout", o.Failure.Code)
	require.Contains(t, o.Failure.Hint, "Raise the time limit")

	link := filepath.Join(folder, "sleep")
	require.NoError(t, os.Symlink("/bin/bash", link))
	for asked, want := range map[string][2]string{
		"/bin/bash":                {"forbidden", "policy.yaml"},
		"/usr/bin/uptime":          {"forbidden", "policy.yaml"},
		link:                       {"forbidden", "policy.yaml"},
		"/usr/bin/../bin/sleep":    {"invalid", ""},
		"/usr/bin/no-such-thing":   {"not-found", "installed"},
		folder:                     {"invalid", ""},
		"/usr/bin/sleep\n":         {"invalid", ""},
		"/usr/bin/sleep; id":       {"not-found", "installed"},
		"/proc/self/root/bin/bash": {"", ""},
	} {
		o := w.run(t, "failed", "host-command", map[string]any{"host_id": h.id, "program": asked})
		if want[0] != "" {
			require.Equal(t, want[0], o.Failure.Code, "%q: %+v", asked, o.Failure)
		}
		require.Contains(t, o.Failure.Hint, want[1], "%q: %+v", asked, o.Failure)
		require.Empty(t, w.output(t, o.ID))
	}
	w.ask(t, "host-command", map[string]any{"host_id": h.id, "program": "sleep"}).refused(t, 422, "invalid-input").at(t, "body.program")
	w.ask(t, "host-command", map[string]any{"host_id": h.id, "program": "/usr/bin/sleep", "timeout_seconds": 0}).
		refused(t, 422, "invalid-input").at(t, "body.timeout_seconds")
	w.ask(t, "host-command", map[string]any{"host_id": uuid.NewString(), "program": "/usr/bin/sleep"}).
		refused(t, 404, "not-found").at(t, "body.host_id")
}
