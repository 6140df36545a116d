package whole_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

// TestLocks: who comes second is refused with the name of the holder, or waits for its turn.
func TestLocks(t *testing.T) {
	t.Parallel()
	w := shared
	pg := w.newInstance(t, w.host)
	h := w.points.hold(t, "before", "Restart "+pg.name+" ")
	first := w.start(t, "instance-restart", map[string]any{"instance_id": pg.id})
	h.await(t)

	p := w.ask(t, "instance-stop", map[string]any{"instance_id": pg.id}).refused(t, 409, "locked")
	require.NotNil(t, p.Holder)
	require.Equal(t, first.ID, p.Holder.OperationID)
	require.Equal(t, "Restart instance", p.Holder.Title)
	require.Equal(t, "admin", p.Holder.Actor)
	require.Contains(t, p.Detail, "Restart instance by admin")
	require.Contains(t, p.Detail, "on_conflict=wait")
	// A query shares with queries, not with who has it alone.
	w.ask(t, "instance-query", map[string]any{"instance_id": pg.id, "sql": "SELECT 1"}).refused(t, 409, "locked")
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM operation WHERE target_id = $1 AND name IN ('instance-stop', 'instance-query')`, pg.id))

	// A dry run takes no lock and waits for none.
	dry := w.await(t, w.start(t, "instance-restart?dry_run=true", map[string]any{"instance_id": pg.id}).ID)
	require.Equal(t, "succeeded", dry.State)

	stop := w.start(t, "instance-stop?on_conflict=wait", map[string]any{"instance_id": pg.id})
	require.Equal(t, "waiting", stop.State)
	require.Equal(t, "lock", stop.WaitingFor)
	start := w.start(t, "instance-start?on_conflict=wait", map[string]any{"instance_id": pg.id})
	canceled := w.start(t, "instance-reload?on_conflict=wait", map[string]any{"instance_id": pg.id})
	r := w.do(t, http.MethodPost, "/api/v1/operations/"+canceled.ID+"/cancel", nil)
	require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
	c := decode[operation](t, r)
	require.Equal(t, "canceled", c.State, "what has not begun ends at once")
	require.Equal(t, "nothing-to-undo", c.Undone)
	require.Equal(t, "waiting", w.operation(t, stop.ID).State, "the one canceled was not in its way")

	h.let()
	require.Equal(t, "succeeded", w.await(t, first.ID).State)
	ended := w.await(t, start.ID)
	stopped := w.operation(t, stop.ID)
	require.Equal(t, "succeeded", stopped.State)
	require.Equal(t, "succeeded", ended.State, "%+v", ended.Failure)
	require.False(t, ended.StartedAt.Before(*stopped.EndedAt), "in the order asked for")
	require.Equal(t, "running", w.instanceRecord(t, pg.id).Status)
	require.Empty(t, w.steps(t, canceled.ID))
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM operation_lock WHERE object_id = $1`, pg.id))
}

// TestSharedLocks: two queries are at work at one time.
func TestSharedLocks(t *testing.T) {
	t.Parallel()
	w := shared
	pg := w.newInstance(t, w.host)
	h := w.points.hold(t, "after", "Query "+pg.name+" ")
	one := w.start(t, "instance-query", map[string]any{"instance_id": pg.id, "sql": "SELECT 1"})
	h.await(t)
	two := w.start(t, "instance-query", map[string]any{"instance_id": pg.id, "sql": "SELECT 2"})
	w.until(t, two.ID, "running", func(o operation) bool { return o.State == "running" })
	require.Equal(t, "running", w.operation(t, one.ID).State)
	require.Equal(t, 2, scalar[int](t, w, `SELECT count(*) FROM operation_lock WHERE object_id = $1 AND mode = 'shared'`, pg.id))
	w.ask(t, "instance-stop", map[string]any{"instance_id": pg.id}).refused(t, 409, "locked")
	h.let()
	require.Equal(t, "succeeded", w.await(t, one.ID).State)
	require.Equal(t, "succeeded", w.await(t, two.ID).State)
}

