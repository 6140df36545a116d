package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/server/schedule"
)

// Times is when a schedule runs.
type Times struct {
	Cron         string     `json:"cron,omitempty" maxLength:"200" doc:"Five fields: minute hour day month weekday" example:"0 3 * * *"`
	EverySeconds int        `json:"every_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"Instead of cron"`
	TimeZone     string     `json:"time_zone,omitempty" default:"UTC" maxLength:"100" doc:"IANA name, for cron" example:"Europe/Vienna"`
	StartAt      *time.Time `json:"start_at,omitempty" doc:"Not before"`
	EndAt        *time.Time `json:"end_at,omitempty" doc:"Not after"`
}

// ScheduleBody is what a person sets.
type ScheduleBody struct {
	Times
	Name           string          `json:"name" minLength:"1" maxLength:"200"`
	OperationName  string          `json:"operation_name" minLength:"1" maxLength:"100" doc:"A schedulable operation"`
	Input          json.RawMessage `json:"input,omitempty" doc:"The operation's input"`
	JitterSeconds  int             `json:"jitter_seconds,omitempty" minimum:"0" maximum:"86400" doc:"Spread the start over this time"`
	Overlap        string          `json:"overlap,omitempty" enum:"skip,queue,allow" default:"skip" doc:"When the run before has not ended"`
	CatchupSeconds int             `json:"catchup_seconds,omitempty" minimum:"10" maximum:"31536000" default:"600" doc:"Missed times older than this are left out"`
}

// Schedule is an operation or service task at set times.
type Schedule struct {
	ScheduleBody
	ID        uuid.UUID    `json:"id"`
	Kind      string       `json:"kind" enum:"operation,service"`
	Paused    bool         `json:"paused"`
	NextRuns  []time.Time  `json:"next_runs" doc:"The next ten, without jitter; empty while paused"`
	LastRun   *ScheduleRun `json:"last_run,omitempty"`
	Actor     string       `json:"actor"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

// ScheduleRun is one time a schedule ran.
type ScheduleRun struct {
	At          time.Time  `json:"at"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	State       string     `json:"state" enum:"running,succeeded,failed,skipped"`
	OperationID *uuid.UUID `json:"operation_id,omitempty"`
	Summary     string     `json:"summary,omitempty"`
}

// SchedulePath names the object in the path.
type SchedulePath struct {
	ID uuid.UUID `path:"id" doc:"The schedule"`
}

type scheduleOut struct {
	ETag string `header:"ETag"`
	Body Schedule
}

func (b ScheduleBody) definition() schedule.Definition {
	if len(b.Input) == 0 {
		b.Input = json.RawMessage(`{}`)
	}
	return schedule.Definition{
		Name: b.Name, OperationName: b.OperationName, Input: b.Input, Cron: b.Cron, EverySeconds: b.EverySeconds, TimeZone: b.TimeZone,
		StartAt: b.StartAt, EndAt: b.EndAt, JitterSeconds: b.JitterSeconds, Overlap: b.Overlap, CatchupSeconds: b.CatchupSeconds,
	}
}

