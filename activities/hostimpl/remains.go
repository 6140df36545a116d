package hostimpl

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/internal/postgres"
)

// remainsWait is how long a start waits for what is left of a killed server; then the new one says what is wrong.
const remainsWait = 10 * time.Second

// awaitRemains waits for what a killed server leaves for a moment: backends that have not noticed yet, and its own
// number until init has taken note of its end. A server started beside them refuses.
func (c *control) awaitRemains(ctx context.Context) error {
	deadline := time.NewTimer(remainsWait)
	defer deadline.Stop()
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for c.remains() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (c *control) remains() bool {
	for _, pid := range proc.All() {
		st, err := proc.Read(pid)
		if err == nil && st.Comm == "postgres" && !st.Dead() && proc.Cwd(pid) == c.dir && proc.SameWorld(pid) {
			return true
		}
	}
	b, err := os.ReadFile(filepath.Join(c.dir, "postmaster.pid"))
	if err != nil {
		return false
	}
	pm, err := postgres.ParsePostmaster(b)
	if err != nil {
		return false
	}
	st, err := proc.Read(pm.PID)
	return err == nil && st.Dead()
}
