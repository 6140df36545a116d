package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// Operation is one change, asked for, under way or done.
type Operation struct {
	ID              uuid.UUID       `json:"id"`
	Name            string          `json:"name"`
	Title           string          `json:"title"`
	State           string          `json:"state" enum:"accepted,waiting,running,paused,succeeded,failed,canceled"`
	WaitingFor      string          `json:"waiting_for,omitempty" doc:"lock, or host where its agent is offline"`
	Risk            string          `json:"risk" enum:"read,change,disrupt,destroy"`
	TargetKind      string          `json:"target_kind"`
	TargetID        *uuid.UUID      `json:"target_id,omitempty"`
	TargetName      string          `json:"target_name,omitempty"`
	HostID          *uuid.UUID      `json:"host_id,omitempty"`
	HostName        string          `json:"host_name,omitempty"`
	HostOnline      *bool           `json:"host_online,omitempty"`
	ObjectID        *uuid.UUID      `json:"object_id,omitempty" doc:"The object it works on or makes"`
	DryRun          bool            `json:"dry_run"`
	Input           json.RawMessage `json:"input" doc:"Secrets are references"`
	Result          json.RawMessage `json:"result,omitempty"`
	Plan            []op.PlanStep   `json:"plan,omitempty" doc:"Of a dry run: what was checked and what it would do"`
	Failure         *op.Failure     `json:"failure,omitempty"`
	Undone          string          `json:"undone,omitempty" doc:"nothing-to-undo, compensated, partly or past-point-of-no-return"`
	Actor           string          `json:"actor"`
	ScheduleID      *uuid.UUID      `json:"schedule_id,omitempty"`
	RetryOf         *uuid.UUID      `json:"retry_of,omitempty"`
	CancelRequested bool            `json:"cancel_requested"`
	Late            bool            `json:"late"`
	DeadlineAt      *time.Time      `json:"deadline_at,omitempty" doc:"When it is late; it is not ended then"`
	AcceptedAt      time.Time       `json:"accepted_at"`
	StartedAt       *time.Time      `json:"started_at,omitempty"`
	EndedAt         *time.Time      `json:"ended_at,omitempty"`
	TemporalURL     string          `json:"temporal_url,omitempty" doc:"The workflow in Temporal's UI, for administrators"`
}

// Step is one activity of an operation.
type Step struct {
	Step      string          `json:"step"`
	Seq       int32           `json:"seq"`
	Verb      string          `json:"verb"`
	Title     string          `json:"title"`
	HostID    *uuid.UUID      `json:"host_id,omitempty"`
	HostName  string          `json:"host_name,omitempty"`
	State     string          `json:"state" enum:"running,completed,failed,canceled,retrying"`
	Attempt   int32           `json:"attempt"`
	Undo      bool            `json:"undo" doc:"It undoes an earlier step"`
	Progress  json.RawMessage `json:"progress,omitempty" doc:"done, total, unit, note"`
	Failure   *op.Failure     `json:"failure,omitempty"`
	StartedAt *time.Time      `json:"started_at,omitempty"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
}

// OutputChunk is a piece of a step's output.
type OutputChunk struct {
	Step   string    `json:"step"`
	Run    int32     `json:"run"`
	Offset int64     `json:"offset"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

type operationRow struct {
	gen.Operation
	HostName   *string
	HostOnline *bool
}

type operationOut struct {
	Status     int
	Location   string `header:"Location"`
	RetryAfter string `header:"Preference-Applied"`
	Body       Operation
}

// OperationPath names the object in the path.
type OperationPath struct {
	ID uuid.UUID `path:"id" doc:"The operation"`
}

func operationList() db.List {
	return db.List{
		Select: "o.*, h.name AS host_name, h.online AS host_online", From: "operation o LEFT JOIN host h ON h.id = o.host_id",
		ID: "o.id",
		Sorts: map[string]db.SortKey{
			"accepted_at": {Expr: "o.accepted_at", Type: "timestamptz"}, "name": {Expr: "o.name", Type: "text"},
			"state": {Expr: "o.state", Type: "text"}, "target_name": {Expr: "o.target_name", Type: "text"},
			"actor": {Expr: "o.actor", Type: "text"}, "ended_at": {Expr: "coalesce(o.ended_at, 'infinity')", Type: "timestamptz"},
		},
	}
}

func (s *Server) operations() {
	s.operationReads()
	s.operationRecords()
	type control struct {
		OperationPath
		IdempotencyKey string `header:"Idempotency-Key" maxLength:"200" doc:"Makes a repeated request the same one"`
	}
	for _, c := range []struct {
		name, summary string
		run           func(ctx context.Context, in *control) (gen.Operation, error)
	}{
		{"cancel", "Cancel an operation", func(ctx context.Context, in *control) (gen.Operation, error) {
			return s.Admit.Cancel(ctx, in.ID, actor(ctx))
		}},
		{"pause", "Hold an operation before its next step", func(ctx context.Context, in *control) (gen.Operation, error) {
			return s.Admit.Pause(ctx, in.ID, actor(ctx))
		}},
		{"resume", "Let a paused operation go on", func(ctx context.Context, in *control) (gen.Operation, error) {
			return s.Admit.Resume(ctx, in.ID, actor(ctx))
		}},
		{"retry", "Ask for the same again", func(ctx context.Context, in *control) (gen.Operation, error) {
			return s.Admit.Retry(ctx, in.ID, actor(ctx), in.IdempotencyKey)
		}},
	} {
		route(s, "operation.control", huma.Operation{
			OperationID: "operation-" + c.name, Method: http.MethodPost, Path: "/api/v1/operations/{id}/" + c.name, Summary: c.summary,
			Tags: []string{"operation"}, DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusNotFound, http.StatusConflict},
		}, func(ctx context.Context, in *control) (*operationOut, error) {
			row, err := c.run(ctx, in)
			if err != nil {
				return nil, err
			}
			return s.operationByID(ctx, row.ID, http.StatusAccepted)
		})
	}
}

