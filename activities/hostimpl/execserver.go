package hostimpl

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
)

// ExecServerCommand is the hidden subcommand that the unit of an instance runs.
const ExecServerCommand = "exec-server"

// ExecServer becomes the server of an instance, for the unit pgdrover-postgresql@. The settings of the unit were
// written by the manager, so the policy is asked again: only a server's program of an allowed folder is run.
func ExecServer(p Policy) error {
	bin, data := os.Getenv("PGBIN"), os.Getenv("PGDATA")
	if err := safefs.Check(data); err != nil {
		return fmt.Errorf("run server: PGDATA: %w", err)
	}
	named := filepath.Join(bin, "postgres")
	program, err := p.Program(RuleBinaries, named)
	if err != nil {
		return err
	}
	// Of the environment only what the unit gives for it: the socket by which the server says that it is ready, and
	// how its processes are rated when memory runs out.
	env := []string{"PGDATA=" + data, "PATH=" + bin + ":/usr/bin:/bin", "LANG=" + plainLocale()}
	for _, k := range []string{"NOTIFY_SOCKET", "HOME", "PG_OOM_ADJUST_FILE", "PG_OOM_ADJUST_VALUE"} {
		if s := os.Getenv(k); s != "" {
			env = append(env, k+"="+s)
		}
	}
	return fmt.Errorf("run %s: %w", program, syscall.Exec(program, []string{named, "-D", data}, env))
}
