package whole_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type scheduleRecord struct {
	ID, Name, Kind string
	OperationName  string `json:"operation_name"`
	Paused         bool
	Actor          string
	NextRuns       []time.Time `json:"next_runs"`
	LastRun        *runRecord  `json:"last_run"`
}

type runRecord struct {
	State, Summary string
	OperationID    string     `json:"operation_id"`
	EndedAt        *time.Time `json:"ended_at"`
}

func (w *world) schedules(t *testing.T, kind string) []scheduleRecord {
	t.Helper()
	return get[struct{ Items []scheduleRecord }](t, w, "/api/v1/schedules?kind="+kind).Items
}

// service finds one of the manager's own tasks.
func (w *world) service(t *testing.T, name string) scheduleRecord {
	t.Helper()
	for _, s := range w.schedules(t, "service") {
		if s.OperationName == name {
			return s
		}
	}
	require.Failf(t, "no such task", "%s", name)
	return scheduleRecord{}
}
