package gateway

import (
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
)

func jsonDecode(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }

func (f *fixture) online(t *testing.T, a *agent) bool {
	t.Helper()
	row, err := f.db.GetHost(t.Context(), a.id)
	require.NoError(t, err)
	return row.Online
}

// quick makes presence quick enough to be watched.
func quick(c *Config) {
	c.timing.grace = 300 * time.Millisecond
	c.timing.refresh = 100 * time.Millisecond
	c.timing.stale = time.Second
	c.timing.sweep = 100 * time.Millisecond
}

func TestPresenceFollowsTheConnection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake(), quick)
	a := f.enroll(t, "a")
	require.False(t, f.online(t, a))
	events := f.events(t)
	conn := a.dial(t, f.addr)
	c := workflowservice.NewWorkflowServiceClient(conn)
	_, err := c.GetSystemInfo(t.Context(), &systemInfoReq{})
	require.NoError(t, err)
	eventually(t, 5*time.Second, "online", func() bool { return f.online(t, a) })
	require.Equal(t, a.id.String(), events.next(t, "host").ID)
	row, err := f.db.GetHost(t.Context(), a.id)
	require.NoError(t, err)
	require.Equal(t, f.cfg.ID, *row.GatewayID)
	seen := *row.SeenAt
	eventually(t, 5*time.Second, "refreshed", func() bool {
		row, err := f.db.GetHost(t.Context(), a.id)
		return err == nil && row.SeenAt.After(seen)
	})
	require.True(t, f.online(t, a))

	require.NoError(t, conn.Close())
	eventually(t, 5*time.Second, "offline", func() bool { return !f.online(t, a) })
	require.Equal(t, a.id.String(), events.next(t, "host").ID)
	require.Equal(t, 2, events.count("host"), "nothing is announced but the transitions")
}

func TestShortBreakIsNoAbsence(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake(), func(c *Config) { c.timing.grace = time.Minute })
	a := f.enroll(t, "a")
	for range 3 {
		conn := a.dial(t, f.addr)
		_, err := workflowservice.NewWorkflowServiceClient(conn).GetSystemInfo(t.Context(), &systemInfoReq{})
		require.NoError(t, err)
		eventually(t, 5*time.Second, "online", func() bool { return f.online(t, a) })
		require.NoError(t, conn.Close())
		h := f.hosts.get(a.id)
		eventually(t, 5*time.Second, "the gateway has noticed", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.presence.conns) == 0
		})
		require.True(t, f.online(t, a))
	}
}

func TestHostOfADeadGatewayGoesOffline(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake(), quick)
	a := f.enroll(t, "a")
	// A gateway that is no more holds it.
	_, err := f.db.Pool.Exec(t.Context(),
		"UPDATE host SET online = true, gateway_id = gen_random_uuid(), seen_at = now() WHERE id = $1", a.id)
	require.NoError(t, err)
	events := f.events(t)
	eventually(t, 5*time.Second, "swept", func() bool { return !f.online(t, a) })
	require.Equal(t, a.id.String(), events.next(t, "host").ID)
}

func TestHostThatMovedStaysOnline(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake(), quick)
	second := f.serve(t, quick)
	a := f.enroll(t, "a")
	first := a.dial(t, f.addr)
	_, err := workflowservice.NewWorkflowServiceClient(first).GetSystemInfo(t.Context(), &systemInfoReq{})
	require.NoError(t, err)
	eventually(t, 5*time.Second, "online at the first", func() bool { return f.online(t, a) })
	events := f.events(t)
	_, err = workflowservice.NewWorkflowServiceClient(a.dial(t, second.addr)).GetSystemInfo(t.Context(), &systemInfoReq{})
	require.NoError(t, err)
	eventually(t, 5*time.Second, "held by the second", func() bool {
		row, err := f.db.GetHost(t.Context(), a.id)
		return err == nil && *row.GatewayID == second.cfg.ID
	})
	require.NoError(t, first.Close())
	h := f.hosts.get(a.id)
	eventually(t, 5*time.Second, "the first has let go", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !h.presence.online
	})
	require.True(t, f.online(t, a))
	require.Zero(t, events.count("host"))
}

func TestIdentityOutlivesAnOutageOfTheRepository(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	c := a.temporal(t)
	_, err := c.GetSystemInfo(t.Context(), &systemInfoReq{})
	require.NoError(t, err)
	f.identities.forgetAll()
	_, err = f.db.Pool.Exec(t.Context(), "ALTER TABLE host_certificate RENAME TO hidden")
	require.NoError(t, err)
	_, err = c.GetSystemInfo(t.Context(), &systemInfoReq{})
	require.NoError(t, err, "running steps do not die of it")
	f.identities.now = func() time.Time { return time.Now().Add(identityOutage + time.Second) }
	_, err = c.GetSystemInfo(t.Context(), &systemInfoReq{})
	require.Error(t, err, "but not for ever")
	_, err = f.db.Pool.Exec(t.Context(), "ALTER TABLE hidden RENAME TO host_certificate")
	require.NoError(t, err)
}