// TestIdempotencyKey: a repeated request is the same operation, another one with the same key is refused.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := shared
	in := map[string]any{"host_id": w.id, "program": "/usr/bin/echo", "args": []string{"once"}}
	key := unique("key")
	w.admin(t)
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			r, err := trySend(t.Context(), http.DefaultClient, http.MethodPost, w.URL+"/api/v1/operations/host-command", w.admin(t), in, "Idempotency-Key", key)
			if err == nil && r.status == http.StatusAccepted {
				ids[i] = decode[operation](t, r).ID
			} else {
				ids[i] = fmt.Sprint(err, r.status, string(r.body))
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	require.Equal(t, 1, scalar[int](t, w, `SELECT count(*) FROM operation WHERE idempotency_key = $1`, key))
	o := w.await(t, ids[0])
	require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
	// The same again, after the end, with its fields in another order.
	again := w.start(t, "host-command", fmt.Sprintf(`{"args": ["once"], "program": "/usr/bin/echo", "host_id": %q}`, w.id), "Idempotency-Key", key)
	require.Equal(t, o.ID, again.ID)
	require.Equal(t, "succeeded", again.State)

	in["args"] = []string{"twice"}
	p := w.ask(t, "host-command", in, "Idempotency-Key", key).refused(t, 409, "idempotency-key-reused")
	require.Contains(t, p.Detail, o.ID)
	w.ask(t, "host-command?dry_run=true", in, "Idempotency-Key", key).refused(t, 409, "idempotency-key-reused")
}

// TestDryRun says what would be done and does nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	w := shared
	in := createInput(t, w.host, unique("dry"))
	r := w.ask(t, "instance-create?dry_run=true", in, "Prefer", "wait=60")
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.Equal(t, "wait", r.header.Get("Preference-Applied"))
	o := decode[operation](t, r)
	require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
	require.True(t, o.DryRun)
	does := map[string]string{}
	for _, s := range o.Plan {
		does[s.Verb] = s.Does
		require.NotEmpty(t, s.Title)
	}
	require.Equal(t, "checked", does["port-probe"])
	require.Equal(t, "checked", does["file-stat"])
	for _, verb := range []string{"instance-register", "file-mkdir", "command-run", "file-write", "pg-ctl"} {
		require.Equal(t, "would do", does[verb], verb)
	}
	require.Empty(t, o.Undone)
	w.noTrace(t, in)
	require.NoDirExists(t, in["data_directory"].(string))
	// It finds what the real one would.
	in["port"] = w.newInstance(t, w.host).port
	o = w.await(t, w.start(t, "instance-create?dry_run=true", in).ID)
	require.Equal(t, "failed", o.State)
	require.Equal(t, "port-in-use", o.Failure.Code)
	w.noTrace(t, in)
}

// TestPreferWait answers with the ended operation, or with the running one when the time is over.
func TestPreferWait(t *testing.T) {
	t.Parallel()
	w := shared
	in := map[string]any{"host_id": w.id, "program": "/usr/bin/sleep", "args": []string{"600"}, "timeout_seconds": 3600}
	r := w.ask(t, "host-command", in, "Prefer", "respond-async, wait=1")
	require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
	require.Empty(t, r.header.Get("Preference-Applied"))
	o := decode[operation](t, r)
	require.False(t, o.ended())
	require.Equal(t, http.StatusAccepted, w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/cancel", nil).status)
	require.Equal(t, "canceled", w.await(t, o.ID).State)

	in["program"], in["args"] = "/usr/bin/true", nil
	r = w.ask(t, "host-command", in, "Prefer", "wait=60")
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.Equal(t, "succeeded", decode[operation](t, r).State)
}

// TestCancelCreate: at each of its stages what was made is undone.
func TestCancelCreate(t *testing.T) {
	t.Parallel()
	w := shared
	for name, c := range map[string]struct{ phase, title string }{
		"before the directory": {"before", "Make "},
		"after the directory":  {"after", "Make "},
		"before the start":     {"before", "Start "},
		"after the start":      {"after", "Start "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := createInput(t, w.host, unique("cancel"))
			title := c.title + in["data_directory"].(string)
			if c.title == "Start " {
				title = c.title + in["name"].(string) + " "
			}
			h := w.points.hold(t, c.phase, title)
			o := w.start(t, "instance-create", in)
			h.await(t)
			r := w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/cancel", nil)
			require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
			require.True(t, decode[operation](t, r).CancelRequested)
			h.let()
			o = w.await(t, o.ID)
			require.Equal(t, "canceled", o.State, "%+v", o.Failure)
			require.Equal(t, "compensated", o.Undone)
			require.Equal(t, "canceled", o.Failure.Code)
			w.noTrace(t, in)
			require.NoDirExists(t, in["data_directory"].(string))
			p := w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/cancel", nil).refused(t, 409, "already-ended")
			require.Contains(t, p.Detail, "canceled")
		})
	}
}

