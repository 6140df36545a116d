package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// The states of a job.
const (
	jobRunning = "running"
	jobDone    = "done"
	jobStopped = "stopped"
	// jobLost: its process vanished without an exit status (kill -9, reboot).
	jobLost = "lost"

	jobKeep = 30 * 24 * time.Hour
	// jobPoll is how often a job is looked at: two small files.
	jobPoll = 250 * time.Millisecond
	// jobLaunch is how long the runner may take until it has said that it lives.
	jobLaunch = 15 * time.Second
)

// The files of a job's folder.
const (
	jobSpecFile    = "spec.json"
	jobStartedFile = "started.json"
	jobStatusFile  = "status.json"
	jobOutputFile  = "output"
	jobStopFile    = "stop"
	jobLockFile    = "lock"
)

// jobSpec is what the runner is to do. It holds no secret: their files are named in Args.
type jobSpec struct {
	Name    string            `json:"name"`
	In      host.CommandRunIn `json:"in"`
	Process processSpec       `json:"process"`
	// Secrets is the folder to remove at the end.
	Secrets string `json:"secrets,omitempty"`
}

// jobStarted says who runs it.
type jobStarted struct {
	Runner  proc.ID   `json:"runner"`
	Process *proc.ID  `json:"process,omitempty"`
	At      time.Time `json:"at"`
}

// jobEnd is how it ended.
type jobEnd struct {
	State       string  `json:"state"`
	ExitCode    int     `json:"exit_code"`
	Signal      string  `json:"signal,omitempty"`
	TimedOut    bool    `json:"timed_out,omitempty"`
	Seconds     float64 `json:"seconds"`
	Tail        string  `json:"tail,omitempty"`
	OutputBytes int64   `json:"output_bytes"`
	// Error is why it could not be run at all.
	Error string `json:"error,omitempty"`
}

func (v *Verbs) jobsDir() string { return filepath.Join(v.cfg.StateDir, "jobs") }

func (v *Verbs) jobDir(name string) (string, error) {
	if !nameRule.MatchString(name) {
		return "", op.Permanent(op.CodeInvalid, "find job: %q is no name of a job", "", name)
	}
	return filepath.Join(v.jobsDir(), name), nil
}

// jobName makes the name of a step's job; a second start of the step finds the first job by it.
func jobName(ref op.StepRef) string { return ref.Operation + "-" + ref.Step }

func (v *Verbs) jobStart(ctx context.Context, at *attempt, in host.JobStartIn) (out host.JobStartOut, err error) {
	name := jobName(at.Ref)
	dir, err := v.jobDir(name)
	if err != nil {
		return out, err
	}
	out.Job.Name = name
	if exists(filepath.Join(dir, jobStartedFile)) {
		return out, nil
	}
	spec, u, err := v.prepareCommand(at.Ref, in.CommandRunIn)
	if err != nil {
		return out, err
	}
	if in.ResetDir != "" {
		return out, op.Permanent(op.CodeInvalid, "start job: a job is never run twice, so there is nothing to reset", "")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, fmt.Errorf("make folder of job %s: %w", name, err)
	}
	js := jobSpec{Name: name, In: in.CommandRunIn, Process: spec}
	if js.Process.Args, js.Secrets, err = v.jobSecrets(ctx, at, in, u, name); err != nil {
		return out, err
	}
	if err := writeDurableJSON(filepath.Join(dir, jobSpecFile), js); err != nil {
		return out, errors.Join(err, os.RemoveAll(js.Secrets))
	}
	if err := v.launch(ctx, name, dir); err != nil {
		return out, err
	}
	return out, awaitFile(ctx, filepath.Join(dir, jobStartedFile), jobLaunch)
}

