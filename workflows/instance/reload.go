package instance

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// ReloadIn is the input of instance-reload.
type ReloadIn struct {
	Target
}

// Reload makes a server read its configuration files again.
var Reload = op.Define(op.Spec[ReloadIn]{
	Name: "instance-reload", Title: "Reload configuration", Group: "instance", Target: op.TargetInstance,
	Doc:        "Makes the server read postgresql.conf and pg_hba.conf again. No connection is lost.",
	Permission: "instance.operate", Risk: op.RiskChange, Needs: []string{host.PGCtl.Name},
	Deadline: time.Minute, Schedulable: true,
	Undo: "Nothing is undone.",
}, reload)

func reload(ctx workflow.Context, in ReloadIn) (StateOut, error) {
	i, err := managed(ctx, in.InstanceID)
	if err != nil {
		return StateOut{}, err
	}
	return control(ctx, i, "reload", "", "Reload the configuration of "+where(i))
}
