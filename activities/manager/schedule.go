package manager

import (
	"time"

	"github.com/pgdrover/pgdrover/workflows/op"
)

// The activities of schedules.
var (
	ScheduleLaunch   = op.Activity[ScheduleLaunchIn, ScheduleLaunchOut]{Name: "schedule-admit", Side: op.OnManager, Profile: op.Watched}
	ScheduleRunState = op.Activity[ScheduleLaunchIn, ScheduleLaunchOut]{Name: "schedule-run-state", Side: op.OnManager, Profile: op.Repo}
)

// ScheduleLaunchIn is one time of a schedule. Run is the launch workflow's run id and makes it idempotent.
type ScheduleLaunchIn struct {
	Schedule  string    `json:"schedule"`
	Workflow  string    `json:"workflow"`
	Run       string    `json:"run"`
	At        time.Time `json:"at"`
	Operation string    `json:"operation,omitempty"`
}

// ScheduleLaunchOut tells whether the work has ended already: service tasks and refused operations have.
type ScheduleLaunchOut struct {
	Operation string `json:"operation,omitempty"`
	Ended     bool   `json:"ended"`
}
