package whole_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
)

func (w *world) probe(t *testing.T, path string) int {
	t.Helper()
	return send(t, http.DefaultClient, http.MethodGet, w.URL+path, "", nil).status
}

// untilNotReady waits until readiness names the part as away.
func (w *world) untilNotReady(t *testing.T, part string) {
	t.Helper()
	require.NoError(t, system.Until(t.Context(), limit, "readiness fails", func() error {
		r := send(t, http.DefaultClient, http.MethodGet, w.URL+"/readyz", "", nil)
		if r.status != http.StatusServiceUnavailable {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		if got := decode[struct{ Parts map[string]string }](t, r).Parts[part]; got != "unavailable" {
			return fmt.Errorf("%s is %q", part, got)
		}
		return nil
	}))
}

func (w *world) temporal(t *testing.T) client.Client {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{HostPort: w.TemporalAddress(), Namespace: "pgdrover", Logger: quiet{}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// TestAway takes the parts of one system away, one after the other.
func TestAway(t *testing.T) {
	t.Parallel()
	w := ownWorld(t)
	w.admin(t)
	t.Run("repository", w.repositoryAway)
	t.Run("temporal", w.temporalAway)
	t.Run("manager", w.managerAway)
}

// repositoryAway: every request is told so, the manager stays, and what ran goes on.
func (w *world) repositoryAway(t *testing.T) {
	pid := w.Manager.PID()
	command := map[string]any{"host_id": w.id, "program": "/usr/bin/echo", "args": []string{"done"}}
	held := w.points.hold(t, "after", "Run /usr/bin/echo")
	one := w.start(t, "host-command", command)
	held.await(t)
	command["program"], command["args"] = "/usr/bin/sleep", []string{"3"}
	two := w.start(t, "host-command", command)
	w.until(t, two.ID, "running", func(o operation) bool { return o.State == "running" && len(w.steps(t, o.ID)) > 0 })

	require.NoError(t, w.Repository.Kill9(t.Context()))
	w.untilNotReady(t, "repository")
	require.Equal(t, http.StatusOK, w.probe(t, "/healthz"))
	for _, r := range []reply{
		w.do(t, http.MethodGet, "/api/v1/hosts", nil),
		w.do(t, http.MethodGet, "/api/v1/operations/"+one.ID, nil),
		w.ask(t, "host-command", command),
		w.do(t, http.MethodPost, "/api/v1/hosts", map[string]string{"name": "x"}),
		send(t, http.DefaultClient, http.MethodPost, w.URL+"/api/v1/sessions", "", map[string]string{"login": "admin", "password": system.AdminPassword}),
		send(t, http.DefaultClient, http.MethodGet, w.URL+"/api/v1/events", w.admin(t), nil),
	} {
		p := r.refused(t, http.StatusServiceUnavailable, "repository-unavailable")
		require.Contains(t, p.Detail, "Try again")
		seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
		require.NoError(t, err, "Retry-After: %q", r.header.Get("Retry-After"))
		require.Positive(t, seconds)
	}
	require.NoError(t, syscall.Kill(pid, 0), "the manager stays")

	require.NoError(t, w.RestartRepository(t.Context()))
	require.NoError(t, w.AwaitReady(t.Context()))
	require.Equal(t, pid, w.Manager.PID())
	held.let()
	require.Equal(t, "succeeded", w.await(t, one.ID).State)
	w.untilOutput(t, one.ID, "done\n")
	require.Equal(t, "succeeded", w.await(t, two.ID).State)
	require.NoError(t, w.client.AwaitHost(t.Context(), w.id, true))
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM operation_lock`))
}

// temporalAway: what is asked for is accepted, and done when Temporal is back.
func (w *world) temporalAway(t *testing.T) {
	w.Temporal.Kill()
	w.untilNotReady(t, "temporal")
	require.Equal(t, http.StatusOK, w.probe(t, "/healthz"))
	o := w.start(t, "host-command", map[string]any{"host_id": w.id, "program": "/usr/bin/uname"})
	require.Equal(t, "accepted", o.State)
	r := w.do(t, http.MethodPost, "/api/v1/schedules", map[string]any{
		"name": "nightly", "operation_name": "host-command", "cron": "0 3 * * *", "input": map[string]any{"host_id": w.id, "program": "/usr/bin/true"},
	})
	require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
	s := decode[scheduleRecord](t, r)
	p := w.do(t, http.MethodPost, "/api/v1/schedules/"+s.ID+"/run", nil).refused(t, http.StatusServiceUnavailable, "temporal-unavailable")
	require.Contains(t, p.Detail, "try again")
	require.Equal(t, "accepted", w.operation(t, o.ID).State)

	require.NoError(t, w.Temporal.Start())
	require.NoError(t, w.AwaitReady(t.Context()))
	tc := w.temporal(t)
	// The reconciler comes every minute; asked for it comes now.
	reconciler := w.service(t, "reconcile")
	require.NoError(t, system.Until(t.Context(), limit, "the reconciler is asked for", func() error {
		if r := w.do(t, http.MethodPost, "/api/v1/schedules/"+reconciler.ID+"/run", nil); r.status != http.StatusAccepted {
			return errors.New(string(r.body))
		}
		return nil
	}))
	require.Equal(t, "succeeded", w.await(t, o.ID).State)
	require.NoError(t, system.Until(t.Context(), limit, "the schedule is applied", func() error {
		_, err := tc.ScheduleClient().GetHandle(t.Context(), "schedule:"+s.ID).Describe(t.Context())
		return err
	}))
}

// managerAway: of two managers either may go; what was asked of one is seen at the other.
func (w *world) managerAway(t *testing.T) {
	api, gateway := freePort(t), freePort(t)
	second := w.NewManager("manager2", "127.0.0.1:"+strconv.Itoa(api), gateway)
	require.NoError(t, second.Start())
	t.Cleanup(second.Kill)
	url := "http://127.0.0.1:" + strconv.Itoa(api)
	require.NoError(t, system.AwaitReady(t.Context(), url))
	at := func(id string) (o operation) {
		return decode[operation](t, send(t, http.DefaultClient, http.MethodGet, url+"/api/v1/operations/"+id, w.admin(t), nil))
	}

	// Asked at the first, seen at the second.
	events := listen(t, url, w.admin(t))
	one := w.start(t, "host-command", map[string]any{"host_id": w.id, "program": "/usr/bin/hostname"})
	events.await(t, "the operation", func(e event) bool { return e.Kind == "operation" && e.ID == one.ID })
	require.Equal(t, "succeeded", w.await(t, one.ID).State)
	require.Equal(t, "succeeded", at(one.ID).State)

	// Asked at the second, which is killed: the first finishes it.
	in := createInput(t, w.host, unique("moved"))
	held := w.points.hold(t, "before", "Make "+in["data_directory"].(string))
	r := send(t, http.DefaultClient, http.MethodPost, url+"/api/v1/operations/instance-create", w.admin(t), in)
	require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
	two := decode[operation](t, r)
	held.await(t)
	second.Kill()
	held.let()
	o := w.await(t, two.ID)
	require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
	t.Cleanup(func() { stopServer(in["data_directory"].(string)) })

	// The first is killed, to which the agent goes: the second tells of it and takes requests; back, it is done.
	require.NoError(t, second.Start())
	require.NoError(t, system.AwaitReady(t.Context(), url))
	w.Manager.Kill()
	require.NoError(t, system.Until(t.Context(), limit, "the host is offline", func() error {
		r, err := trySend(t.Context(), http.DefaultClient, http.MethodGet, url+"/api/v1/hosts/"+w.id, w.admin(t), nil)
		if err != nil || r.status != http.StatusOK {
			return fmt.Errorf("%w: %d", err, r.status)
		}
		if decode[hostRecord](t, r).Online {
			return errors.New("it is online")
		}
		return nil
	}))
	r = send(t, http.DefaultClient, http.MethodPost, url+"/api/v1/operations/instance-restart", w.admin(t), map[string]any{"instance_id": o.ObjectID})
	require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
	three := decode[operation](t, r)
	require.Equal(t, "host", at(three.ID).WaitingFor)
	require.NoError(t, w.Manager.Start())
	require.NoError(t, w.AwaitReady(t.Context()))
	o = w.await(t, three.ID)
	require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
	log, err := os.ReadFile(w.Manager.LogFile())
	require.NoError(t, err)
	require.NotContains(t, string(log), "panic:")
}

// untilOutput waits for a text: output goes its own way and may come after the end.
func (w *world) untilOutput(t *testing.T, id, text string) {
	t.Helper()
	require.NoError(t, system.Until(t.Context(), limit, "output comes", func() error {
		if got := w.output(t, id); !strings.Contains(got, text) {
			return fmt.Errorf("%q", got)
		}
		return nil
	}))
}

// output is the text of an operation's steps so far.
func (w *world) output(t *testing.T, id string) string {
	t.Helper()
	var b strings.Builder
	for _, c := range get[struct{ Chunks []struct{ Text string } }](t, w, "/api/v1/operations/"+id+"/output").Chunks {
		b.WriteString(c.Text)
	}
	return b.String()
}
