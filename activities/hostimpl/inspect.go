package hostimpl

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/facts"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/internal/postgres"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// controlTimeout bounds one pg_controldata.
const controlTimeout = 10 * time.Second

// facts returns the collector, one without memory where the agent has none.
func (v *Verbs) facts() FactsSource {
	if v.cfg.Facts != nil {
		return v.cfg.Facts
	}
	return facts.New(facts.Options{Folders: v.cfg.Policy.Folders, InstanceOSUser: v.cfg.Policy.InstanceOSUser, Logger: v.log})
}

func (v *Verbs) instanceInspect(ctx context.Context, in host.InstanceInspectIn) (host.Instance, error) {
	if err := safefs.Check(in.DataDirectory); err != nil {
		return host.Instance{}, op.Permanent(op.CodeInvalid, "%v", "", err)
	}
	if in.BinDir != "" {
		if _, err := v.cfg.Policy.Program(RuleBinaries, filepath.Join(in.BinDir, "postgres")); err != nil {
			return host.Instance{}, err
		}
	}
	out, err := v.facts().Inspect(ctx, in.DataDirectory, in.BinDir)
	if err != nil {
		return out, err
	}
	if out.SystemIdentifier == "" && out.Status != host.InstanceMissing && out.BinDir != "" {
		v.askControlData(ctx, &out)
	}
	if in.Conn != nil && out.Status == host.InstanceRunning {
		ref, _ := op.Ref(ctx)
		if err := v.askServer(ctx, *in.Conn, ref.Operation, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// askControlData runs pg_controldata where the control file's layout is not the one we know.
func (v *Verbs) askControlData(ctx context.Context, out *host.Instance) {
	program, err := v.cfg.Policy.Program(RuleBinaries, filepath.Join(out.BinDir, "pg_controldata"))
	if err != nil {
		return
	}
	u, err := lookupUser(out.OSUser)
	if err != nil {
		return
	}
	cred, err := u.credential()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	text, err := proc.Output(ctx, cred, append(u.environment(program, nil), "LC_ALL=C"), program, out.DataDirectory)
	if err != nil {
		v.log.Debug("pg_controldata failed", "data_directory", out.DataDirectory, "error", err)
		return
	}
	c, err := postgres.ParseControlData(text)
	if err != nil {
		return
	}
	out.SystemIdentifier = c.SystemIdentifier
	out.Role = "primary"
	if c.State.Standby() {
		out.Role = "standby"
	}
	if out.PID == 0 && !c.State.Clean() {
		out.Status = host.InstanceCrashed
	}
}

// askServer takes role, version and edition from the server itself.
func (v *Verbs) askServer(ctx context.Context, c host.PGConn, operation string, out *host.Instance) error {
	conn, err := v.connect(ctx, c, operation,
		sessionParams(10*time.Second, map[string]string{"default_transaction_read_only": "on"}))
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	const sql = `SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_version'),
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc WHERE proname = 'pgpro_edition'),
		pg_catalog.current_setting('data_directory', true)`
	r := conn.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
	if r.Err != nil {
		return sqlError(ctx, "ask the server", r.Err)
	}
	row := r.Rows[0]
	out.Role = "primary"
	if string(row[0]) == "t" {
		out.Role = "standby"
	}
	out.Version, _, _ = strings.Cut(string(row[1]), " ")
	out.Edition = postgres.EditionPostgreSQL
	if !bytes.Equal(row[2], []byte("0")) {
		e := conn.ExecParams(ctx, "SELECT pgpro_edition()", nil, nil, nil, nil).Read()
		if e.Err != nil {
			return sqlError(ctx, "ask the server for its edition", e.Err)
		}
		out.Edition = postgres.EditionOf(string(e.Rows[0][0]))
	}
	// Two servers may share a port on different addresses: the answer must come from the one that was meant.
	if dir := string(row[3]); dir != "" {
		theirs, err1 := filepath.EvalSymlinks(dir)
		ours, err2 := filepath.EvalSymlinks(out.DataDirectory)
		if err1 == nil && err2 == nil && theirs != ours {
			return op.Permanent("other-instance", "inspect %s: the server at port %d serves %s",
				"Check port and socket directory of the instance.", out.DataDirectory, c.Port, dir)
		}
	}
	return nil
}

func (v *Verbs) portProbe(_ context.Context, in host.PortProbeIn) (host.PortProbeOut, error) {
	if in.Port < 1 || in.Port > 65535 {
		return host.PortProbeOut{}, op.Permanent(op.CodeInvalid, "probe port: %d is no TCP port", "", in.Port)
	}
	used, who := proc.Listening(in.Port)
	return host.PortProbeOut{InUse: used, Process: who}, nil
}

// errNotRunning is the answer to what only a running server can do.
func errNotRunning(action, dir string) error {
	return op.Permanent("not-running", "%s %s: no server runs on it", "Start the instance first.", action, dir)
}

func (v *Verbs) heldByOther(dir string) error {
	if by := v.facts().Conflict(dir); by != "" {
		return op.Permanent("instance-conflict", "control %s: another agent (%s) holds this instance", "Stop one of the two agents.",
			dir, by)
	}
	return nil
}
