package whole_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

func (w *world) newToken(t *testing.T, hostID string) string {
	t.Helper()
	r := w.do(t, http.MethodPost, "/api/v1/hosts/"+hostID+"/token", nil)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	return decode[enrollment](t, r).Token
}

// TestEnrolmentRefused: a token that is no longer or was never good says so, and makes nobody an agent.
func TestEnrolmentRefused(t *testing.T) {
	t.Parallel()
	w := shared
	for name, c := range map[string]struct {
		spoil func(t *testing.T, id, token string) string
		says  string
	}{
		"expired": {func(t *testing.T, id, token string) string {
			_, err := w.db.Exec(t.Context(), `UPDATE enrollment_token SET expires_at = now() - interval '1 second' WHERE host_id = $1`, id)
			require.NoError(t, err)
			return token
		}, "has expired"},
		"replaced": {func(t *testing.T, id, token string) string {
			w.newToken(t, id)
			return token
		}, "has been used"},
		"unknown": {func(t *testing.T, _, token string) string {
			raw, err := base64.RawURLEncoding.DecodeString(token)
			require.NoError(t, err)
			var fields map[string]any
			require.NoError(t, json.Unmarshal(raw, &fields))
			secret, ok := fields["secret"].(string)
			require.True(t, ok)
			fields["secret"] = strings.ToUpper(secret[:1]) + "x" + secret[2:]
			raw, err = json.Marshal(fields)
			require.NoError(t, err)
			return base64.RawURLEncoding.EncodeToString(raw)
		}, "is not known"},
		"cut off": {func(_ *testing.T, _, token string) string { return token[:len(token)/2] }, "copy it again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e enrollment
			require.NoError(t, w.client.Post(t.Context(), "/api/v1/hosts", map[string]any{"name": unique("enrol")}, &e))
			a, err := w.newAgent(unique("enrol"), t.TempDir())
			require.NoError(t, err)
			out, err := a.enroll(t.Context(), c.spoil(t, e.Host.ID, e.Token))
			require.Error(t, err)
			require.Contains(t, out, c.says)
			require.NoFileExists(t, filepath.Join(filepath.Dir(a.config), "state", "identity"))
			require.Equal(t, "invited", w.hostRecord(t, e.Host.ID).State)
			w.ask(t, "host-command", map[string]any{"host_id": e.Host.ID, "program": "/usr/bin/true"}).refused(t, 409, "host-not-enrolled")
			// The host is not spoilt by it.
			out, err = a.enroll(t.Context(), w.newToken(t, e.Host.ID))
			require.NoError(t, err, out)
			require.Equal(t, "enrolled", w.hostRecord(t, e.Host.ID).State)
		})
	}
}

// TestTokenUsed: a token makes one agent.
func TestTokenUsed(t *testing.T) {
	t.Parallel()
	w := shared
	var e enrollment
	require.NoError(t, w.client.Post(t.Context(), "/api/v1/hosts", map[string]any{"name": unique("once")}, &e))
	first, err := w.newAgent(unique("once"), t.TempDir())
	require.NoError(t, err)
	out, err := first.enroll(t.Context(), e.Token)
	require.NoError(t, err, out)
	second, err := w.newAgent(unique("once"), t.TempDir())
	require.NoError(t, err)
	out, err = second.enroll(t.Context(), e.Token)
	require.Error(t, err)
	require.Contains(t, out, "has been used")
	require.Contains(t, out, "Make a new one")
	require.Equal(t, 1, scalar[int](t, w, `SELECT count(*) FROM host_certificate WHERE host_id = $1 AND revoked_at IS NULL`, e.Host.ID))
}

// TestRevoke cuts an agent off; a new token lets it in again.
func TestRevoke(t *testing.T) {
	t.Parallel()
	w := shared
	h := w.newHost(t, hostOptions{})
	pg := w.newInstance(t, h)
	r := w.do(t, http.MethodPost, "/api/v1/hosts/"+h.id+"/revoke", nil)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.False(t, decode[hostRecord](t, r).Online)
	require.Equal(t, "revoked", decode[hostRecord](t, r).State)
	p := w.ask(t, "instance-restart", map[string]any{"instance_id": pg.id}).refused(t, 409, "host-not-enrolled")
	require.Contains(t, p.Detail, "is revoked")
	w.ask(t, "host-command", map[string]any{"host_id": h.id, "program": "/usr/bin/true"}).refused(t, 409, "host-not-enrolled")
	// The agent knows it too: it comes again and again, and is refused.
	require.NoError(t, system.Until(t.Context(), limit, "the refusal is audited", func() error {
		if scalar[int](t, w, `SELECT count(*) FROM audit WHERE target_id = $1 AND result = 'refused'`, h.id) == 0 {
			return errors.New("not yet")
		}
		return nil
	}))
	require.False(t, w.hostRecord(t, h.id).Online)
	seen := scalar[*string](t, w, `SELECT seen_at::text FROM host WHERE id = $1`, h.id)

	out, err := h.agent.enroll(t.Context(), w.newToken(t, h.id), "--force")
	require.NoError(t, err, out)
	// The agent that still runs takes the new identity over by itself.
	require.NoError(t, w.client.AwaitHost(t.Context(), h.id, true))
	require.Equal(t, "enrolled", w.hostRecord(t, h.id).State)
	require.NotEqual(t, seen, scalar[*string](t, w, `SELECT seen_at::text FROM host WHERE id = $1`, h.id))
	w.run(t, "succeeded", "instance-restart", map[string]any{"instance_id": pg.id})
}

