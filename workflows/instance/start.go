package instance

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// StartIn is the input of instance-start.
type StartIn struct {
	Target
}

// Start starts a stopped instance.
var Start = op.Define(op.Spec[StartIn]{
	Name: "instance-start", Title: "Start instance", Group: "instance", Target: op.TargetInstance,
	Doc:        "Starts the server and waits until it takes connections. A running one is left as it is.",
	Permission: "instance.operate", Risk: op.RiskChange, Needs: []string{host.PGCtl.Name},
	Deadline: 5 * time.Minute, Schedulable: true,
	Undo: "A server started by the operation is left running.", From: host.InstanceStopped,
}, start)

func start(ctx workflow.Context, in StartIn) (StateOut, error) {
	i, err := managed(ctx, in.InstanceID)
	if err != nil {
		return StateOut{}, err
	}
	return control(ctx, i, "start", "", "Start "+where(i))
}