type operationListIn struct {
	ListIn
	State    []string `query:"state" enum:"accepted,waiting,running,paused,succeeded,failed,canceled" doc:"Only operations in one of these states"`
	Name     string   `query:"name" maxLength:"100" doc:"Only operations of this name, e.g. instance-create"`
	TargetID string   `query:"target_id" format:"uuid" doc:"Target or made object"`
	HostID   string   `query:"host_id" format:"uuid" doc:"Only operations on this host"`
	Actor    string   `query:"actor" maxLength:"100" doc:"Only those asked for by this login"`
	Open     bool     `query:"open" doc:"Only those that have not ended"`
	DryRun   string   `query:"dry_run" enum:"true,false" doc:"Only dry runs, or none"`
	Schedule string   `query:"schedule_id" format:"uuid" doc:"Only operations of this schedule"`
}

// where puts what was asked for into the query.
func (in operationListIn) where(l *db.List) error {
	if err := filterID(l, "o.host_id", "host_id", in.HostID); err != nil {
		return err
	}
	if err := filterID(l, "o.schedule_id", "schedule_id", in.Schedule); err != nil {
		return err
	}
	if in.TargetID != "" {
		id, err := uuid.Parse(in.TargetID)
		if err != nil {
			return errs.New(errs.Invalid, "invalid-input", "target_id is not a UUID.").At("query.target_id", "must be a UUID")
		}
		l.Where("(o.target_id = $? OR o.object_id = $?)", id)
	}
	filterAny(l, "o.state", in.State)
	for column, v := range map[string]string{"o.name": in.Name, "o.actor": in.Actor} {
		if v != "" {
			l.Where(column+" = $?", v)
		}
	}
	if in.DryRun != "" {
		l.Where("o.dry_run = $?", in.DryRun == "true")
	}
	if in.Open {
		l.WhereRaw("o.state IN ('accepted', 'waiting', 'running', 'paused')")
	}
	if in.Q != "" {
		l.Where("o.search LIKE $?", like(strings.ToLower(in.Q)))
	}
	return nil
}

func (s *Server) operationReads() {
	route(s, "operation.read", huma.Operation{
		OperationID: "operation-list", Method: http.MethodGet, Path: "/api/v1/operations", Summary: "List operations",
		Tags: []string{"operation"},
	}, func(ctx context.Context, in *operationListIn) (*pageOut[Operation], error) {
		l, err := in.query(operationList(), "-accepted_at")
		if err != nil {
			return nil, err
		}
		if err := in.where(&l); err != nil {
			return nil, err
		}
		rows, next, total, err := db.Page[operationRow](ctx, s.DB, l)
		if err != nil {
			return nil, err
		}
		return pageOf(rows, next, total, s.toOperation), nil
	})
	route(s, "operation.read", huma.Operation{
		OperationID: "operation-get", Method: http.MethodGet, Path: "/api/v1/operations/{id}", Summary: "Show an operation",
		Tags:   []string{"operation"},
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *OperationPath) (*operationOut, error) {
		return s.operationByID(ctx, in.ID, http.StatusOK)
	})
}

