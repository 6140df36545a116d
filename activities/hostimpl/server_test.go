package hostimpl

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

// TestLifeOfAnInstance creates, uses, controls and removes an instance, every changing step twice.
func TestLifeOfAnInstance(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.newServer()

	in, err := call(t.Context(), b, host.InstanceInspect, host.InstanceInspectIn{DataDirectory: s.data, BinDir: s.bin})
	require.NoError(t, err)
	require.Equal(t, host.InstanceStopped, in.Status)
	require.Equal(t, s.port, in.Port)
	require.NotEmpty(t, in.SystemIdentifier)

	out, err := twice(b, host.PGCtl, s.ctl("start"))
	require.NoError(t, err)
	require.True(t, out.Changed)
	require.Equal(t, host.InstanceRunning, out.Instance.Status)
	require.Equal(t, "primary", out.Instance.Role)
	pid := processOf(b, s)

	again, err := twice(b, host.PGCtl, s.ctl("start"))
	require.NoError(t, err)
	require.False(t, again.Changed)
	require.Equal(t, pid, processOf(b, s))

	in, err = call(t.Context(), b, host.InstanceInspect, host.InstanceInspectIn{DataDirectory: s.data, Conn: new(s.peer())})
	require.NoError(t, err)
	require.Equal(t, "postgresql", in.Edition)
	require.Equal(t, pid, in.PID)
	require.Equal(t, s.socket, in.SocketDir)

	probe, err := call(t.Context(), b, host.PortProbe, host.PortProbeIn{Port: s.port})
	require.NoError(t, err)
	require.True(t, probe.InUse)
	require.Contains(t, probe.Process, "postgres")

	_, err = twice(b, host.PGCtl, s.ctl("restart"))
	require.NoError(t, err)
	second := processOf(b, s)
	require.NotEqual(t, pid, second)

	_, err = twice(b, host.PGCtl, s.ctl("reload"))
	require.NoError(t, err)

	_, err = step(b, host.FileRemove, b.ref(), host.FileRemoveIn{Path: s.data, Recursive: true, Marker: "PG_VERSION"})
	wantCode(t, err, "server-running")

	stop, err := twice(b, host.PGCtl, s.ctl("stop"))
	require.NoError(t, err)
	require.True(t, stop.Changed)
	require.Equal(t, host.InstanceStopped, stop.Instance.Status)

	_, err = step(b, host.PGCtl, b.ref(), s.ctl("reload"))
	wantCode(t, err, "not-running")

	removed, err := twice(b, host.FileRemove, host.FileRemoveIn{Path: s.data, Recursive: true, IfCreatedBy: testOperation})
	require.NoError(t, err)
	require.True(t, removed.Removed)
	require.Greater(t, removed.Bytes, int64(1<<20))
	// The parent was made on the way too.
	require.NoDirExists(t, s.data)
	require.NoDirExists(t, filepath.Dir(s.data))
	for _, e := range secretLeftovers(t, b) {
		t.Errorf("secret left behind: %s", e)
	}
}

func secretLeftovers(t *testing.T, b *bench) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(b.v.cfg.RuntimeDir, "*secret-*"))
	require.NoError(t, err)
	return found
}

func TestStartFailureSaysWhy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.newServer()
	f, err := os.OpenFile(s.data+"/postgresql.auto.conf", os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("wurk_mem = '4MB'\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = twice(b, host.PGCtl, s.ctl("start"))
	fail := wantCode(t, err, "start-failed")
	require.Contains(t, fail.Message, "wurk_mem")
	require.Contains(t, fail.Hint, "setting")
}

func TestStartOnTakenPort(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.newServer()
	must(b, host.PGCtl, first.ctl("start"))
	other := newBench(t)
	s := other.newServer()
	conf := "port = " + num(first.port) + "\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\n"
	require.NoError(t, os.WriteFile(s.data+"/postgresql.auto.conf", []byte(conf), 0o600))
	_, err := twice(other, host.PGCtl, s.ctl("start"))
	fail := wantCode(t, err, "start-failed")
	require.Contains(t, fail.Hint, "port")
}

// TestRestartOnceAfterKill plays an agent killed at each point of a restart.
func TestRestartOnceAfterKill(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.newServer()
	must(b, host.PGCtl, s.ctl("start"))
	before := processOf(b, s)

	ref := b.ref()
	_, err := step(b, host.PGCtl, ref, s.ctl("restart"))
	require.NoError(t, err)
	restarted := processOf(b, s)
	require.NotEqual(t, before, restarted)

	// Killed after the work, before the answer: the server is not restarted again.
	b.interrupt(ref)
	out, err := step(b, host.PGCtl, ref, s.ctl("restart"))
	require.NoError(t, err)
	require.True(t, out.Changed)
	require.Equal(t, restarted, processOf(b, s))

	// Killed before pg_ctl began: it is restarted.
	ref = b.ref()
	_, err = step(b, host.PGCtl, ref, s.ctl("reload"))
	require.NoError(t, err)
	b.interrupt(ref, func(r *record) { r.Attempts = 1 })
	ref2 := b.ref()
	r, _, err := b.v.journal.load(ref.Operation, ref.Step)
	require.NoError(t, err)
	r.Step = ref2.Step
	r.Notes = nil
	require.NoError(t, b.v.journal.save(r))
	_, err = step(b, host.PGCtl, ref2, s.ctl("restart"))
	require.NoError(t, err)
	third := processOf(b, s)
	require.NotEqual(t, restarted, third)

	// Killed when the server was stopped and not yet started.
	ref = b.ref()
	_, err = step(b, host.PGCtl, ref, s.ctl("restart"))
	require.NoError(t, err)
	must(b, host.PGCtl, s.ctl("stop"))
	b.interrupt(ref)
	out, err = step(b, host.PGCtl, ref, s.ctl("restart"))
	require.NoError(t, err)
	require.Equal(t, host.InstanceRunning, out.Instance.Status)
}

func TestSmartStopWithClients(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.newServer()
	must(b, host.PGCtl, s.ctl("start"))
	conn, err := b.v.connect(t.Context(), s.peer(), testOperation, nil)
	require.NoError(t, err)
	defer closeConn(t.Context(), conn)
	_, err = twice(b, host.PGCtl, s.ctl("stop", func(in *host.PGCtlIn) { in.Mode, in.WaitSeconds = "smart", 1 }))
	f := wantCode(t, err, op.CodeTimeout)
	require.Contains(t, f.Message, "1 clients")
	require.Contains(t, f.Hint, "fast")
	must(b, host.PGCtl, s.ctl("stop"))
}
