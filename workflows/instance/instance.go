// Package instance holds the operations on PostgreSQL instances, one file each. They compose the agent's verbs;
// no new verb is needed for most new operations.
package instance

import (
	"fmt"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// Target is the input part all operations on one instance share.
type Target struct {
	InstanceID string `json:"instance_id" format:"uuid" doc:"The instance"`
}

// StateOut is the result of operations that change whether a server runs.
type StateOut struct {
	Status  string `json:"status" doc:"running, stopped, ..."`
	Changed bool   `json:"changed" doc:"False where nothing was to be done"`
	PID     int    `json:"pid,omitempty"`
}

// managed loads the record and refuses what is not ours to touch.
func managed(ctx workflow.Context, id string) (manager.Instance, error) {
	i, err := manager.InstanceGet.Do(ctx, "Look up the instance", manager.ObjectIn{ID: id})
	if err != nil {
		return i, err
	}
	if i.Conflict != "" {
		return i, op.Permanent("instance-held", "Instance %s is held by the agent of host %s.",
			"Use the other host's record, or revoke that host first.", i.Name, i.Conflict)
	}
	if !i.Managed {
		return i, op.Permanent("instance-not-managed", "Instance %s was discovered but not adopted.",
			"Adopt it first (operation instance-adopt).", i.Name)
	}
	return i, nil
}

// control runs pg-ctl on the instance and records the state it left.
func control(ctx workflow.Context, i manager.Instance, action, mode, title string) (StateOut, error) {
	out, err := host.PGCtl.Do(ctx, title, host.PGCtlIn{
		Action: action, Mode: mode, BinDir: i.BinDir, DataDirectory: i.DataDirectory, OSUser: i.OSUser, Unit: i.Unit,
	})
	if err != nil {
		return StateOut{}, err
	}
	if err := observed(ctx, i.ID, out.Instance); err != nil {
		return StateOut{}, err
	}
	return StateOut{Status: out.Instance.Status, Changed: out.Changed, PID: out.Instance.PID}, nil
}

func observed(ctx workflow.Context, id string, seen host.Instance) error {
	in := manager.InstanceObservedIn{ID: id, Observed: seen}
	_, err := manager.InstanceObserved.Do(ctx, "Record the state", in)
	return err
}

func where(i manager.Instance) string { return fmt.Sprintf("%s (port %d)", i.Name, i.Port) }
