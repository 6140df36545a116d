package instance

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// RestartIn is the input of instance-restart.
type RestartIn struct {
	Target
	Mode string `json:"mode,omitempty" enum:"smart,fast,immediate" default:"fast" doc:"Shutdown mode: smart waits for clients to leave, fast ends their sessions, immediate skips the checkpoint and needs crash recovery at the next start"`
}

// Restart restarts an instance exactly once, whatever dies meanwhile.
var Restart = op.Define(op.Spec[RestartIn]{
	Name: "instance-restart", Title: "Restart instance", Group: "instance", Target: op.TargetInstance,
	Doc:        "Stops and starts the server, once. Clients lose their connections; a stopped server is started.",
	Permission: "instance.operate", Risk: op.RiskDisrupt, Needs: []string{host.PGCtl.Name},
	Deadline: 10 * time.Minute, Schedulable: true,
	Undo: "Nothing is undone.",
}, restart)

func restart(ctx workflow.Context, in RestartIn) (StateOut, error) {
	i, err := managed(ctx, in.InstanceID)
	if err != nil {
		return StateOut{}, err
	}
	return control(ctx, i, "restart", in.Mode, "Restart "+where(i)+", mode "+in.Mode)
}
