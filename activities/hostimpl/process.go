package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
)

const (
	// endGrace is what a program gets between being asked to end and being killed.
	endGrace = 5 * time.Second
	// drainGrace is how long output is read after the program's end: a server it started may hold the pipe for ever.
	drainGrace = 500 * time.Millisecond
	// stepVariable marks a program's environment, to find it again if we are killed before its number is noted.
	stepVariable = "PGDROVER_STEP"
)

// processSpec is a program ready to be started: everything in it was checked.
type processSpec struct {
	Path string
	// Argv0 is the name it was asked for by: programs look for their companions beside it.
	Argv0      string
	Args       []string
	Env        []string
	Dir        string
	Credential *syscall.Credential
	Timeout    time.Duration
}

// processEnd is how it ended.
type processEnd struct {
	ExitCode int
	Signal   string
	TimedOut bool
	Duration time.Duration
}

// runProcess runs a program in a session and group of its own and ends the whole group on cancel and timeout. started
// is told the process before anything else; if it fails the process is ended. Output goes to out as it comes.
func runProcess(ctx context.Context, s processSpec, out io.Writer, started func(proc.ID) error) (processEnd, error) {
	var end processEnd
	r, w, err := os.Pipe()
	if err != nil {
		return end, fmt.Errorf("start %s: %w", s.Path, err)
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: s.Path, Args: append([]string{s.Argv0}, s.Args...), Env: s.Env, Dir: s.Dir, Stdout: w, Stderr: w,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Credential: s.Credential},
	}
	begun := time.Now()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return end, fmt.Errorf("start %s: %w", s.Path, err)
	}
	// A child not waited for keeps its number, so this cannot name a stranger.
	id, err := proc.Identify(cmd.Process.Pid)
	if err != nil {
		id = proc.ID{PID: cmd.Process.Pid, Boot: proc.BootID()}
	} else if serr := started(id); serr != nil {
		_ = syscall.Kill(-id.PID, syscall.SIGKILL)
		_ = cmd.Wait()
		return end, serr
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(out, r)
	}()
	end.TimedOut, err = supervise(ctx, cmd, id, s.Timeout)
	end.Duration = time.Since(begun)
	select {
	case <-copied:
	case <-time.After(drainGrace):
		_ = r.SetReadDeadline(time.Now())
		<-copied
	}
	end.ExitCode = cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		end.Signal = ws.Signal().String()
	}
	return end, err
}

// supervise waits for the end and brings it about where it has to.
func supervise(ctx context.Context, cmd *exec.Cmd, id proc.ID, timeout time.Duration) (timedOut bool, err error) {
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	done := ctx.Done()
	var force <-chan time.Time
	for {
		select {
		case werr := <-waited:
			var exit *exec.ExitError
			if werr != nil && !errors.As(werr, &exit) {
				return timedOut, fmt.Errorf("wait for %s: %w", cmd.Path, werr)
			}
			if cerr := context.Cause(ctx); cerr != nil && done == nil {
				killGroup(id.PID)
				return timedOut, cerr
			}
			if timedOut {
				killGroup(id.PID)
			}
			return timedOut, nil
		case <-done:
			done = nil
			_ = syscall.Kill(-id.PID, syscall.SIGTERM)
			force = time.After(endGrace)
		case <-timer.C:
			timedOut = true
			_ = syscall.Kill(-id.PID, syscall.SIGTERM)
			force = time.After(endGrace)
		case <-force:
			killGroup(id.PID)
		}
	}
}

// killGroup ends what is left of a group of ours; there being none is as good.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// tail keeps the last bytes written to it, and counts all.
type tail struct {
	mu    sync.Mutex
	max   int
	buf   []byte
	total int64
}

func newTail(n int) *tail { return &tail{max: n} }

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total += int64(len(p))
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*t.max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.max:]...)
	}
	return len(p), nil
}

// String returns whole lines where there are any, as valid text that JSON and PostgreSQL take.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, cut := t.buf, t.total > int64(len(t.buf))
	if len(b) > t.max {
		b, cut = b[len(b)-t.max:], true
	}
	s := strings.ReplaceAll(strings.ToValidUTF8(string(b), "\uFFFD"), "\x00", "")
	if cut {
		if _, rest, ok := strings.Cut(s, "\n"); ok && rest != "" {
			s = rest
		}
	}
	return strings.TrimRight(s, "\r\n")
}

// Total counts the bytes written.
func (t *tail) Total() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// LastLine is for progress: programs overwrite their line with carriage returns.
func (t *tail) LastLine() string {
	s := t.String()
	if i := strings.LastIndexAny(s, "\r\n"); i >= 0 {
		s = s[i+1:]
	}
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "")
	}
	return strings.TrimSpace(s)
}
