package hostimpl

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

// withSystemd makes verbs that use systemd, on a machine whose services it runs.
func withSystemd(t *testing.T) *bench {
	t.Helper()
	if !Systemd() || os.Geteuid() != 0 {
		t.Skip("systemd does not run this machine's services, or the test is not root")
	}
	return newBench(t, func(c *Config) {
		c.NoSystemd = false
		c.Policy.Units = []string{"pgdrover-test-*.service"}
	})
}

func unitState(t *testing.T, unit string) string {
	t.Helper()
	conn, err := dbus.NewWithContext(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	p, err := conn.GetUnitPropertyContext(t.Context(), unit, "ActiveState")
	require.NoError(t, err)
	s, _ := p.Value.Value().(string)
	return s
}

func TestSystemdJob(t *testing.T) {
	t.Parallel()
	b := withSystemd(t)
	// Names of units are the machine's, so the operation is one of this run alone.
	ref := op.StepRef{Operation: uuid.NewString(), Step: "01-job-start", Object: "o", Fence: 1}
	prog := b.script(
		"prog",
		`echo begun; cat /proc/self/cgroup; while [ ! -e `+b.dir+`/go ]; do sleep 0.05; done; echo ended; exit 7`,
	)
	in := host.JobStartIn{CommandRunIn: host.CommandRunIn{Program: prog, OKExitCodes: []int{7}}}
	out, err := step(b, host.JobStart, ref, in)
	require.NoError(t, err)
	unit := "pgdrover-job-" + out.Job.Name + ".service"
	require.Equal(t, "active", unitState(t, unit))
	b.interrupt(ref)
	b.v.cfg.Policy.ProgramFolders = []string{b.dir + "/bin"}
	again, err := step(b, host.JobStart, ref, in)
	require.NoError(t, err)
	require.Equal(t, out, again)
	require.NoError(t, os.WriteFile(b.dir+"/go", nil, 0o644))
	require.Equal(t, host.JobStatus{State: jobDone, ExitCode: 7}, must(b, host.JobWait, out.Job))
	got := must(b, host.JobCollect, out.Job)
	require.Contains(t, got.Tail, unit)
	require.True(t, strings.HasSuffix(got.Tail, "ended"))
	eventually(t, "the unit is gone", func() bool { return unitState(t, unit) == "inactive" })

	ref.Step = "02-job-start"
	prog = b.script("prog", `sleep 600 & sleep 600`)
	out, err = step(b, host.JobStart, ref, host.JobStartIn{CommandRunIn: host.CommandRunIn{Program: prog}})
	require.NoError(t, err)
	require.Equal(t, jobStopped, must(b, host.JobStop, out.Job).State)
	unit = "pgdrover-job-" + out.Job.Name + ".service"
	eventually(t, "the unit is gone", func() bool { return unitState(t, unit) == "inactive" })
}

func TestSystemdServer(t *testing.T) {
	t.Parallel()
	b := withSystemd(t)
	s := b.newServer()
	unit := "pgdrover-test-" + filepath.Base(b.dir) + ".service"
	file := "/run/systemd/system/" + unit
	text := fmt.Sprintf(
		"[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nUser=%s\nExecStart=%s/postgres -D %s\n"+
			"ExecReload=/bin/kill -HUP $MAINPID\nKillSignal=SIGINT\nKillMode=mixed\n",
		testUser(t),
		s.bin,
		s.data,
	)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	reload := func() {
		out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput()
		require.NoError(t, err, string(out))
	}
	reload()
	t.Cleanup(func() { _ = os.Remove(file) })
	ctl := func(action string) host.PGCtlIn { return s.ctl(action, func(in *host.PGCtlIn) { in.Unit = unit }) }

	out, err := twice(b, host.PGCtl, ctl("start"))
	require.NoError(t, err)
	require.True(t, out.Changed)
	require.Equal(t, host.InstanceRunning, out.Instance.Status)
	require.Equal(t, unit, out.Instance.Unit)
	require.Equal(t, "active", unitState(t, unit))
	seen, err := call(t.Context(), b, host.InstanceInspect, host.InstanceInspectIn{DataDirectory: s.data})
	require.NoError(t, err)
	require.Equal(t, unit, seen.Unit, "the unit is found by the server's process")
	pid := processOf(b, s)

	ref := b.ref()
	_, err = step(b, host.PGCtl, ref, ctl("restart"))
	require.NoError(t, err)
	second := processOf(b, s)
	require.NotEqual(t, pid, second)
	b.interrupt(ref)
	_, err = step(b, host.PGCtl, ref, ctl("restart"))
	require.NoError(t, err)
	require.Equal(t, second, processOf(b, s), "restarted once")

	_, err = twice(b, host.PGCtl, ctl("reload"))
	require.NoError(t, err)
	st, err := twice(b, host.UnitControl, host.UnitControlIn{Unit: unit, Action: "restart"})
	require.NoError(t, err)
	require.Equal(t, "active", st.ActiveState)
	out, err = twice(b, host.PGCtl, ctl("stop"))
	require.NoError(t, err)
	require.Equal(t, host.InstanceStopped, out.Instance.Status)

	require.NoError(t, os.WriteFile(s.data+"/postgresql.auto.conf", []byte("wurk_mem = 1\n"), 0o600))
	_, err = twice(b, host.PGCtl, ctl("start"))
	wantCode(t, err, codeStartFailed)
}
