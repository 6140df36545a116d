package hostimpl

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/facts"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/internal/postgres"
	"github.com/pgdrover/pgdrover/workflows/op"
)

const (
	defaultWait = 60
	// afterWait is what pg_ctl itself may take beyond the time it waits for the server.
	afterWait  = 30 * time.Second
	statusPoll = 200 * time.Millisecond
	// codeStartFailed: the server did not come up; the message has what it logged.
	codeStartFailed = "start-failed"
	// serverLog is in the data directory, where no other log is named.
	serverLog = "server.log"
)

// ctlNotes tell an interrupted attempt's successor which server there was.
type ctlNotes struct {
	commandNotes
	// Before is the postmaster at the first attempt, nil if there was none; Noted says that it was looked for.
	Before *proc.ID `json:"before,omitempty"`
	Noted  bool     `json:"noted"`
}

// control is one attempt of pg-ctl.
type control struct {
	v     *Verbs
	at    *attempt
	in    host.PGCtlIn
	dir   string
	user  osUser
	wait  int
	log   string
	notes ctlNotes
}

func (v *Verbs) pgCtl(ctx context.Context, at *attempt, in host.PGCtlIn) (out host.PGCtlOut, err error) {
	if in.Action == "stop" && safefs.Check(in.DataDirectory) == nil && !exists(filepath.Join(in.DataDirectory, "PG_VERSION")) {
		// An undo stops what may never have been made.
		out.Instance, err = v.facts().Inspect(ctx, in.DataDirectory, "")
		return out, err
	}
	c, err := v.newControl(at, in)
	if err != nil {
		return out, err
	}
	if err := c.awaitEarlier(ctx); err != nil {
		return out, err
	}
	if !c.notes.Noted {
		c.notes.Noted = true
		if pm, ok := facts.LivePostmaster(c.dir); ok {
			if id, err := proc.Identify(pm.PID); err == nil {
				c.notes.Before = &id
			}
		}
		if err := at.Save(c.notes); err != nil {
			return out, err
		}
	}
	switch in.Action {
	case "start":
		out.Changed, err = c.start(ctx)
	case "stop":
		out.Changed, err = c.stop(ctx)
	case "restart":
		out.Changed, err = c.restart(ctx)
	case "reload":
		out.Changed, err = c.reload(ctx)
	case "promote":
		out.Changed, err = c.promote(ctx)
	}
	if err != nil {
		return host.PGCtlOut{}, err
	}
	out.Instance, err = v.facts().Inspect(ctx, in.DataDirectory, in.BinDir)
	if in.Unit != "" {
		out.Instance.Unit = in.Unit
	}
	return out, err
}