// TestOffline: an agent that is away is said to be, and what was asked for meanwhile is done when it is back.
func TestOffline(t *testing.T) {
	t.Parallel()
	w := shared
	h := w.newHost(t, hostOptions{})
	pg := w.newInstance(t, h)
	before := w.instanceRecord(t, pg.id).PID
	h.agent.kill()
	require.NoError(t, w.client.AwaitHost(t.Context(), h.id, false))
	o := w.start(t, "instance-restart", map[string]any{"instance_id": pg.id})
	o = w.until(t, o.ID, "running", func(o operation) bool { return o.State == "running" })
	require.Equal(t, "host", o.WaitingFor)
	// A dry run answers a person who waits: it does not wait for the host.
	dry := w.await(t, w.start(t, "instance-create?dry_run=true", createInput(t, h, unique("absent"))).ID)
	require.Equal(t, "failed", dry.State)
	require.Equal(t, "host-offline", dry.Failure.Code)
	require.Contains(t, dry.Failure.Hint, "pgdrover-agent")
	o = w.operation(t, o.ID)
	require.Equal(t, "running", o.State)
	require.Equal(t, "host", o.WaitingFor)

	require.NoError(t, h.agent.start())
	o = w.await(t, o.ID)
	require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
	i := w.instanceRecord(t, pg.id)
	require.Equal(t, "running", i.Status)
	require.NotEqual(t, before, i.PID)
	require.NoError(t, w.client.AwaitHost(t.Context(), h.id, true))
}

// ctl is what the server's owner does by hand.
func (i instance) ctl(t *testing.T, args ...string) {
	t.Helper()
	line := append([]string{"-u", "postgres", "--", "/usr/lib/postgresql/15/bin/pg_ctl", "-w", "-D", i.dir}, args...)
	cmd := exec.CommandContext(t.Context(), "runuser", line...)
	cmd.Dir = "/"
	// Not a pipe: the server would hold it open.
	out, err := os.CreateTemp(t.TempDir(), "ctl")
	require.NoError(t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		require.NoError(t, err, "%s", said)
	}
}

// TestLiveStatus: what people do by hand is seen without any operation.
func TestLiveStatus(t *testing.T) {
	t.Parallel()
	w := shared
	pg := w.newInstance(t, w.host)
	const operations = `SELECT count(*) FROM operation WHERE object_id = $1`
	asked := scalar[int](t, w, operations, pg.id)
	pg.ctl(t, "stop", "-m", "fast")
	i := w.untilInstance(t, pg.id, "stopped", func(i instanceRecord) bool { return i.Status == "stopped" })
	require.Zero(t, i.PID)
	pg.ctl(t, "start", "-l", filepath.Join(pg.dir, "server.log"))
	i = w.untilInstance(t, pg.id, "running", func(i instanceRecord) bool { return i.Status == "running" && i.PID > 0 })
	require.NoError(t, syscall.Kill(i.PID, syscall.SIGKILL))
	w.untilInstance(t, pg.id, "crashed", func(i instanceRecord) bool { return i.Status == "crashed" })
	require.Equal(t, asked, scalar[int](t, w, operations, pg.id))
	o := w.run(t, "succeeded", "instance-start", map[string]any{"instance_id": pg.id})
	require.Contains(t, string(o.Result), `"running"`)
	require.Equal(t, "running", w.instanceRecord(t, pg.id).Status)
}

// TestConflict: the instance is its first agent's; another one on the same machine leaves it alone until the first is gone.
func TestConflict(t *testing.T) {
	t.Parallel()
	w := shared
	first := w.newHost(t, hostOptions{})
	pg := w.newInstance(t, first)
	second := w.newHost(t, hostOptions{data: first.data})
	var other instanceRecord
	find := func() error {
		list := w.instances(t, "host_id="+second.id)
		i := slices.IndexFunc(list, func(i instanceRecord) bool { return i.DataDirectory == pg.dir })
		if i < 0 {
			return errors.New("not discovered yet")
		}
		other = list[i]
		return nil
	}
	require.NoError(t, system.Until(t.Context(), limit, "the second agent reports it", find))
	require.Equal(t, first.name, other.Conflict)
	require.Equal(t, "discovered", other.Management)
	mine := w.instanceRecord(t, pg.id)
	require.Empty(t, mine.Conflict, "who had it first keeps it")
	adopt := map[string]any{"instance_id": other.ID, "name": unique("adopted"), "dbms_user": "postgres", "password": pg.password}
	p := w.ask(t, "instance-adopt", adopt).refused(t, 409, "instance-held")
	require.Contains(t, p.Detail, first.name)
	w.run(t, "succeeded", "instance-restart", map[string]any{"instance_id": pg.id})

	require.Equal(t, http.StatusOK, w.do(t, http.MethodPost, "/api/v1/hosts/"+first.id+"/revoke", nil).status)
	// The next report gives it to the second; a change makes that come at once.
	pg.ctl(t, "restart", "-l", filepath.Join(pg.dir, "server.log"))
	require.NoError(t, system.Until(t.Context(), limit, "the second agent has it", func() error {
		if err := find(); err != nil {
			return err
		}
		if other.Conflict != "" {
			return fmt.Errorf("conflict with %s", other.Conflict)
		}
		return nil
	}))
	w.run(t, "succeeded", "instance-adopt", adopt)
	w.run(t, "succeeded", "instance-restart", map[string]any{"instance_id": other.ID})
}