func (s *Server) schedules() {
	s.scheduleReads()
	type add struct{ Body ScheduleBody }
	route(s, "schedule.manage", huma.Operation{
		OperationID: "schedule-add", Method: http.MethodPost, Path: "/api/v1/schedules", Summary: "Add a schedule",
		Tags:          []string{"schedule"},
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, func(ctx context.Context, in *add) (*scheduleOut, error) {
		return s.saveSchedule(ctx, uuid.Must(uuid.NewV7()), in.Body, true, "")
	})
	type change struct {
		SchedulePath
		IfMatch string `header:"If-Match" doc:"ETag of what was edited"`
		Body    ScheduleBody
	}
	route(s, "schedule.manage", huma.Operation{
		OperationID: "schedule-update", Method: http.MethodPut, Path: "/api/v1/schedules/{id}", Summary: "Change a schedule",
		Tags:   []string{"schedule"},
		Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}, func(ctx context.Context, in *change) (*scheduleOut, error) {
		return s.saveSchedule(ctx, in.ID, in.Body, false, in.IfMatch)
	})
	for _, paused := range []bool{true, false} {
		name, summary := "resume", "Let a paused schedule go on"
		if paused {
			name, summary = "pause", "Pause a schedule"
		}
		route(s, "schedule.manage", huma.Operation{
			OperationID: "schedule-" + name, Method: http.MethodPost, Path: "/api/v1/schedules/{id}/" + name, Summary: summary,
			Tags: []string{"schedule"}, Errors: []int{http.StatusNotFound},
		}, func(ctx context.Context, in *SchedulePath) (*scheduleOut, error) {
			return s.pauseSchedule(ctx, in.ID, paused)
		})
	}
	type none struct{}
	route(s, "schedule.manage", huma.Operation{
		OperationID: "schedule-run", Method: http.MethodPost, Path: "/api/v1/schedules/{id}/run", Summary: "Run a schedule now",
		Tags:          []string{"schedule"},
		DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *SchedulePath) (*none, error) {
		r, err := s.DB.GetSchedule(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		if err := s.Schedule.Trigger(ctx, r); err != nil {
			return nil, err
		}
		return nil, s.DB.InTx(ctx, func(ctx context.Context,
			q *gen.Queries,
		) error {
			return s.scheduleChanged(ctx, q, "schedule-run", r)
		})
	})
	route(s, "schedule.manage", huma.Operation{
		OperationID: "schedule-delete", Method: http.MethodDelete, Path: "/api/v1/schedules/{id}", Summary: "Delete a schedule",
		Tags:          []string{"schedule"},
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *SchedulePath) (*none, error) { return nil, s.deleteSchedule(ctx, in.ID) })
}

func (s *Server) scheduleReads() {
	type list struct {
		Kind string `query:"kind" enum:"operation,service" doc:"Only schedules of operations, or only the manager's own"`
	}
	route(s, "schedule.read", huma.Operation{
		OperationID: "schedule-list", Method: http.MethodGet, Path: "/api/v1/schedules", Summary: "List schedules and service tasks",
		Tags: []string{"schedule"},
	}, func(ctx context.Context, in *list) (*pageOut[Schedule], error) {
		rows, err := s.DB.ListSchedules(ctx)
		if err != nil {
			return nil, fmt.Errorf("list schedules: %w", err)
		}
		last, err := s.lastRuns(ctx)
		if err != nil {
			return nil, err
		}
		items := []Schedule{}
		for _, r := range rows {
			if in.Kind == "" || in.Kind == r.Kind {
				items = append(items, toSchedule(r, last))
			}
		}
		return &pageOut[Schedule]{Body: Page[Schedule]{Items: items, Total: int64(len(items))}}, nil
	})
	route(s, "schedule.read", huma.Operation{
		OperationID: "schedule-get", Method: http.MethodGet, Path: "/api/v1/schedules/{id}", Summary: "Show a schedule",
		Tags:   []string{"schedule"},
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *SchedulePath) (*scheduleOut, error) { return s.scheduleByID(ctx, in.ID) })
	type runs struct {
		SchedulePath
		Limit int32 `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"At most so many"`
	}
	route(s, "schedule.read", huma.Operation{
		OperationID: "schedule-runs", Method: http.MethodGet, Path: "/api/v1/schedules/{id}/runs", Summary: "History of a schedule",
		Tags:   []string{"schedule"},
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *runs) (*pageOut[ScheduleRun], error) {
		if _, err := s.DB.GetSchedule(ctx, in.ID); err != nil {
			return nil, err
		}
		rows, err := s.DB.ListRuns(ctx, in.ID, in.Limit)
		if err != nil {
			return nil, fmt.Errorf("list runs: %w", err)
		}
		return pageOf(rows, "", int64(len(rows)), toRun), nil
	})
	s.schedulePreview()
}

func (s *Server) schedulePreview() {
	type preview struct{ Body Times }
	type previewOut struct {
		Body struct {
			NextRuns []time.Time `json:"next_runs"`
		}
	}
	route(s, "schedule.read", huma.Operation{
		OperationID: "schedule-preview", Method: http.MethodPost, Path: "/api/v1/schedules/preview",
		Summary: "The next ten times of a rule",
		Tags:    []string{"schedule"},
	}, func(_ context.Context, in *preview) (*previewOut, error) {
		t := in.Body
		d := schedule.Definition{Cron: t.Cron, EverySeconds: t.EverySeconds, TimeZone: t.TimeZone, StartAt: t.StartAt, EndAt: t.EndAt}
		if err := d.CheckTimes(); err != nil {
			return nil, err
		}
		out := &previewOut{}
		out.Body.NextRuns = schedule.Next(t.Cron, t.EverySeconds, t.TimeZone, time.Now(), t.StartAt, t.EndAt, 10)
		return out, nil
	})
}

func toRun(r gen.ScheduleRun) ScheduleRun {
	return ScheduleRun{At: r.At, EndedAt: r.EndedAt, State: r.State, OperationID: r.OperationID, Summary: r.Summary}
}

func (s *Server) lastRuns(ctx context.Context) (map[uuid.UUID]ScheduleRun, error) {
	rows, err := s.DB.LastRuns(ctx)
	if err != nil {
		return nil, fmt.Errorf("list last runs: %w", err)
	}
	out := map[uuid.UUID]ScheduleRun{}
	for _, r := range rows {
		out[r.ScheduleID] = toRun(r)
	}
	return out, nil
}

func toSchedule(r gen.Schedule, last map[uuid.UUID]ScheduleRun) Schedule {
	sc := Schedule{
		ScheduleBody: ScheduleBody{
			Times: Times{Cron: r.Cron, EverySeconds: int(r.EverySeconds), TimeZone: r.TimeZone, StartAt: r.StartAt, EndAt: r.EndAt},
			Name:  r.Name, OperationName: r.OperationName, Input: r.Input, JitterSeconds: int(r.JitterSeconds), Overlap: r.Overlap,
			CatchupSeconds: int(r.CatchupSeconds),
		},
		ID: r.ID, Kind: r.Kind, Paused: r.Paused, Actor: r.Actor, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
		NextRuns: []time.Time{},
	}
	if !r.Paused {
		sc.NextRuns = schedule.Next(r.Cron, int(r.EverySeconds), r.TimeZone, time.Now(), r.StartAt, r.EndAt, 10)
	}
	if l, ok := last[r.ID]; ok {
		sc.LastRun = &l
	}
	return sc
}

func (s *Server) scheduleByID(ctx context.Context, id uuid.UUID) (*scheduleOut, error) {
	r, err := s.DB.GetSchedule(ctx, id)
	if db.IsNotFound(err) {
		return nil, errs.New(errs.NotFound, "not-found", "There is no schedule %s.", id)
	}
	if err != nil {
		return nil, fmt.Errorf("look up schedule: %w", err)
	}
	last, err := s.lastRuns(ctx)
	if err != nil {
		return nil, err
	}
	return &scheduleOut{ETag: etag(r.UpdatedAt), Body: toSchedule(r, last)}, nil
}

func (s *Server) saveSchedule(ctx context.Context, id uuid.UUID, b ScheduleBody, isNew bool, match string) (*scheduleOut, error) {
	d := b.definition()
	if err := d.Check(); err != nil {
		return nil, err
	}
	who, _ := auth.From(ctx)
	if p := schedule.PermissionOf(d.OperationName); !auth.Allows(who.Role, p) {
		return nil, s.deny(ctx, who, p, "schedule-add", remoteOf(ctx))
	}
	var row gen.Schedule
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		var err error
		if d.Input, err = s.Schedule.SealInput(ctx, q, d); err != nil {
			return err
		}
		action := "schedule-update"
		if isNew {
			action = "schedule-add"
			row, err = q.InsertSchedule(ctx, gen.InsertScheduleParams{
				ID: id, Name: d.Name, Kind: "operation", OperationName: d.OperationName, Input: d.Input, Cron: d.Cron,
				EverySeconds: int32(d.EverySeconds), TimeZone: d.TimeZone, StartAt: d.StartAt, EndAt: d.EndAt,
				JitterSeconds: int32(d.JitterSeconds),
				Overlap:       d.Overlap, CatchupSeconds: int32(d.CatchupSeconds), Actor: who.Login, AccountID: &who.AccountID,
			})
		} else {
			row, err = s.changeSchedule(ctx, q, id, d, match)
		}
		if db.Constraint(err) == "schedule_name_key" {
			return errs.New(errs.Conflict, "name-taken", "There is already a schedule named %s.", d.Name).At("body.name", "is taken")
		}
		if err != nil {
			return err
		}
		return s.scheduleChanged(ctx, q, action, row)
	})
	if err != nil {
		return nil, err
	}
	s.Schedule.ApplyOrLeave(ctx, row)
	return s.scheduleByID(ctx, id)
}