// newControl checks everything before anything is touched.
func (v *Verbs) newControl(at *attempt, in host.PGCtlIn) (*control, error) {
	c := &control{v: v, at: at, in: in, wait: in.WaitSeconds}
	switch in.Action {
	case "start", "stop", "restart", "reload", "promote":
	default:
		return nil, op.Permanent(op.CodeInvalid, "control server: %q is no action", "", in.Action)
	}
	switch in.Mode {
	case "", "smart", "fast", "immediate":
	default:
		return nil, op.Permanent(op.CodeInvalid, "control server: %q is no mode of stopping", "", in.Mode)
	}
	if c.wait <= 0 {
		c.wait = defaultWait
	}
	if err := safefs.Check(in.DataDirectory); err != nil {
		return nil, op.Permanent(op.CodeInvalid, "%v", "", err)
	}
	dir, missing, err := safefs.Resolve(in.DataDirectory, true)
	if err != nil {
		return nil, classify(err)
	}
	if len(missing) > 0 || !exists(filepath.Join(dir, "PG_VERSION")) {
		return nil, op.Permanent(op.CodeNotFound, "control server: %s is no data directory", "Check the path of the instance.",
			in.DataDirectory)
	}
	c.dir = dir
	if err := v.heldByOther(in.DataDirectory); err != nil {
		return nil, err
	}
	if in.Unit != "" {
		if err := v.cfg.Policy.Unit(in.Unit); err != nil {
			return nil, err
		}
	}
	name := in.OSUser
	if name == "" {
		if name, err = ownerOf(dir); err != nil {
			return nil, fmt.Errorf("control server: %w", err)
		}
	}
	if name, err = v.cfg.Policy.OSUser(name); err != nil {
		return nil, err
	}
	if c.user, err = lookupUser(name); err != nil {
		return nil, err
	}
	c.log = in.LogFile
	if c.log == "" {
		c.log = filepath.Join(dir, serverLog)
	}
	_, err = at.Notes(&c.notes)
	return c, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// current returns the running server.
func (c *control) current() (postgres.Postmaster, bool) { return facts.LivePostmaster(c.dir) }

// same tells whether the running server is the one noted at the first attempt.
func (c *control) same(pm postgres.Postmaster) bool {
	id, err := proc.Identify(pm.PID)
	return err == nil && c.notes.Before != nil && id == *c.notes.Before
}

func (c *control) start(ctx context.Context) (bool, error) {
	if pm, ok := c.current(); ok {
		// A server that another attempt of ours started is our change; one that ran before is not.
		return c.at.Interrupted && !c.same(pm), c.awaitUp(ctx)
	}
	if err := c.awaitRemains(ctx); err != nil {
		return false, err
	}
	if c.in.Unit != "" {
		return true, c.unit(ctx, "start")
	}
	return true, c.run(ctx, "start")
}

func (c *control) stop(ctx context.Context) (bool, error) {
	if _, ok := c.current(); !ok {
		return c.notes.Before != nil, nil
	}
	if c.in.Unit != "" {
		return true, c.unit(ctx, "stop")
	}
	return true, c.run(ctx, "stop")
}

// restart happens once: a server other than the noted one is the result of an earlier attempt.
func (c *control) restart(ctx context.Context) (bool, error) {
	pm, ok := c.current()
	if ok && c.at.Interrupted && c.notes.Run > 0 && !c.same(pm) {
		return true, c.awaitUp(ctx)
	}
	if !ok {
		if err := c.awaitRemains(ctx); err != nil {
			return false, err
		}
	}
	if c.in.Unit != "" {
		return true, c.unit(ctx, "restart")
	}
	return true, c.run(ctx, "restart")
}

func (c *control) reload(ctx context.Context) (bool, error) {
	if _, ok := c.current(); !ok {
		return false, errNotRunning("reload", c.dir)
	}
	if c.in.Unit != "" {
		return true, c.unit(ctx, "reload")
	}
	return true, c.run(ctx, "reload")
}

func (c *control) promote(ctx context.Context) (bool, error) {
	if _, ok := c.current(); !ok {
		return false, errNotRunning("promote", c.dir)
	}
	in, err := c.v.facts().Inspect(ctx, c.dir, c.in.BinDir)
	if err != nil {
		return false, err
	}
	if in.Role == "primary" {
		return c.at.Interrupted && c.notes.Run > 0, nil
	}
	return true, c.run(ctx, "promote")
}

// awaitEarlier waits for the pg_ctl of an interrupted attempt, which goes on without us. It is not ended: a server
// half started would be in the way of the next start.
func (c *control) awaitEarlier(ctx context.Context) error {
	if !c.at.Interrupted || c.notes.Run == 0 {
		return nil
	}
	var old []proc.ID
	if c.notes.Process != nil {
		old = append(old, *c.notes.Process)
	} else {
		// The server inherits the mark too; what is waited for is pg_ctl alone.
		for _, id := range proc.WithEnviron(stepVariable + "=" + stepKey(c.at.Ref)) {
			if filepath.Base(proc.Exe(id.PID)) == "pg_ctl" {
				old = append(old, id)
			}
		}
	}
	for _, id := range old {
		err := c.await(ctx, c.in.Action, func() (bool, error) { return !id.Alive(), nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitUp waits until a server that runs takes connections.
func (c *control) awaitUp(ctx context.Context) error {
	return c.await(ctx, "start", func() (bool, error) {
		pm, ok := c.current()
		if !ok {
			return false, op.Permanent(codeStartFailed, "start %s: the server ended while it was starting. %s", "", c.dir, c.logTail(0))
		}
		return pm.Status == postgres.PMReady || pm.Status == postgres.PMStandby, nil
	})
}

func (c *control) await(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.NewTimer(time.Duration(c.wait) * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return c.timeout(what)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// run carries out the action by pg_ctl.
func (c *control) run(ctx context.Context, action string) error {
	program, err := c.v.cfg.Policy.Program(RuleBinaries, filepath.Join(c.in.BinDir, "pg_ctl"))
	if err != nil {
		return err
	}
	cred, err := c.user.credential()
	if err != nil {
		return err
	}
	args := []string{action, "-D", c.dir, "-w", "-t", strconv.Itoa(c.wait)}
	logFrom := int64(0)
	if action == "start" || action == "restart" {
		if logFrom, err = c.prepareLog(); err != nil {
			return err
		}
		args = append(args, "-l", c.log)
	}
	if action == "stop" || action == "restart" {
		args = append(args, "-m", c.mode())
	}
	if f := c.v.facts().ConfigFile(c.dir); f != "" && action == "start" {
		args = append(args, "-o", "-c config_file="+f)
	}
	c.notes.Run, c.notes.Process = c.notes.Run+1, nil
	if err := c.at.Save(c.notes); err != nil {
		return err
	}
	c.at.Progress(host.Progress{Note: action + " of " + c.dir})
	last := newTail(tailBytes)
	stream := c.v.cfg.Output.Stream(c.at.Ref.Operation, c.at.Ref.Step, c.notes.Run)
	defer closeStream(stream)
	spec := processSpec{
		Path: program, Argv0: filepath.Join(c.in.BinDir, "pg_ctl"), Args: args, Dir: "/", Credential: cred,
		Env:     append(c.user.environment(filepath.Join(c.in.BinDir, "pg_ctl"), nil), stepVariable+"="+stepKey(c.at.Ref)),
		Timeout: time.Duration(c.wait)*time.Second + afterWait,
	}
	end, err := runProcess(ctx, spec, io.MultiWriter(last, stream), func(id proc.ID) error {
		c.notes.Process = &id
		return c.at.Save(c.notes)
	})
	if err != nil {
		return err
	}
	if end.ExitCode == 0 && end.Signal == "" {
		return nil
	}
	return c.failed(action, end, last.String(), logFrom)
}

func (c *control) mode() string {
	if c.in.Mode == "" {
		return "fast"
	}
	return c.in.Mode
}

// prepareLog makes the server's log, which its user could not in a directory of root's, and tells its length.
func (c *control) prepareLog() (int64, error) {
	t, err := c.v.locate(c.log, toWrite, false)
	if err != nil {
		return 0, err
	}
	if len(t.Missing) > 1 {
		return 0, op.Permanent(op.CodeNotFound, "make the log %s: its folder does not exist", "", c.log)
	}
	dir, err := safefs.OpenDir(filepath.Dir(t.Real()))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	f, err := safefs.OpenFile(dir, filepath.Base(t.Real()), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("make the log %s: %w", c.log, err)
	}
	if !fi.Mode().IsRegular() {
		return 0, op.Permanent(op.CodeInvalid, "make the log %s: it is no ordinary file", "", c.log)
	}
	// Only a new file is handed over: an existing one may be anybody's.
	if !t.Exists() && os.Geteuid() == 0 {
		if err := f.Chown(int(c.user.UID), int(c.user.GID)); err != nil {
			return 0, fmt.Errorf("make the log %s: %w", c.log, err)
		}
	}
	c.log = t.Real()
	return fi.Size(), nil
}

// failed says why pg_ctl did not succeed.
func (c *control) failed(action string, end processEnd, said string, logFrom int64) error {
	_, running := c.current()
	starting := action == "start" || action == "restart"
	switch {
	case end.TimedOut, strings.Contains(said, "did not start in time"), strings.Contains(said, "does not shut down"),
		strings.Contains(said, "did not promote in time"), strings.Contains(said, "still starting up") && running:
		what := action
		if action == "restart" && strings.Contains(said, "does not shut down") {
			what = "stop"
		}
		return c.timeout(what)
	case starting && !running:
		tail := c.logTail(logFrom)
		return op.Permanent(codeStartFailed, "%s %s: the server did not start. %s", startHint(tail+said), action, c.dir,
			firstOf(tail, said))
	}
	return op.Permanent(op.CodeCommandError, "%s %s: pg_ctl ended with exit code %d. %s", "", action, c.dir, end.ExitCode, said)
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if strings.TrimSpace(t) != "" {
			return t
		}
	}
	return "It logged nothing."
}

// timeout says what the server was waiting for.
func (c *control) timeout(action string) error {
	if action == "stop" || action == "restart" {
		clients := "of its clients nothing is known"
		if pm, ok := c.current(); ok {
			clients = fmt.Sprintf("%d clients are connected", countClients(pm.PID))
		}
		hint := "It still tries to stop and takes no new connections; it ends when its clients leave."
		if c.mode() == "smart" {
			hint += " Stop it in fast mode to end their sessions."
		}
		return op.Permanent(op.CodeTimeout, "%s %s: it did not stop within %d seconds in %s mode; %s", hint, action, c.dir, c.wait,
			c.mode(), clients)
	}
	return op.Permanent(op.CodeTimeout, "%s %s: it was not ready within %d seconds",
		"It goes on by itself, recovering perhaps; look at its log and wait for it.", action, c.dir, c.wait)
}
