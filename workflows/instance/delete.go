package instance

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// DeleteIn is the input of instance-delete.
type DeleteIn struct {
	Target
	WithData    bool   `json:"with_data,omitempty" example:"true" doc:"Stop the server and remove its data directory; otherwise pgdrover only forgets the instance"`
	ConfirmName string `json:"confirm_name" doc:"The instance's name, typed again"`
}

// DeleteOut tells what was removed.
type DeleteOut struct {
	RemovedBytes int64 `json:"removed_bytes" doc:"Size of the removed data directory"`
}

// Delete forgets an instance, with its data on request.
var Delete = op.Define(op.Spec[DeleteIn]{
	Name: "instance-delete", Title: "Delete instance", Group: "instance", Target: op.TargetInstance,
	Doc: "Forgets the instance, or stops it and removes its data directory for good. A forgotten instance that still " +
		"exists is discovered again.",
	Permission: "instance.delete", Risk: op.RiskDestroy, Needs: []string{host.PGCtl.Name, host.FileRemove.Name},
	Deadline: 30 * time.Minute,
	Undo:     "Until the server is stopped nothing has happened; from then on the operation only goes forward.",
}, remove)

func remove(ctx workflow.Context, in DeleteIn) (DeleteOut, error) {
	var out DeleteOut
	i, err := managed(ctx, in.InstanceID)
	if err != nil {
		return out, err
	}
	if in.WithData {
		op.Commit(ctx)
		if _, err := host.PGCtl.Do(ctx, "Stop "+where(i), host.PGCtlIn{
			Action: "stop", Mode: "fast", BinDir: i.BinDir, DataDirectory: i.DataDirectory, OSUser: i.OSUser, Unit: i.Unit,
		}); err != nil {
			return out, err
		}
		rm, err := host.FileRemove.Do(ctx, "Remove "+i.DataDirectory, host.FileRemoveIn{
			Path: i.DataDirectory, Recursive: true, Marker: "PG_VERSION",
		})
		if err != nil {
			return out, err
		}
		out.RemovedBytes = rm.Bytes
	}
	_, err = manager.InstanceForget.Do(ctx, "Forget "+i.Name, manager.ObjectIn{ID: i.ID})
	return out, err
}
