package instance

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// StopIn is the input of instance-stop.
type StopIn struct {
	Target
	Mode string `json:"mode,omitempty" enum:"smart,fast,immediate" default:"fast" doc:"Shutdown mode: smart waits for clients to leave, fast ends their sessions, immediate skips the checkpoint and needs crash recovery at the next start"`
}

// Stop stops a running instance.
var Stop = op.Define(op.Spec[StopIn]{
	Name: "instance-stop", Title: "Stop instance", Group: "instance", Target: op.TargetInstance,
	Doc:        "Stops the server. Clients lose their connections (fast, immediate) or are waited for (smart).",
	Permission: "instance.operate", Risk: op.RiskDisrupt, Needs: []string{host.PGCtl.Name},
	Deadline: 10 * time.Minute, Schedulable: true,
	Undo: "Nothing is undone: a stopped server stays stopped.",
}, stop)

func stop(ctx workflow.Context, in StopIn) (StateOut, error) {
	i, err := managed(ctx, in.InstanceID)
	if err != nil {
		return StateOut{}, err
	}
	return control(ctx, i, "stop", in.Mode, "Stop "+where(i)+", mode "+in.Mode)
}