// TestPause: held between two steps it goes on when told, or is canceled there.
func TestPause(t *testing.T) {
	t.Parallel()
	w := shared
	for _, end := range []string{"resume", "cancel"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			in := createInput(t, w.host, unique("pause"))
			h := w.points.hold(t, "before", "Make "+in["data_directory"].(string))
			o := w.start(t, "instance-create", in)
			h.await(t)
			require.Equal(t, http.StatusAccepted, w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/pause", nil).status)
			h.let()
			w.until(t, o.ID, "paused", func(o operation) bool { return o.State == "paused" })
			require.DirExists(t, in["data_directory"].(string))
			require.NoFileExists(t, filepath.Join(in["data_directory"].(string), "PG_VERSION"), "the next step waits")
			w.ask(t, "instance-create", in).refused(t, 409, "locked")
			require.Equal(t, http.StatusAccepted, w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/"+end, nil).status)
			o = w.await(t, o.ID)
			if end == "resume" {
				require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
				require.Equal(t, "running", w.instanceRecord(t, o.ObjectID).Status)
				t.Cleanup(func() { stopServer(in["data_directory"].(string)) })
				w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/pause", nil).refused(t, 409, "already-ended")
				w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/retry", nil).refused(t, 409, "not-retryable")
				return
			}
			require.Equal(t, "canceled", o.State)
			require.Equal(t, "compensated", o.Undone)
			w.noTrace(t, in)
			require.NoDirExists(t, in["data_directory"].(string))
		})
	}
}

// TestCancelCommand: a program that runs is ended with the operation.
func TestCancelCommand(t *testing.T) {
	t.Parallel()
	w := shared
	// A number that no other process has as an argument.
	seconds := strconv.Itoa(3_000_000 + os.Getpid()%100_000)
	o := w.start(t, "host-command", map[string]any{
		"host_id": w.id, "program": "/usr/bin/sleep", "args": []string{seconds}, "timeout_seconds": 3600,
	})
	require.NoError(t, system.Until(t.Context(), limit, "the program runs", func() error {
		if len(processesWith("sleep\x00"+seconds)) != 1 {
			return fmt.Errorf("not yet")
		}
		return nil
	}))
	require.Equal(t, http.StatusAccepted, w.do(t, http.MethodPost, "/api/v1/operations/"+o.ID+"/cancel", nil).status)
	o = w.await(t, o.ID)
	require.Equal(t, "canceled", o.State)
	require.Empty(t, processesWith("sleep\x00"+seconds))
}

// TestRetry: what failed is asked for again, with the secret it had.
func TestRetry(t *testing.T) {
	t.Parallel()
	w := shared
	in := createInput(t, w.host, unique("retry"))
	l, err := listenOn(in["port"].(int))
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	failed := w.run(t, "failed", "instance-create", in)
	require.NoError(t, l.Close())
	path := "/api/v1/operations/" + failed.ID + "/retry"
	r := w.do(t, http.MethodPost, path, nil, "Idempotency-Key", "retry-"+failed.ID)
	require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
	o := decode[operation](t, r)
	require.NotEqual(t, failed.ID, o.ID)
	require.Equal(t, failed.ID, o.RetryOf)
	twice := decode[operation](t, w.do(t, http.MethodPost, path, nil, "Idempotency-Key", "retry-"+failed.ID))
	require.Equal(t, o.ID, twice.ID)
	o = w.await(t, o.ID)
	require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
	pg := instance{id: o.ObjectID, dir: in["data_directory"].(string), port: in["port"].(int)}
	t.Cleanup(func() { stopServer(pg.dir) })
	conn, err := pgx.Connect(t.Context(), pg.dsn(t, "postgres", in["password"].(string)))
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

// TestDelete wants the name typed again, and leaves nothing.
func TestDelete(t *testing.T) {
	t.Parallel()
	w := shared
	pg := w.newInstance(t, w.host)
	w.ask(t, "instance-delete", map[string]any{"instance_id": pg.id, "with_data": true}).
		refused(t, 422, "invalid-input").at(t, "body")
	for _, wrong := range []string{"", pg.name + " ", "another"} {
		p := w.ask(t, "instance-delete", map[string]any{"instance_id": pg.id, "with_data": true, "confirm_name": wrong}).
			refused(t, 422, "confirm-name-mismatch")
		require.Contains(t, p.Detail, pg.name)
		require.Equal(t, "must be the object's name", p.at(t, "body.confirm_name"))
	}
	require.Equal(t, "running", w.instanceRecord(t, pg.id).Status)
	in := map[string]any{"instance_id": pg.id, "with_data": true, "confirm_name": pg.name}
	o := w.run(t, "succeeded", "instance-delete", in)
	require.NotContains(t, string(o.Result), `"removed_bytes": 0`)
	require.NoDirExists(t, pg.dir)
	require.Empty(t, processesOf(pg.dir))
	w.do(t, http.MethodGet, "/api/v1/instances/"+pg.id, nil).refused(t, 404, "not-found")
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM instance WHERE data_directory = $1`, pg.dir))
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM operation_lock WHERE object_id = $1`, pg.id))
	w.ask(t, "instance-delete", in).refused(t, 404, "not-found").at(t, "body.instance_id")
}
