package whole_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
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

// scheduleInput is a good one: a program at three in the morning.
func scheduleInput(w *world) map[string]any {
	return map[string]any{
		"name": unique("schedule"), "operation_name": "host-command", "cron": "0 3 * * *", "time_zone": "Europe/Vienna",
		"input": map[string]any{"host_id": w.id, "program": "/usr/bin/echo", "args": []string{"on time"}},
	}
}

// TestScheduleRefused: a rule that could never run or must not.
func TestScheduleRefused(t *testing.T) {
	t.Parallel()
	w := shared
	for name, c := range map[string]struct {
		change map[string]any
		field  string
		says   string
	}{
		"too often":            {map[string]any{"cron": nil, "every_seconds": 59}, "body.every_seconds", "60 or more"},
		"negative":             {map[string]any{"cron": nil, "every_seconds": -60}, "body.every_seconds", ">= 0"},
		"neither":              {map[string]any{"cron": nil}, "body.cron", "either cron or every_seconds"},
		"both":                 {map[string]any{"every_seconds": 60}, "body.cron", "either cron or every_seconds"},
		"bad cron":             {map[string]any{"cron": "61 * * * *"}, "body.cron", "five fields"},
		"cron of six fields":   {map[string]any{"cron": "0 0 3 * * *"}, "body.cron", "five fields"},
		"cron with a zone":     {map[string]any{"cron": "CRON_TZ=UTC 0 3 * * *"}, "body.cron", "five fields"},
		"bad zone":             {map[string]any{"time_zone": "Europe/Atlantis"}, "body.time_zone", "not a known time zone"},
		"the machine's zone":   {map[string]any{"time_zone": "Local"}, "body.time_zone", "not a known time zone"},
		"zone with a path":     {map[string]any{"time_zone": "../../etc/passwd"}, "body.time_zone", "not a known time zone"},
		"end before start":     {map[string]any{"start_at": "2031-01-02T00:00:00Z", "end_at": "2031-01-01T00:00:00Z"}, "body.end_at", "after start_at"},
		"no time":              {map[string]any{"start_at": "tomorrow"}, "body.start_at", "date-time"},
		"not schedulable":      {map[string]any{"operation_name": "instance-create"}, "body.operation_name", "cannot be scheduled"},
		"unknown operation":    {map[string]any{"operation_name": "world-peace"}, "body.operation_name", "no such operation"},
		"service task":         {map[string]any{"operation_name": "reconcile"}, "body.operation_name", "no such operation"},
		"input with a mistake": {map[string]any{"input": map[string]any{"host_id": uuid.NewString(), "colour": "blue"}}, "body.input.body", "colour"},
		"overlap":              {map[string]any{"overlap": "maybe"}, "body.overlap", "skip"},
		"no name":              {map[string]any{"name": ""}, "body.name", ""},
		"unknown field":        {map[string]any{"when": "now"}, "body.when", "unexpected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := with(scheduleInput(w), c.change)
			p := w.do(t, http.MethodPost, "/api/v1/schedules", in).refused(t, 422, "invalid-input")
			require.Contains(t, p.at(t, c.field), c.says)
			require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM schedule WHERE name = $1 AND name <> ''`, in["name"]))
		})
	}
}

// TestSchedule: its times, a run now with its history, pause and deletion, in the repository and in Temporal.
func TestSchedule(t *testing.T) {
	t.Parallel()
	w := shared
	in := scheduleInput(w)
	r := w.do(t, http.MethodPost, "/api/v1/schedules", in)
	require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
	s := decode[scheduleRecord](t, r)
	path := "/api/v1/schedules/" + s.ID
	vienna, err := time.LoadLocation("Europe/Vienna")
	require.NoError(t, err)
	require.Len(t, s.NextRuns, 10)
	for i, at := range s.NextRuns {
		require.Equal(t, "03:00:00", at.In(vienna).Format(time.TimeOnly))
		if i > 0 {
			require.Equal(t, s.NextRuns[i-1].In(vienna).AddDate(0, 0, 1), at.In(vienna))
		}
	}
	p := w.do(t, http.MethodPost, "/api/v1/schedules", in).refused(t, 409, "name-taken")
	require.Equal(t, "is taken", p.at(t, "body.name"))

	handle := w.temporal(t).ScheduleClient().GetHandle(t.Context(), "schedule:"+s.ID)
	d, err := handle.Describe(t.Context())
	require.NoError(t, err)
	require.Equal(t, s.NextRuns[0], d.Info.NextActionTimes[0].UTC(), "Temporal has the same in mind")

	require.Equal(t, http.StatusAccepted, w.do(t, http.MethodPost, path+"/run", nil).status)
	var run runRecord
	require.NoError(t, system.Until(t.Context(), limit, "the run has ended", func() error {
		list := get[struct{ Items []runRecord }](t, w, path+"/runs").Items
		if len(list) != 1 || list[0].State == "running" {
			return fmt.Errorf("%+v", list)
		}
		run = list[0]
		return nil
	}))
	require.Equal(t, "succeeded", run.State, "%s", run.Summary)
	require.NotNil(t, run.EndedAt)
	o := w.operation(t, run.OperationID)
	require.Equal(t, "succeeded", o.State)
	require.Equal(t, s.ID, o.ScheduleID)
	w.untilOutput(t, o.ID, "on time")
	require.Equal(t, run.OperationID, get[scheduleRecord](t, w, path).LastRun.OperationID)
	require.Len(t, get[struct{ Items []operation }](t, w, "/api/v1/operations?schedule_id="+s.ID).Items, 1)

	require.Equal(t, http.StatusOK, w.do(t, http.MethodPost, path+"/pause", nil).status)
	paused := get[scheduleRecord](t, w, path)
	require.True(t, paused.Paused)
	require.Empty(t, paused.NextRuns)
	d, err = handle.Describe(t.Context())
	require.NoError(t, err)
	require.True(t, d.Schedule.State.Paused)
	require.Equal(t, http.StatusOK, w.do(t, http.MethodPost, path+"/resume", nil).status)
	require.Len(t, get[scheduleRecord](t, w, path).NextRuns, 10)

	r = w.do(t, http.MethodGet, path, nil)
	etag := r.header.Get("ETag")
	change := with(in, map[string]any{"cron": nil, "every_seconds": 3600})
	require.Equal(t, http.StatusOK, w.do(t, http.MethodPut, path, change, "If-Match", etag).status)
	w.do(t, http.MethodPut, path, change, "If-Match", etag).refused(t, 412, "changed-meanwhile")
	d, err = handle.Describe(t.Context())
	require.NoError(t, err)
	require.Empty(t, d.Schedule.Spec.Calendars)
	require.Len(t, d.Schedule.Spec.Intervals, 1)
	require.False(t, d.Schedule.State.Paused)

	require.Equal(t, http.StatusNoContent, w.do(t, http.MethodDelete, path, nil).status)
	w.do(t, http.MethodGet, path, nil).refused(t, 404, "not-found")
	for _, gone := range []string{"/run", "/pause", "/resume"} {
		w.do(t, http.MethodPost, path+gone, nil).refused(t, 404, "not-found")
	}
	w.do(t, http.MethodDelete, path, nil).refused(t, 404, "not-found")
	require.NoError(t, system.Until(t.Context(), limit, "Temporal's schedule is gone", func() error {
		_, err := handle.Describe(t.Context())
		if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	}))
	// Its name is free again.
	require.Equal(t, http.StatusCreated, w.do(t, http.MethodPost, "/api/v1/schedules", in).status)
}

// TestScheduleOfAWrong: a run that is refused or fails says why in the history.
func TestScheduleOfAWrong(t *testing.T) {
	t.Parallel()
	w := shared
	for name, c := range map[string]struct {
		change map[string]any
		says   string
	}{
		"unknown host": {map[string]any{"host_id": uuid.NewString()}, "There is no host"},
		"forbidden":    {map[string]any{"program": "/bin/bash"}, "policy of this host does not allow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := scheduleInput(w)
			input, ok := in["input"].(map[string]any)
			require.True(t, ok)
			in["input"] = with(input, c.change)
			r := w.do(t, http.MethodPost, "/api/v1/schedules", in)
			require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
			path := "/api/v1/schedules/" + decode[scheduleRecord](t, r).ID
			require.Equal(t, http.StatusAccepted, w.do(t, http.MethodPost, path+"/run", nil).status)
			require.NoError(t, system.Until(t.Context(), limit, "the run has failed", func() error {
				last := get[scheduleRecord](t, w, path).LastRun
				if last == nil || last.State != "failed" {
					return fmt.Errorf("%+v", last)
				}
				require.Contains(t, last.Summary, c.says)
				return nil
			}))
		})
	}
}

// TestServiceTasks: the manager's own work is listed, can be run and paused, and neither changed nor deleted.
func TestServiceTasks(t *testing.T) {
	t.Parallel()
	w := shared
	for _, name := range []string{"reconcile", "housekeeping", "certificates"} {
		s := w.service(t, name)
		require.Equal(t, "service", s.Kind)
		require.Len(t, s.NextRuns, 10)
		path := "/api/v1/schedules/" + s.ID
		w.do(t, http.MethodDelete, path, nil).refused(t, 409, "service-task")
		w.do(t, http.MethodPut, path, scheduleInput(w)).refused(t, 409, "service-task")
		require.Equal(t, http.StatusAccepted, w.do(t, http.MethodPost, path+"/run", nil).status)
		require.NoError(t, system.Until(t.Context(), limit, "the task has run", func() error {
			last := get[scheduleRecord](t, w, path).LastRun
			if last == nil || last.State == "running" {
				return fmt.Errorf("%+v", last)
			}
			require.Equal(t, "succeeded", last.State, "%s", last.Summary)
			require.NotEmpty(t, last.Summary)
			return nil
		}))
		require.Equal(t, s.Name, w.service(t, name).Name)
	}
	require.True(t, decode[scheduleRecord](t, w.do(t, http.MethodPost, "/api/v1/schedules/"+w.service(t, "certificates").ID+"/pause", nil)).Paused)
	require.False(t, decode[scheduleRecord](t, w.do(t, http.MethodPost, "/api/v1/schedules/"+w.service(t, "certificates").ID+"/resume", nil)).Paused)
}