// jobSecrets writes the secrets into a folder of the job's name, so that a second start replaces the first one's.
func (v *Verbs) jobSecrets(
	ctx context.Context,
	at *attempt,
	in host.JobStartIn,
	u osUser,
	name string,
) (args []string, dir string, err error) {
	if len(in.SecretFiles) == 0 {
		return in.Args, "", nil
	}
	dir = filepath.Join(v.cfg.RuntimeDir, jobSecretPrefix+name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, "", fmt.Errorf("remove secrets of an interrupted start: %w", err)
	}
	s, err := v.writeSecrets(ctx, secretDirPrefix, at.Ref.Operation, in.SecretFiles, u)
	if err != nil {
		return nil, "", err
	}
	if err := os.Rename(s.dir, dir); err != nil {
		return nil, "", errors.Join(fmt.Errorf("keep secrets of job %s: %w", name, err), s.remove())
	}
	s.dir = dir
	for key := range s.paths {
		s.paths[key] = filepath.Join(dir, key)
	}
	args, err = s.expand(in.Args)
	if err != nil {
		return nil, "", errors.Join(err, s.remove())
	}
	return args, dir, nil
}

func awaitFile(ctx context.Context, file string, limit time.Duration) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !exists(file) {
		select {
		case <-tick.C:
		case <-deadline.C:
			return op.Transient(op.CodeInternal, fmt.Errorf("start job: its runner did not begin within %s", limit))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// jobState looks at the folder of a job. Only its runner writes there, so what is read is always whole.
func (v *Verbs) jobState(name string) (host.JobStatus, jobEnd, error) {
	dir, err := v.jobDir(name)
	if err != nil {
		return host.JobStatus{}, jobEnd{}, err
	}
	var end jobEnd
	err = readJSON(filepath.Join(dir, jobStatusFile), &end)
	if err == nil {
		return host.JobStatus{State: end.State, ExitCode: end.ExitCode}, end, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return host.JobStatus{}, end, err
	}
	var st jobStarted
	err = readJSON(filepath.Join(dir, jobStartedFile), &st)
	if errors.Is(err, os.ErrNotExist) {
		return host.JobStatus{}, end, op.Permanent(op.CodeNotFound, "find job %s: there is none on this host", "", name)
	}
	if err != nil {
		return host.JobStatus{}, end, err
	}
	if st.Runner.Alive() {
		return host.JobStatus{State: jobRunning}, end, nil
	}
	// The runner may have written its last word between the two looks.
	if err := readJSON(filepath.Join(dir, jobStatusFile), &end); err == nil {
		return host.JobStatus{State: end.State, ExitCode: end.ExitCode}, end, nil
	}
	end = jobEnd{State: jobLost, ExitCode: -1}
	return host.JobStatus{State: jobLost, ExitCode: -1}, end, nil
}

func (v *Verbs) jobLives(name string) bool {
	st, _, err := v.jobState(name)
	return err == nil && st.State == jobRunning
}

// jobWait watches until the job ends; it can be ended and begun again at any time, the job does not notice.
func (v *Verbs) jobWait(ctx context.Context, at *attempt, in host.JobRef) (host.JobStatus, error) {
	dir, err := v.jobDir(in.Name)
	if err != nil {
		return host.JobStatus{}, err
	}
	stream := v.cfg.Output.Stream(at.Ref.Operation, at.Ref.Step, 1)
	defer closeStream(stream)
	f := &follower{file: filepath.Join(dir, jobOutputFile), last: newTail(tailBytes), to: &limited{to: stream, left: maxStreamed}}
	defer f.close()
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for {
		// State first: what was written before the end is read after it.
		st, _, err := v.jobState(in.Name)
		if err != nil {
			return st, err
		}
		if f.more() {
			at.Progress(progressFrom(f.last.LastLine(), f.last.Total()))
		}
		if st.State != jobRunning {
			return st, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

// follower reads a growing file.
type follower struct {
	file string
	f    *os.File
	last *tail
	to   io.Writer
}

func (f *follower) more() bool {
	if f.f == nil {
		var err error
		if f.f, err = os.Open(f.file); err != nil {
			return false
		}
	}
	n, _ := io.Copy(io.MultiWriter(f.last, f.to), f.f)
	return n > 0
}

func (f *follower) close() {
	if f.f != nil {
		f.f.Close()
	}
}

// jobCollect returns the result. The folder stays until it is pruned, so a lost answer can be given again.
func (v *Verbs) jobCollect(_ context.Context, _ *attempt, in host.JobRef) (host.CommandRunOut, error) {
	st, end, err := v.jobState(in.Name)
	if err != nil {
		return host.CommandRunOut{}, err
	}
	dir, _ := v.jobDir(in.Name)
	v.removeJobSecrets(in.Name)
	switch st.State {
	case jobRunning:
		return host.CommandRunOut{}, op.Permanent(op.CodeBusy, "collect job %s: it still runs", "", in.Name)
	case jobLost:
		return host.CommandRunOut{}, op.Permanent("job-lost", "collect job %s: its process vanished without an exit status. %s",
			"The host was restarted or somebody killed it; repeat the operation.", in.Name, endOf(filepath.Join(dir, jobOutputFile), 0))
	case jobStopped:
		return host.CommandRunOut{}, op.Permanent(op.CodeCanceled, "collect job %s: it was stopped. %s", "", in.Name, end.Tail)
	}
	var spec jobSpec
	if err := readJSON(filepath.Join(dir, jobSpecFile), &spec); err != nil {
		return host.CommandRunOut{}, err
	}
	if end.Error != "" {
		return host.CommandRunOut{}, op.Permanent(op.CodeCommandError, "run %s: %s", "", spec.In.Program, end.Error)
	}
	return verdict(spec.In, processEnd{
		ExitCode: end.ExitCode, Signal: end.Signal, TimedOut: end.TimedOut, Duration: time.Duration(end.Seconds * float64(time.Second)),
	}, end.Tail, end.OutputBytes)
}

func (v *Verbs) removeJobSecrets(name string) {
	if v.jobLives(name) {
		return
	}
	if err := os.RemoveAll(filepath.Join(v.cfg.RuntimeDir, jobSecretPrefix+name)); err != nil {
		v.log.Error("remove secrets of a job", "job", name, "error", err)
	}
}

// jobStop ends the job and all that belongs to it. A job that has ended keeps its result.
func (v *Verbs) jobStop(ctx context.Context, _ *attempt, in host.JobRef) (host.JobStatus, error) {
	st, _, err := v.jobState(in.Name)
	var f *op.Failure
	if err != nil {
		// One never started is stopped: an undo asks for it without knowing.
		if f = op.FailureOf(err); f.Code == op.CodeNotFound {
			return host.JobStatus{State: jobStopped}, nil
		}
		return st, err
	}
	if st.State == jobRunning {
		if st, err = v.endJob(ctx, in.Name); err != nil {
			return st, err
		}
	}
	v.removeJobSecrets(in.Name)
	return st, nil
}

func (v *Verbs) endJob(ctx context.Context, name string) (host.JobStatus, error) {
	dir, _ := v.jobDir(name)
	// The runner sees why it is ended and says "stopped" instead of a failure.
	if err := os.WriteFile(filepath.Join(dir, jobStopFile), nil, 0o600); err != nil {
		return host.JobStatus{}, fmt.Errorf("stop job %s: %w", name, err)
	}
	var started jobStarted
	if err := readJSON(filepath.Join(dir, jobStartedFile), &started); err != nil {
		return host.JobStatus{}, err
	}
	if started.Process != nil {
		if err := proc.EndGroup(ctx, *started.Process, endGrace); err != nil {
			return host.JobStatus{}, fmt.Errorf("stop job %s: %w", name, err)
		}
	}
	// The runner ends by itself, for its child did; where it cannot it is ended too.
	deadline := time.NewTimer(endGrace)
	defer deadline.Stop()
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for {
		st, _, err := v.jobState(name)
		if err != nil || st.State != jobRunning {
			return st, err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			if err := proc.EndGroup(ctx, started.Runner, endGrace); err != nil {
				return st, fmt.Errorf("stop job %s: %w", name, err)
			}
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

// pruneJobs removes the folders of jobs that ended long ago.
func (v *Verbs) pruneJobs(now time.Time) error {
	entries, err := os.ReadDir(v.jobsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune jobs: %w", err)
	}
	var errs []error
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || now.Sub(fi.ModTime()) < jobKeep || strings.HasPrefix(e.Name(), ".") || v.jobLives(e.Name()) {
			continue
		}
		errs = append(errs, os.RemoveAll(filepath.Join(v.jobsDir(), e.Name())))
	}
	return errors.Join(errs...)
}
