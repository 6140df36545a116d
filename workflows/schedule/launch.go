// Package schedule holds the workflow that a Temporal Schedule starts at each of its times. It is no operation: it
// admits one, or runs one of the manager's service tasks, and lasts as long, so that the overlap rule means the work.
package schedule

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// LaunchName is the workflow's type.
const LaunchName = "schedule-launch"

// SignalEnded is sent to the launch by the end of its operation.
const SignalEnded = "operation-ended"

// Launch runs one time of a schedule.
func Launch(ctx workflow.Context, scheduleID string) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: op.ManagerQueue, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: time.Minute,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
	run := workflow.GetInfo(ctx).WorkflowExecution
	in := manager.ScheduleLaunchIn{
		Schedule: scheduleID, Run: run.RunID, Workflow: run.ID, At: workflow.GetInfo(ctx).WorkflowStartTime,
	}
	var out manager.ScheduleLaunchOut
	if err := workflow.ExecuteActivity(ctx, manager.ScheduleLaunch.Name, in).Get(ctx, &out); err != nil {
		return err
	}
	in.Operation = out.Operation
	for !out.Ended {
		// The signal may be lost with the process that sends it; the timer makes up for that.
		ended := workflow.GetSignalChannel(ctx, SignalEnded)
		ended.ReceiveWithTimeout(ctx, 2*time.Minute, nil)
		if err := workflow.ExecuteActivity(ctx, manager.ScheduleRunState.Name, in).Get(ctx, &out); err != nil {
			return err
		}
	}
	return nil
}
