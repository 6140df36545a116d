// Package hostimpl carries out the agent's verbs (activities/host): commands, files, jobs, units, SQL, and the control
// of servers.
//
// Three things hold for every changing verb, by the wrapper in guard.go: a step's work is done once and its answer
// repeated (journal.go), an operation that lost its lock is refused (fences.go), and work under way survives a broken
// connection (flight.go). What the host allows is said by a policy file no verb can change (policy.go); paths are
// opened without following links that were not looked at (safefs). Only worker/agent imports this package.
package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// Secrets fetches values from the manager.
type Secrets interface {
	// Fetch returns the value of a secret under the grant of an operation.
	Fetch(ctx context.Context, secretID, operationID string) (string, error)
}

// Output takes the output of steps to the manager.
type Output interface {
	// Stream opens the output of one run of a step's command, runs counted from 1. Writes block for a bounded time
	// and never fail; Close says that no more comes.
	Stream(operation, step string, run int) io.WriteCloser
}

// FactsSource knows the host.
type FactsSource interface {
	Facts(ctx context.Context) (host.Facts, error)
	// Inspect describes one data directory.
	Inspect(ctx context.Context, dataDirectory, binDir string) (host.Instance, error)
	// Conflict names the other agent that holds a data directory, empty if none.
	Conflict(dataDirectory string) string
	// ConfigFile is where a cluster's postgresql.conf is, if that is not its data directory (Debian).
	ConfigFile(dataDirectory string) string
}

// Config is what the verbs need from around them.
type Config struct {
	// StateDir holds journal, fences and jobs.
	StateDir string
	// RuntimeDir holds files with secrets for the time of a run, best on a memory file system; StateDir/run if empty.
	RuntimeDir string
	Policy     Policy
	// DataRoot is where new instances go by default: the administrator of the host chose it, so it is allowed.
	DataRoot string
	Secrets  Secrets
	Output   Output
	Facts    FactsSource
	Logger   *slog.Logger
	// JobRunner is the program and its first arguments that run a detached job, before the job's folder; this very
	// program with "job-runner" if empty.
	JobRunner []string
	// NoSystemd treats the host as one without systemd.
	NoSystemd bool
	// Worked, for crash tests, is called when a step's work is done and its answer not in the journal yet: the worst
	// moment to be killed.
	Worked func(ctx context.Context, ref op.StepRef)
}

// Verbs carries out the agent's verbs.
type Verbs struct {
	cfg     Config
	log     *slog.Logger
	journal *journal
	fences  *fences
	flights *flights

	prepare  sync.Mutex
	prepared bool
}

// New makes the verbs. It touches no disk; Housekeep does, and the first changing verb.
func New(cfg Config) *Verbs {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.RuntimeDir == "" {
		cfg.RuntimeDir = filepath.Join(cfg.StateDir, "run")
	}
	if cfg.Output == nil {
		cfg.Output = noOutput{}
	}
	cfg.Policy = cfg.Policy.Defaults()
	// The policy compares real paths, so the agent's own folders must be real ones too.
	for _, dir := range []*string{&cfg.StateDir, &cfg.RuntimeDir, &cfg.DataRoot} {
		if real, err := filepath.EvalSymlinks(*dir); err == nil {
			*dir = real
		}
	}
	return &Verbs{
		cfg: cfg, log: cfg.Logger, journal: newJournal(cfg.StateDir), fences: newFences(cfg.StateDir),
		flights: newFlights(cfg.Logger),
	}
}

// Implementations binds every verb of the contract.
func (v *Verbs) Implementations() []op.Implementation {
	return []op.Implementation{
		changing(v, host.CommandRun, v.commandRun),
		reading(v, host.FileRead, v.fileRead),
		changing(v, host.FileWrite, v.fileWrite),
		reading(v, host.FileStat, v.fileStat),
		changing(v, host.FileRemove, v.fileRemove),
		changing(v, host.FileMkdir, v.fileMkdir),
		changing(v, host.JobStart, v.jobStart),
		changing(v, host.JobWait, v.jobWait),
		changing(v, host.JobCollect, v.jobCollect),
		changing(v, host.JobStop, v.jobStop),
		reading(v, host.PGQuery, v.pgQuery),
		changing(v, host.PGExec, v.pgExec),
		changing(v, host.PGCtl, v.pgCtl),
		changing(v, host.UnitControl, v.unitControl),
		reading(v, host.HostFacts, v.hostFacts),
		reading(v, host.InstanceInspect, v.instanceInspect),
		reading(v, host.PortProbe, v.portProbe),
		changing(v, host.Fence, v.fence),
	}
}

// ready makes the folders of the agent's state.
func (v *Verbs) ready() error {
	v.prepare.Lock()
	defer v.prepare.Unlock()
	if v.prepared {
		return nil
	}
	// Others pass through to the files that are made for them, and list nothing.
	dirs := map[string]os.FileMode{
		v.cfg.StateDir: 0o711, v.cfg.RuntimeDir: 0o711, v.journal.dir: 0o700, v.jobsDir(): 0o700,
	}
	for _, dir := range []string{v.cfg.StateDir, v.cfg.RuntimeDir, v.journal.dir, v.jobsDir()} {
		if err := os.MkdirAll(dir, dirs[dir]); err != nil {
			return fmt.Errorf("make the agent's folder: %w", err)
		}
		if err := os.Chmod(dir, dirs[dir]); err != nil {
			return fmt.Errorf("make the agent's folder: %w", err)
		}
	}
	v.prepared = true
	return nil
}

// Housekeep removes what an agent that was killed left behind and what is too old, at the start and then daily
// until ctx ends.
func (v *Verbs) Housekeep(ctx context.Context) {
	if err := v.ready(); err != nil {
		v.log.Error("prepare the agent's state", "error", err)
	}
	v.removeSecretLeftovers()
	tick := time.NewTicker(24 * time.Hour)
	defer tick.Stop()
	for {
		if err := errors.Join(v.journal.prune(time.Now()), v.pruneJobs(time.Now())); err != nil {
			v.log.Warn("prune old records", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the work under way, for an agent that stops.
func (v *Verbs) Stop() { v.flights.stopAll() }

func (v *Verbs) hostFacts(ctx context.Context, _ op.Nothing) (host.Facts, error) {
	if v.cfg.Facts == nil {
		return host.Facts{}, op.Permanent(op.CodeInternal, "collect facts: the agent has no collector", "")
	}
	return v.cfg.Facts.Facts(ctx)
}

func (v *Verbs) fence(_ context.Context, _ *attempt, in host.FenceIn) (op.Nothing, error) {
	if in.Object == "" {
		return op.Nothing{}, op.Permanent(op.CodeInvalid, "raise fence: no object is named", "")
	}
	return op.Nothing{}, v.fences.raise(in.Object, in.Fence)
}

// closeStream ends a step's output; that it may be incomplete is no fault of the step.
func closeStream(s io.Closer) { _ = s.Close() }

type noOutput struct{}

func (noOutput) Stream(string, string, int) io.WriteCloser { return discard{} }

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
