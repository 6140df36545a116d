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
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

func (b *bench) job(body string, change ...func(*host.JobStartIn)) host.JobRef {
	b.t.Helper()
	in := host.JobStartIn{CommandRunIn: host.CommandRunIn{Program: b.script("prog", body)}}
	for _, f := range change {
		f(&in)
	}
	out, err := twice(b, host.JobStart, in)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _, _, _ = b.v.jobState(out.Job.Name) })
	return out.Job
}

func TestJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.secrets.values["pw"] = "jobs-s3cret"
	j := b.job(`echo "ran with $(cat "$1")"`, func(in *host.JobStartIn) {
		in.SecretFiles = map[string]host.SecretRef{"pw": op.SecretReference("pw")}
		in.Args = []string{"{secret:pw}"}
	})
	st, err := twice(b, host.JobWait, j)
	require.NoError(t, err)
	require.Equal(t, host.JobStatus{State: jobDone}, st)
	out, err := twice(b, host.JobCollect, j)
	require.NoError(t, err)
	require.Equal(t, "ran with ***", out.Tail)
	require.Empty(t, secretLeftovers(t, b))
	b.noSecretOnDisk("jobs-s3cret")
	stopped, err := twice(b, host.JobStop, j)
	require.NoError(t, err)
	require.Equal(t, jobDone, stopped.State, "one that ended keeps its result")
}

func TestJobFailure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	j := b.job(`echo broken; exit 4`)
	st := must(b, host.JobWait, j)
	require.Equal(t, host.JobStatus{State: jobDone, ExitCode: 4}, st)
	_, err := twice(b, host.JobCollect, j)
	f := wantCode(t, err, op.CodeCommandError)
	require.Contains(t, f.Message, "broken")
}

func TestJobStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	j := b.job(`echo $$; sleep 600 & wait`)
	_, err := step(b, host.JobCollect, b.ref(), j)
	wantCode(t, err, op.CodeBusy)
	st, err := twice(b, host.JobStop, j)
	require.NoError(t, err)
	require.Equal(t, jobStopped, st.State)
	require.Equal(t, jobStopped, must(b, host.JobWait, j).State)
	_, err = step(b, host.JobCollect, b.ref(), j)
	wantCode(t, err, op.CodeCanceled)
	// An undo stops what was never started.
	require.Equal(t, jobStopped, must(b, host.JobStop, host.JobRef{Name: "never"}).State)
	_, err = step(b, host.JobWait, b.ref(), host.JobRef{Name: "never"})
	wantCode(t, err, op.CodeNotFound)
	_, err = step(b, host.JobWait, b.ref(), host.JobRef{Name: "../x"})
	wantCode(t, err, op.CodeInvalid)
}

// TestJobLost: its runner and program are killed without a last word.
func TestJobLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	j := b.job(`echo before; exec sleep 600`)
	dir, err := b.v.jobDir(j.Name)
	require.NoError(t, err)
	var s jobStarted
	eventually(t, "it runs", func() bool { return readJSON(filepath.Join(dir, jobStartedFile), &s) == nil && s.Process != nil })
	require.NoError(t, syscall.Kill(s.Runner.PID, syscall.SIGKILL))
	require.NoError(t, syscall.Kill(-s.Process.PID, syscall.SIGKILL))
	require.Equal(t, jobLost, must(b, host.JobWait, j).State)
	_, err = twice(b, host.JobCollect, j)
	wantCode(t, err, "job-lost")
}

func TestJobPolicy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := twice(b, host.JobStart, host.JobStartIn{CommandRunIn: host.CommandRunIn{Program: "/bin/sh"}})
	wantCode(t, err, op.CodeForbidden)
}

// helperStart is set in a process of this test program that starts a job as an agent would.
const helperStart = "PGDROVER_TEST_JOB"

// TestHelperStartsJob is no test of its own: TestJobOutlivesTheAgent runs it in a process, which it kills then.
func TestHelperStartsJob(t *testing.T) {
	spec := os.Getenv(helperStart)
	if spec == "" {
		t.Skip("only run by another test")
	}
	var h helperConfig
	require.NoError(t, json.Unmarshal([]byte(spec), &h))
	b := &bench{t: t, v: New(h.config()), dir: filepath.Dir(h.StateDir)}
	out, err := step(b, host.JobStart, b.ref(), host.JobStartIn{CommandRunIn: host.CommandRunIn{Program: b.dir + "/bin/prog"}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.dir+"/started", []byte(out.Job.Name), 0o600))
	select {}
}

// TestJobOutlivesTheAgent kills the process that started a job, with all its group, and collects the job in another.
func TestJobOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.script("prog", `echo begun; while [ ! -e `+b.dir+`/go ]; do sleep 0.05; done; echo ended`)
	cfg, err := json.Marshal(b.helper())
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestHelperStartsJob$")
	cmd.Env = append(os.Environ(), helperStart+"="+string(cfg))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	eventually(t, "the job is started", func() bool { _, err := os.Stat(b.dir + "/started"); return err == nil })
	var name string
	eventually(t, "its name is written", func() bool { name = read(t, b.dir+"/started"); return name != "" })
	helper, err := proc.Identify(cmd.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	_ = cmd.Wait()
	require.False(t, helper.Alive())

	st, _, err := b.v.jobState(name)
	require.NoError(t, err)
	require.Equal(t, jobRunning, st.State)
	// A start asked again by a new agent finds the job and does not run it twice.
	ref := op.StepRef{Operation: testOperation, Step: "01-step"}
	b.interrupt(ref)
	again, err := step(b, host.JobStart, ref, host.JobStartIn{CommandRunIn: host.CommandRunIn{Program: b.dir + "/bin/prog"}})
	require.NoError(t, err)
	require.Equal(t, name, again.Job.Name)

	require.NoError(t, os.WriteFile(b.dir+"/go", nil, 0o644))
	b.seq = 10
	require.Equal(t, jobDone, must(b, host.JobWait, again.Job).State)
	require.Equal(t, "begun\nended", must(b, host.JobCollect, again.Job).Tail)
	require.True(t, strings.HasPrefix(b.output.text("11-step/1"), "begun\n"), "its output is streamed while it is waited for")
}
