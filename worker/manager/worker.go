// Package manager builds the managers' Temporal worker: the workflows of all operations and the activities that run
// beside the manager. An interceptor sees each manager-side step and writes it down, as the gateway does for the
// steps of agents.
package manager

import (
	"fmt"
	"time"

	"github.com/pgdrover/pgdrover/activities/managerimpl"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/pgdrover/pgdrover/workflows/schedule"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// New builds the worker; the caller starts and stops it.
func New(c client.Client, acts *managerimpl.Activities, hook StepHook) (worker.Worker, error) {
	worker.SetStickyWorkflowCacheSize(2000)
	w := worker.New(c, op.ManagerQueue, worker.Options{
		MaxConcurrentWorkflowTaskPollers: 4,
		MaxConcurrentActivityTaskPollers: 4,
		DisableRegistrationAliasing:      true,
		WorkerStopTimeout:                5 * time.Second,
		// A task lost with a killed manager is found again after this time.
		StickyScheduleToStartTimeout: 2 * time.Second,
		Interceptors:                 []interceptor.WorkerInterceptor{&stepRecorder{db: acts.DB, log: acts.Log, hook: hook}},
	})
	seen := map[string]bool{}
	for _, o := range workflows.All {
		name := o.Info().Name
		if seen[name] {
			return nil, fmt.Errorf("operation %s is listed twice", name)
		}
		seen[name] = true
		w.RegisterWorkflowWithOptions(o.Workflow(), workflow.RegisterOptions{Name: name})
	}
	w.RegisterWorkflowWithOptions(schedule.Launch, workflow.RegisterOptions{Name: schedule.LaunchName})
	for _, i := range acts.Implementations() {
		w.RegisterActivityWithOptions(i.Func, i.Options)
	}
	return w, nil
}