func (s *Server) operationRecords() {
	type steps struct{ Body Page[Step] }
	route(s, "operation.read", huma.Operation{
		OperationID: "operation-steps", Method: http.MethodGet, Path: "/api/v1/operations/{id}/steps", Summary: "Steps of an operation",
		Tags: []string{"operation"}, Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *OperationPath) (*steps, error) {
		if _, err := s.DB.GetOperation(ctx, in.ID); err != nil {
			return nil, err
		}
		rows, err := s.DB.ListSteps(ctx, in.ID)
		if err != nil {
			return nil, fmt.Errorf("list steps: %w", err)
		}
		out := &steps{Body: Page[Step]{Items: make([]Step, len(rows)), Total: int64(len(rows))}}
		for i, r := range rows {
			out.Body.Items[i] = toStep(r)
		}
		return out, nil
	})
	type output struct {
		OperationPath
		Step   string `query:"step" maxLength:"200" doc:"Only output of this step"`
		Offset int64  `query:"offset" minimum:"0" doc:"Only chunks that begin here or later"`
	}
	type outputOut struct {
		Body struct {
			Chunks     []OutputChunk `json:"chunks"`
			NextOffset int64         `json:"next_offset" doc:"Give it as offset to get what comes next"`
		}
	}
	route(s, "operation.read", huma.Operation{
		OperationID: "operation-output", Method: http.MethodGet, Path: "/api/v1/operations/{id}/output",
		Summary: "Output of an operation's steps",
		Tags:    []string{"operation"}, Errors: []int{http.StatusNotFound}, Description: "Readable while the operation runs.",
	}, func(ctx context.Context, in *output) (*outputOut, error) {
		if _, err := s.DB.GetOperation(ctx, in.ID); err != nil {
			return nil, err
		}
		rows, err := s.DB.ListOutput(ctx, in.ID, in.Step, in.Offset)
		if err != nil {
			return nil, fmt.Errorf("list output: %w", err)
		}
		out := &outputOut{}
		out.Body.Chunks, out.Body.NextOffset = make([]OutputChunk, len(rows)), in.Offset
		for i, r := range rows {
			out.Body.Chunks[i] = OutputChunk{Step: r.Step, Run: r.Run, Offset: r.StartOffset, Text: string(r.Data), At: r.At}
			out.Body.NextOffset = max(out.Body.NextOffset, r.StartOffset+int64(len(r.Data)))
		}
		return out, nil
	})
}

func toStep(r gen.ListStepsRow) Step {
	st := Step{
		Step: r.Step, Seq: r.Seq, Verb: r.Verb, Title: r.Title, HostID: r.HostID, State: r.State, Attempt: r.Attempt, Undo: r.Undo,
		Progress: r.Progress, Failure: failureOf(r.Failure), StartedAt: r.StartedAt, EndedAt: r.EndedAt,
	}
	if r.HostName != nil {
		st.HostName = *r.HostName
	}
	return st
}

func failureOf(raw json.RawMessage) *op.Failure {
	if len(raw) == 0 {
		return nil
	}
	var f *op.Failure
	_ = json.Unmarshal(raw, &f)
	return f
}

func (s *Server) operationByID(ctx context.Context, id uuid.UUID, status int) (*operationOut, error) {
	// The person's connection may be cut; a query cut off costs a connection of the pool.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dbTimeout)
	defer cancel()
	l := operationList()
	l.Where("o.id = $?", id)
	row, err := db.One[operationRow](ctx, s.DB, l)
	if db.IsNotFound(err) {
		return nil, errs.New(errs.NotFound, "not-found", "There is no operation %s.", id)
	}
	if err != nil {
		return nil, err
	}
	return &operationOut{Status: status, Location: "/api/v1/operations/" + id.String(), Body: s.toOperation(row)}, nil
}

func (s *Server) toOperation(r operationRow) Operation {
	o := Operation{
		ID: r.ID, Name: r.Name, Title: r.Title, State: r.State, WaitingFor: r.WaitingFor, Risk: r.Risk, TargetKind: r.TargetKind,
		TargetID: r.TargetID, TargetName: r.TargetName, HostID: r.HostID, HostOnline: r.HostOnline, ObjectID: r.ObjectID,
		DryRun: r.DryRun,
		Input:  r.Input, Result: r.Result, Failure: failureOf(r.Failure), Undone: r.Undone, Actor: r.Actor, ScheduleID: r.ScheduleID,
		RetryOf: r.RetryOf, CancelRequested: r.CancelRequested, Late: r.Late, DeadlineAt: r.DeadlineAt, AcceptedAt: r.AcceptedAt,
		StartedAt: r.StartedAt, EndedAt: r.EndedAt,
	}
	if r.HostName != nil {
		o.HostName = *r.HostName
	}
	if len(r.Plan) > 0 {
		_ = json.Unmarshal(r.Plan, &o.Plan)
	}
	open := !op.State(r.State).Final()
	if open && o.WaitingFor == "" && r.HostOnline != nil && !*r.HostOnline {
		o.WaitingFor = "host"
	}
	if s.TemporalUI != "" {
		o.TemporalURL = s.TemporalUI + "/namespaces/pgdrover/workflows/" + r.ID.String()
	}
	return o
}
