package hostimpl

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

// TestStandbyAndPromotion copies an instance by a job, as a workflow would, runs the copy as a standby and promotes it.
func TestStandbyAndPromotion(t *testing.T) {
	t.Parallel()
	b, s := running(t)
	copyDir, port := filepath.Join(b.dir, "pg", "copy"), freePort(t)
	must(b, host.FileMkdir, host.FileMkdirIn{Path: copyDir, Owner: testUser(t), MustBeEmpty: true})
	j := must(b, host.JobStart, host.JobStartIn{CommandRunIn: host.CommandRunIn{
		Program: s.bin + "/pg_basebackup",
		Args: []string{
			"-D",
			copyDir,
			"-R",
			"-X",
			"stream",
			"--checkpoint=fast",
			"--progress",
			"-h",
			s.socket,
			"-p",
			num(s.port),
			"-U",
			"postgres",
		},
	}})
	require.Equal(t, host.JobStatus{State: jobDone}, must(b, host.JobWait, j.Job))
	must(b, host.JobCollect, j.Job)
	auto, err := call(t.Context(), b, host.FileRead, host.FileReadIn{Path: copyDir + "/postgresql.auto.conf"})
	require.NoError(t, err)
	must(b, host.FileWrite, host.FileWriteIn{
		Path:     copyDir + "/postgresql.auto.conf",
		Content:  append(auto.Content, []byte("port = "+num(port)+"\n")...),
		IfSHA256: auto.SHA256,
	})
	standby := &server{bin: s.bin, data: copyDir, socket: s.socket, port: port}
	t.Cleanup(func() {
		_, _ = call(op.ContextWithRef(t.Context(), b.ref()), b, host.PGCtl,
			standby.ctl("stop", func(in *host.PGCtlIn) { in.Mode = "immediate" }))
	})
	out := must(b, host.PGCtl, standby.ctl("start"))
	require.Equal(t, "standby", out.Instance.Role)
	in, err := call(t.Context(), b, host.InstanceInspect, host.InstanceInspectIn{DataDirectory: copyDir, Conn: new(standby.peer())})
	require.NoError(t, err)
	require.Equal(t, "standby", in.Role)
	// The answer must come from the server that was meant.
	_, err = call(t.Context(), b, host.InstanceInspect, host.InstanceInspectIn{DataDirectory: copyDir, Conn: new(s.peer())})
	wantCode(t, err, "other-instance")

	ref := b.ref()
	promoted, err := step(b, host.PGCtl, ref, standby.ctl("promote"))
	require.NoError(t, err)
	require.True(t, promoted.Changed)
	require.Equal(t, "primary", promoted.Instance.Role)
	b.interrupt(ref)
	promoted, err = step(b, host.PGCtl, ref, standby.ctl("promote"))
	require.NoError(t, err)
	require.True(t, promoted.Changed)
	none, err := twice(b, host.PGCtl, standby.ctl("promote"))
	require.NoError(t, err)
	require.False(t, none.Changed)
	must(b, host.PGCtl, standby.ctl("stop", func(in *host.PGCtlIn) { in.Mode = "immediate" }))
}

// helperRestart is set in a process of this test program that restarts a server as an agent would.
const helperRestart = "PGDROVER_TEST_RESTART"

type restartSpec struct {
	Config helperConfig
	Ref    op.StepRef
	In     host.PGCtlIn
}

// TestHelperRestarts is no test of its own: TestRestartOfKilledAgent runs it in a process, which it kills then.
func TestHelperRestarts(t *testing.T) {
	text := os.Getenv(helperRestart)
	if text == "" {
		t.Skip("only run by another test")
	}
	var spec restartSpec
	require.NoError(t, json.Unmarshal([]byte(text), &spec))
	b := &bench{t: t, v: New(spec.Config.config())}
	_, err := step(b, host.PGCtl, spec.Ref, spec.In)
	require.NoError(t, err)
}

// TestRestartOfKilledAgent kills the agent's process while pg_ctl waits for the server to stop: pg_ctl goes on by
// itself, the next attempt waits for it, and the server is restarted exactly once.
func TestRestartOfKilledAgent(t *testing.T) {
	t.Parallel()
	b, s := running(t)
	before := processOf(b, s)
	client, err := b.v.connect(t.Context(), s.peer(), testOperation, nil)
	require.NoError(t, err)
	ref := b.ref()
	in := s.ctl("restart", func(in *host.PGCtlIn) { in.Mode, in.WaitSeconds = "smart", 30 })
	text, err := json.Marshal(restartSpec{Ref: ref, In: in, Config: b.helper()})
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestHelperRestarts$")
	cmd.Env = append(os.Environ(), helperRestart+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	eventually(t, "pg_ctl is at work", func() bool {
		return strings.Contains(endOf(filepath.Join(s.data, serverLog), 0), "received smart shutdown request")
	})
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	_ = cmd.Wait()

	type answer struct {
		out host.PGCtlOut
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		out, err := step(b, host.PGCtl, ref, in)
		ch <- answer{out, err}
	}()
	closeConn(t.Context(), client)
	got := <-ch
	require.NoError(t, got.err)
	require.True(t, got.out.Changed)
	require.NotEqual(t, before, processOf(b, s))
	log, err := os.ReadFile(filepath.Join(s.data, serverLog))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(log), "starting PostgreSQL"), "started at first and restarted once")
}
