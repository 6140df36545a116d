package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// JobRunnerCommand is the hidden subcommand of the agent that runs a job.
const JobRunnerCommand = "job-runner"

// launch starts the runner of a job outside of the agent: as a transient unit of systemd, which keeps it when the
// agent's own unit is restarted, else as a process that left our session and our family.
func (v *Verbs) launch(ctx context.Context, name, dir string) error {
	argv := v.cfg.JobRunner
	if len(argv) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("start job %s: %w", name, err)
		}
		argv = []string{self, JobRunnerCommand}
	}
	argv = append(append([]string{}, argv...), dir)
	if v.systemd() {
		return launchUnit(ctx, name, argv)
	}
	return launchDetached(name, argv)
}

func launchUnit(ctx context.Context, name string, argv []string) error {
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return op.Transient("no-systemd", fmt.Errorf("start job %s: %w", name, err))
	}
	defer conn.Close()
	unit := "pgdrover-job-" + name + ".service"
	props := []dbus.Property{
		dbus.PropDescription("pgdrover job " + name),
		dbus.PropExecStart(argv, false),
		dbus.PropType("exec"),
		{Name: "CollectMode", Value: godbus.MakeVariant("inactive-or-failed")},
		{Name: "KillMode", Value: godbus.MakeVariant("control-group")},
	}
	result := make(chan string, 1)
	_, err = conn.StartTransientUnitContext(ctx, unit, "fail", props, result)
	var exists godbus.Error
	if errors.As(err, &exists) && exists.Name == "org.freedesktop.systemd1.UnitExists" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("start job %s: %w", name, err)
	}
	select {
	case r := <-result:
		if r != "done" {
			return op.Transient(op.CodeInternal, fmt.Errorf("start job %s: systemd says %q", name, r))
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// launchDetached starts the runner, which forks once more and whose first half ends at once: the second half is then
// nobody's child here, and no signal to our group or session reaches it.
func launchDetached(name string, argv []string) error {
	if err := proc.RunDetached(argv, append(os.Environ(), detachVariable+"=1")); err != nil {
		return fmt.Errorf("start job %s: %w", name, err)
	}
	return nil
}

const detachVariable = "PGDROVER_JOB_DETACH"

// RunJob is the runner: it runs the command of a job's folder exactly once, however often it is started, and writes
// how it ended. It returns the exit code of its own process.
func RunJob(ctx context.Context, dir string) int {
	log := slog.Default()
	if os.Getenv(detachVariable) != "" {
		if err := forkAway(); err != nil {
			log.Error("detach job", "folder", dir, "error", err)
			return 1
		}
		return 0
	}
	if err := runJob(ctx, dir); err != nil {
		log.Error("run job", "folder", dir, "error", err)
		return 1
	}
	return 0
}

// forkAway is the second fork. The arguments are kept as they were given: a test binary's runner has others than the
// agent's.
func forkAway() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return kv == detachVariable+"=1" })
	return proc.Detach(append([]string{self}, os.Args[1:]...), env)
}

func runJob(ctx context.Context, dir string) error {
	lock, err := os.OpenFile(filepath.Join(dir, jobLockFile), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		// Another runner of this job lives: nothing to do.
		return nil
	}
	if exists(filepath.Join(dir, jobStartedFile)) {
		return nil
	}
	var spec jobSpec
	if err := readJSON(filepath.Join(dir, jobSpecFile), &spec); err != nil {
		return err
	}
	self, err := proc.Identify(os.Getpid())
	if err != nil {
		return err
	}
	started := jobStarted{Runner: self, At: time.Now().UTC()}
	if err := writeDurableJSON(filepath.Join(dir, jobStartedFile), started); err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(dir, jobOutputFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return finishJob(dir, spec, jobEnd{State: jobDone, ExitCode: -1, Error: err.Error()})
	}
	defer out.Close()
	return finishJob(dir, spec, execJob(ctx, dir, spec, started, out))
}

// execJob runs the command. The runner itself ends it when it is told to end.
func execJob(ctx context.Context, dir string, spec jobSpec, started jobStarted, out *os.File) jobEnd {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	last := newTail(tailBytes)
	sink := newRedact(writerFunc(func(p []byte) (int, error) {
		_, _ = last.Write(p)
		// A full disk loses output, not the job.
		_, _ = out.Write(p)
		return len(p), nil
	}), jobSecretValues(spec.Secrets))
	end, err := runProcess(ctx, spec.Process, sink, func(id proc.ID) error {
		started.Process = &id
		return writeDurableJSON(filepath.Join(dir, jobStartedFile), started)
	})
	sink.flush()
	e := jobEnd{
		State: jobDone, ExitCode: end.ExitCode, Signal: end.Signal, TimedOut: end.TimedOut, Seconds: end.Duration.Seconds(),
		Tail: last.String(), OutputBytes: last.Total(),
	}
	if exists(filepath.Join(dir, jobStopFile)) || ctx.Err() != nil {
		e.State = jobStopped
	} else if err != nil {
		e.Error, e.ExitCode = err.Error(), -1
	}
	return e
}

// jobSecretValues reads what is not to appear in the output.
func jobSecretValues(dir string) []string {
	if dir == "" {
		return nil
	}
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
			out = append(out, string(b))
		}
	}
	return out
}

func finishJob(dir string, spec jobSpec, end jobEnd) error {
	var err error
	if spec.Secrets != "" {
		err = os.RemoveAll(spec.Secrets)
	}
	return errors.Join(err, writeDurableJSON(filepath.Join(dir, jobStatusFile), end))
}
