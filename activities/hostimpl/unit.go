package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/facts"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// unitTimeout is above systemd's own limits for the starting and stopping of a service.
const unitTimeout = 10 * time.Minute

// Systemd tells whether systemd runs this host's services.
func Systemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

func (v *Verbs) systemd() bool { return !v.cfg.NoSystemd && Systemd() }

func (v *Verbs) unitControl(ctx context.Context, at *attempt, in host.UnitControlIn) (out host.UnitControlOut, err error) {
	switch in.Action {
	case "start", "stop", "restart", "reload", "enable", "disable":
	default:
		return out, op.Permanent(op.CodeInvalid, "control unit %s: %q is no action", "", in.Unit, in.Action)
	}
	if err := v.cfg.Policy.Unit(in.Unit); err != nil {
		return out, err
	}
	at.Progress(host.Progress{Note: in.Action + " of " + in.Unit})
	out.ActiveState, err = v.unitAction(ctx, in.Unit, in.Action)
	return out, err
}

// unitAction asks systemd and waits for the job's result. Asked again after an interruption it restarts a service
// once more only for "restart", which callers that need it once guard by the server's process (pg-ctl does).
func (v *Verbs) unitAction(ctx context.Context, unit, action string) (state string, err error) {
	if !v.systemd() {
		return "", op.Permanent("no-systemd", "%s unit %s: systemd does not run on this host",
			"Leave out the unit of the instance: pg_ctl is used then.", action, unit)
	}
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return "", op.Transient("no-systemd", fmt.Errorf("connect to systemd: %w", err))
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, unitTimeout, errUnitTimeout)
	defer cancel()
	result := make(chan string, 1)
	switch action {
	case "start":
		_, err = conn.StartUnitContext(ctx, unit, "replace", result)
	case "stop":
		_, err = conn.StopUnitContext(ctx, unit, "replace", result)
	case "restart":
		_, err = conn.RestartUnitContext(ctx, unit, "replace", result)
	case "reload":
		_, err = conn.ReloadUnitContext(ctx, unit, "replace", result)
	case "enable":
		_, _, err = conn.EnableUnitFilesContext(ctx, []string{unit}, false, false)
		result <- "done"
	case "disable":
		_, err = conn.DisableUnitFilesContext(ctx, []string{unit}, false)
		result <- "done"
	}
	if err != nil {
		return "", op.Permanent(op.CodeCommandError, "%s unit %s: %v", "", action, unit, err)
	}
	select {
	case r := <-result:
		if r != "done" {
			return "", op.Permanent(
				op.CodeCommandError,
				"%s unit %s: systemd says %q",
				"Look at `systemctl status` and the journal of the unit.",
				action,
				unit,
				r,
			)
		}
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if action == "enable" || action == "disable" {
		err = conn.ReloadContext(ctx)
	}
	p, perr := conn.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err = errors.Join(err, perr); err != nil {
		return "", fmt.Errorf("%s unit %s: %w", action, unit, err)
	}
	state, _ = p.Value.Value().(string)
	return state, nil
}

var errUnitTimeout = op.Permanent(
	op.CodeTimeout,
	"systemd did not finish in time",
	"Look at `systemctl status` and the journal of the unit.",
)

// unitLog returns the last lines that a unit logged, for the message of a failed start.
func unitLog(ctx context.Context, unit string) string {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	out, err := proc.Output(ctx, nil, []string{"LC_ALL=C"}, "/usr/bin/journalctl", "--no-pager", "-o", "cat", "-n", "20", "-u", unit)
	if err != nil {
		return ""
	}
	t := newTail(tailBytes)
	_, _ = t.Write([]byte(out))
	return t.String()
}

// unit carries out the action of pg-ctl through the service's unit and waits for the server itself.
func (c *control) unit(ctx context.Context, action string) error {
	c.notes.Run++
	if err := c.at.Save(c.notes); err != nil {
		return err
	}
	c.at.Progress(host.Progress{Note: action + " of " + c.in.Unit})
	if _, err := c.v.unitAction(ctx, c.in.Unit, action); err != nil {
		if f := op.FailureOf(err); f.Code == op.CodeCommandError && (action == "start" || action == "restart") {
			said := unitLog(ctx, c.in.Unit)
			return op.Permanent(codeStartFailed, "%s. %s", startHint(said), f.Message, said)
		}
		return err
	}
	switch action {
	case "start", "restart":
		return c.awaitUp(ctx)
	case "stop":
		return c.await(ctx, "stop", func() (bool, error) {
			_, up := facts.LivePostmaster(c.dir)
			return !up, nil
		})
	}
	return nil
}
