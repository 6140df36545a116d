package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/workflows/op"
)

const (
	defaultTimeout = time.Hour
	tailBytes      = 4 << 10
	// maxStreamed of one run's output goes to the manager; the tail is kept of all of it.
	maxStreamed = 64 << 20
)

// commandNotes are what a later attempt has to know.
type commandNotes struct {
	// Run counts the times the program was really started.
	Run     int      `json:"run"`
	Process *proc.ID `json:"process,omitempty"`
	// ResetAllowed: ResetDir was empty before the first run, so that what is in it now is the program's.
	ResetAllowed bool `json:"reset_allowed,omitempty"`
}

var envRule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// forbiddenEnv changes which code runs, or is a place where secrets would be seen by all.
var forbiddenEnv = []string{"PGPASSWORD", "PATH", "BASH_ENV", "ENV", "IFS", "PERL5LIB", "PERL5OPT", "PYTHONPATH", stepVariable}

// prepareCommand checks a command against the policy.
func (v *Verbs) prepareCommand(ref op.StepRef, in host.CommandRunIn) (processSpec, osUser, error) {
	var s processSpec
	path, err := v.cfg.Policy.Program(in.Policy, in.Program)
	if err != nil {
		return s, osUser{}, err
	}
	name, err := v.cfg.Policy.OSUser(in.OSUser)
	if err != nil {
		return s, osUser{}, err
	}
	u, err := lookupUser(name)
	if err != nil {
		return s, u, err
	}
	s = processSpec{Path: path, Argv0: in.Program, Args: in.Args, Dir: in.Dir, Timeout: defaultTimeout}
	if in.TimeoutSeconds > 0 {
		s.Timeout = time.Duration(in.TimeoutSeconds) * time.Second
	}
	for i, a := range in.Args {
		if strings.ContainsRune(a, 0) {
			return s, u, op.Permanent(op.CodeInvalid, "prepare command: argument %d holds a zero byte", "", i+1)
		}
	}
	for k, val := range in.Env {
		if !envRule.MatchString(k) || strings.ContainsRune(val, 0) {
			return s, u, op.Permanent(op.CodeInvalid, "prepare command: %q is no variable", "", k)
		}
		if slices.Contains(forbiddenEnv, k) || strings.HasPrefix(k, "LD_") {
			return s, u, op.Permanent(op.CodeForbidden, "prepare command: the variable %s may not be set",
				"Pass secrets as `secret_files`; libraries and search paths are the host's own.", k)
		}
	}
	if s.Dir == "" {
		s.Dir = u.Home
		if fi, err := os.Stat(s.Dir); err != nil || !fi.IsDir() {
			s.Dir = "/"
		}
	}
	s.Env = append(u.environment(in.Program, in.Env), stepVariable+"="+stepKey(ref))
	s.Credential, err = u.credential()
	return s, u, err
}

func stepKey(ref op.StepRef) string { return ref.Operation + "/" + ref.Step }

func (v *Verbs) commandRun(ctx context.Context, at *attempt, in host.CommandRunIn) (out host.CommandRunOut, err error) {
	spec, u, err := v.prepareCommand(at.Ref, in)
	if err != nil {
		return out, err
	}
	var notes commandNotes
	if _, err := at.Notes(&notes); err != nil {
		return out, err
	}
	if err := endEarlier(ctx, at, notes.Process, notes.Run > 0); err != nil {
		return out, err
	}
	if err := v.resetDir(ctx, in.ResetDir, &notes); err != nil {
		return out, err
	}
	// Secrets first: while the manager is away no run has begun.
	secrets, err := v.writeSecrets(ctx, secretDirPrefix, at.Ref.Operation, in.SecretFiles, u)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, secrets.remove()) }()
	if spec.Args, err = secrets.expand(in.Args); err != nil {
		return out, err
	}
	notes.Run, notes.Process = notes.Run+1, nil
	if err := at.Save(notes); err != nil {
		return out, err
	}
	last := newTail(tailBytes)
	stream := v.cfg.Output.Stream(at.Ref.Operation, at.Ref.Step, notes.Run)
	defer closeStream(stream)
	sink := newRedact(io.MultiWriter(last, &limited{to: stream, left: maxStreamed}, progressOf(at, last)), secrets.values)
	end, err := runProcess(ctx, spec, sink, func(id proc.ID) error {
		notes.Process = &id
		return at.Save(notes)
	})
	sink.flush()
	if err != nil {
		return out, err
	}
	return verdict(in, end, last.String(), last.Total())
}

// verdict tells success from failure.
func verdict(in host.CommandRunIn, end processEnd, tail string, bytes int64) (host.CommandRunOut, error) {
	out := host.CommandRunOut{
		ExitCode: end.ExitCode, Tail: tail, OutputBytes: bytes, DurationSeconds: end.Duration.Seconds(), TimedOut: end.TimedOut,
	}
	said := tail
	if said == "" {
		said = "It printed nothing."
	}
	if end.TimedOut {
		return out, op.Permanent(op.CodeTimeout, "run %s: it did not end in %d seconds and was ended. %s",
			"Raise the time limit, or look why the program takes so long.", in.Program, int(end.Duration.Seconds()), said)
	}
	if end.Signal != "" {
		return out, op.Permanent(op.CodeCommandError, "run %s: it was killed by a signal (%s). %s",
			"Look in the kernel's log for the out-of-memory killer.", in.Program, end.Signal, said)
	}
	if end.ExitCode != 0 && !slices.Contains(in.OKExitCodes, end.ExitCode) {
		return out, op.Permanent(op.CodeCommandError, "run %s: it ended with exit code %d. %s", "", in.Program, end.ExitCode, said)
	}
	return out, nil
}

// endEarlier ends the process of an interrupted attempt, so that no two of one step run at a time. If we were killed
// between the start and the note of its number, its environment tells.
func endEarlier(ctx context.Context, at *attempt, noted *proc.ID, ran bool) error {
	if !at.Interrupted {
		return nil
	}
	var old []proc.ID
	if noted != nil {
		old = append(old, *noted)
	} else if ran {
		old = proc.WithEnviron(stepVariable + "=" + stepKey(at.Ref))
	}
	for _, id := range old {
		if err := proc.EndGroup(ctx, id, endGrace); err != nil {
			return fmt.Errorf("end the program of the interrupted attempt: %w", err)
		}
	}
	return nil
}

// resetDir empties the folder that an interrupted run left half filled. It does so only if the first attempt saw it
// empty: what was there before is not the program's.
func (v *Verbs) resetDir(ctx context.Context, dir string, notes *commandNotes) error {
	if dir == "" {
		return nil
	}
	t, err := v.locate(dir, toReplace, true)
	if err != nil {
		return err
	}
	if notes.Run == 0 {
		entries, err := countEntries(t)
		notes.ResetAllowed = err == nil && entries == 0
		return err
	}
	if !notes.ResetAllowed || !t.Exists() {
		return nil
	}
	if err := refuseLiveServer(t.Real()); err != nil {
		return err
	}
	_, err = emptyDir(ctx, t.Real(), nil)
	return err
}

// limited passes on only the first bytes and then says so.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := len(p)
	if l.left <= 0 {
		return n, nil
	}
	if len(p) > l.left {
		p = append(p[:l.left:l.left], "\n[the rest of the output was not sent]\n"...)
	}
	l.left -= n
	_, _ = l.to.Write(p)
	return n, nil
}

// progressOf reports the program's last line with each output.
func progressOf(at *attempt, last *tail) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		at.Progress(progressFrom(last.LastLine(), last.Total()))
		return len(p), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