func (s *Server) changeSchedule(ctx context.Context, q *gen.Queries, id uuid.UUID, d schedule.Definition,
	match string,
) (gen.Schedule, error) {
	r, err := q.GetSchedule(ctx, id)
	if err != nil {
		return r, err
	}
	if r.Kind == "service" {
		return r, errs.New(errs.Conflict, "service-task", "The manager's own tasks can be paused and run, not changed.")
	}
	if err := matches(match, r.UpdatedAt); err != nil {
		return r, err
	}
	return q.UpdateSchedule(ctx, gen.UpdateScheduleParams{
		ID: id, Name: d.Name, OperationName: d.OperationName, Input: d.Input, Cron: d.Cron, EverySeconds: int32(d.EverySeconds),
		TimeZone: d.TimeZone, StartAt: d.StartAt, EndAt: d.EndAt, JitterSeconds: int32(d.JitterSeconds), Overlap: d.Overlap,
		CatchupSeconds: int32(d.CatchupSeconds),
	})
}

func (s *Server) pauseSchedule(ctx context.Context, id uuid.UUID, paused bool) (*scheduleOut, error) {
	var row gen.Schedule
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		var err error
		if row, err = q.PauseSchedule(ctx, paused, id); err != nil {
			return err
		}
		return s.scheduleChanged(ctx, q, map[bool]string{true: "schedule-pause", false: "schedule-resume"}[paused], row)
	})
	if err != nil {
		return nil, err
	}
	s.Schedule.ApplyOrLeave(ctx, row)
	return s.scheduleByID(ctx, id)
}

func (s *Server) deleteSchedule(ctx context.Context, id uuid.UUID) error {
	var row gen.Schedule
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		var err error
		if row, err = q.GetSchedule(ctx, id); err != nil {
			return err
		}
		if row.Kind == "service" {
			return errs.New(errs.Conflict, "service-task", "The manager's own tasks can be paused, not deleted.")
		}
		if _, err := q.MarkScheduleDeleted(ctx, id); err != nil {
			return fmt.Errorf("delete schedule: %w", err)
		}
		return s.scheduleChanged(ctx, q, "schedule-delete", row)
	})
	if err != nil {
		return err
	}
	now := time.Now()
	row.DeletedAt = &now
	row.Revision++
	s.Schedule.ApplyOrLeave(ctx, row)
	return nil
}

func (s *Server) scheduleChanged(ctx context.Context, q *gen.Queries, action string, r gen.Schedule) error {
	return s.changed(ctx, q, change{Action: action, Kind: "schedule", ID: r.ID.String(), Name: r.Name})
}
