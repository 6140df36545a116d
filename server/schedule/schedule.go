// Package schedule keeps operations and service tasks at set times. The repository's definition is the original;
// the Temporal Schedule is made from it and made again whenever the two differ. What happens at a time is admitted
// like any other request, in the name of the account that made the schedule.
package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/admit"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/pgdrover/pgdrover/workflows/schedule"
	"github.com/robfig/cron/v3"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// Task is one of the manager's own service tasks; it says in a sentence what it did.
type Task struct {
	Name, Title string
	Every       time.Duration
	Run         func(ctx context.Context) (string, error)
}

// Service keeps schedules.
type Service struct {
	DB       *db.DB
	Temporal client.Client
	Admit    *admit.Service
	Log      *slog.Logger
	Tasks    []Task
}

// Definition is what a person sets.
type Definition struct {
	Name, OperationName string
	Input               json.RawMessage
	Cron                string
	EverySeconds        int
	TimeZone            string
	StartAt, EndAt      *time.Time
	JitterSeconds       int
	Overlap             string
	CatchupSeconds      int
}

// CheckTimes refuses a rule that could never run.
func (d Definition) CheckTimes() error { return finding(d.times()) }

func (d Definition) times() *errs.Error {
	bad := errs.New(errs.Invalid, "invalid-input", "The schedule is not valid.")
	if (d.Cron == "") == (d.EverySeconds == 0) {
		bad.At("body.cron", "give either cron or every_seconds")
	}
	if d.Cron != "" {
		if _, err := cron.ParseStandard(d.Cron); err != nil || strings.Contains(d.Cron, "TZ=") {
			bad.At("body.cron", "is no cron line of five fields (minute hour day month weekday)")
		}
	}
	if d.EverySeconds != 0 && d.EverySeconds < 60 {
		bad.At("body.every_seconds", "must be 60 or more")
	}
	if _, err := time.LoadLocation(d.TimeZone); err != nil || d.TimeZone == "Local" {
		bad.At("body.time_zone", "is not a known time zone")
	}
	if d.StartAt != nil && d.EndAt != nil && !d.EndAt.After(*d.StartAt) {
		bad.At("body.end_at", "must be after start_at")
	}
	return bad
}

func finding(bad *errs.Error) error {
	if len(bad.Fields) == 0 {
		return nil
	}
	bad.Detail = "The schedule is not valid: " + bad.Fields[0].Location + ": " + bad.Fields[0].Message + "."
	return bad
}

// Check refuses what could never run, times and input.
func (d Definition) Check() error {
	bad := d.times()
	o := workflows.ByName(d.OperationName)
	switch {
	case o == nil:
		bad.At("body.operation_name", "there is no such operation")
	case !o.Info().Schedulable:
		bad.At("body.operation_name", "this operation cannot be scheduled")
	default:
		_, fields, err := o.Prepare(d.Input)
		if err != nil {
			return fmt.Errorf("check the schedule's input: %w", err)
		}
		for _, f := range fields {
			bad.At("body.input."+f.Field, f.Message)
		}
	}
	return finding(bad)
}

// PermissionOf is what a person needs to have an operation done at set times: the same as to have it done now.
func PermissionOf(operation string) string {
	if o := workflows.ByName(operation); o != nil {
		return o.Info().Permission
	}
	return ""
}

// SealInput puts references in the place of secrets, as admission does.
func (s *Service) SealInput(ctx context.Context, q *gen.Queries, d Definition) (json.RawMessage, error) {
	in, fields, err := workflows.ByName(d.OperationName).Prepare(d.Input)
	if err != nil || len(fields) > 0 {
		return nil, fmt.Errorf("prepare the schedule's input: %w", err)
	}
	for _, sec := range op.Secrets(in) {
		if _, ok := sec.Reference(); ok {
			continue
		}
		id, err := admit.SealSecret(ctx, q, s.Admit.Sealer, "schedule", string(*sec))
		if err != nil {
			return nil, err
		}
		*sec = op.SecretReference(id.String())
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("write the schedule's input: %w", err)
	}
	return raw, nil
}

// Next lists the next n times from a moment on, without jitter.
func Next(cronLine string, everySeconds int, zone string, from time.Time, start, end *time.Time, n int) []time.Time {
	out := []time.Time{}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return out
	}
	at := from
	if start != nil && start.After(at) {
		at = start.Add(-time.Second)
	}
	next := func(t time.Time) time.Time {
		every := time.Duration(everySeconds) * time.Second
		return t.Truncate(every).Add(every)
	}
	if cronLine != "" {
		c, err := cron.ParseStandard(cronLine)
		if err != nil {
			return out
		}
		next = func(t time.Time) time.Time { return c.Next(t.In(loc)) }
	} else if everySeconds <= 0 {
		return out
	}
	for len(out) < n {
		at = next(at)
		if at.IsZero() || (end != nil && at.After(*end)) {
			break
		}
		out = append(out, at.UTC())
	}
	return out
}

// Ensure writes down the service tasks that are not there yet.
func (s *Service) Ensure(ctx context.Context) error {
	for _, t := range s.Tasks {
		if err := s.DB.EnsureServiceSchedule(ctx, gen.EnsureServiceScheduleParams{
			ID: uuid.Must(uuid.NewV7()), Name: t.Title, OperationName: t.Name, EverySeconds: int32(t.Every.Seconds()),
			JitterSeconds: int32(t.Every.Seconds() / 10),
		}); err != nil {
			return fmt.Errorf("write down service task %s: %w", t.Name, err)
		}
	}
	return nil
}

// Apply makes the Temporal Schedules of all definitions that changed since they were last applied.
func (s *Service) Apply(ctx context.Context) (int, error) {
	rows, err := s.DB.SchedulesToApply(ctx)
	if err != nil {
		return 0, fmt.Errorf("list changed schedules: %w", err)
	}
	var failed []error
	for _, r := range rows {
		if err := s.applyOne(ctx, r); err != nil {
			failed = append(failed, err)
		}
	}
	return len(rows) - len(failed), errors.Join(failed...)
}

// ApplyOrLeave applies one change at once; if Temporal is away the reconciler does it later.
func (s *Service) ApplyOrLeave(ctx context.Context, r gen.Schedule) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.applyOne(ctx, r); err != nil {
		s.Log.Warn("schedule kept, but Temporal is away; the reconciler will apply it", "schedule", r.Name, "error", err)
	}
}

func temporalID(id uuid.UUID) string { return "schedule:" + id.String() }

func (s *Service) applyOne(ctx context.Context, r gen.Schedule) error {
	h := s.Temporal.ScheduleClient().GetHandle(ctx, temporalID(r.ID))
	if r.DeletedAt != nil {
		var nf *serviceerror.NotFound
		if err := h.Delete(ctx); err != nil && !errors.As(err, &nf) {
			return fmt.Errorf("remove schedule %s: %w", r.Name, err)
		}
		return s.applied(ctx, r)
	}
	spec, action, policies := s.parts(r)
	_, err := s.Temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: temporalID(r.ID), Spec: spec, Action: action, Overlap: policies.Overlap, CatchupWindow: policies.CatchupWindow,
		Paused: r.Paused, Note: r.Name,
	})
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) || errors.As(err, &already) {
		err = h.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			d := in.Description.Schedule
			d.Spec, d.Action, d.Policy = &spec, action, policies
			d.State.Paused, d.State.Note = r.Paused, r.Name
			return &client.ScheduleUpdate{Schedule: &d}, nil
		}})
	}
	if err != nil {
		return fmt.Errorf("apply schedule %s: %w", r.Name, err)
	}
	return s.applied(ctx, r)
}

func (s *Service) applied(ctx context.Context, r gen.Schedule) error {
	if err := s.DB.MarkScheduleApplied(ctx, r.Revision, r.ID); err != nil {
		return fmt.Errorf("mark schedule %s as applied: %w", r.Name, err)
	}
	return nil
}

func (s *Service) parts(r gen.Schedule) (client.ScheduleSpec, *client.ScheduleWorkflowAction, *client.SchedulePolicies) {
	spec := client.ScheduleSpec{Jitter: time.Duration(r.JitterSeconds) * time.Second, TimeZoneName: r.TimeZone}
	if r.Cron != "" {
		spec.CronExpressions = []string{r.Cron}
	} else {
		spec.Intervals = []client.ScheduleIntervalSpec{{Every: time.Duration(r.EverySeconds) * time.Second}}
	}
	if r.StartAt != nil {
		spec.StartAt = *r.StartAt
	}
	if r.EndAt != nil {
		spec.EndAt = *r.EndAt
	}
	overlap := map[string]enums.ScheduleOverlapPolicy{
		"skip": enums.SCHEDULE_OVERLAP_POLICY_SKIP, "queue": enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL,
		"allow": enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
	}[r.Overlap]
	action := &client.ScheduleWorkflowAction{
		ID: "launch:" + r.ID.String(), Workflow: schedule.LaunchName, Args: []any{r.ID.String()}, TaskQueue: op.ManagerQueue,
		StaticSummary: r.Name,
	}
	return spec, action, &client.SchedulePolicies{Overlap: overlap, CatchupWindow: time.Duration(r.CatchupSeconds) * time.Second}
}

// Trigger runs a schedule now, whatever its times.
func (s *Service) Trigger(ctx context.Context, r gen.Schedule) error {
	if r.Applied != r.Revision {
		if err := s.applyOne(ctx, r); err != nil {
			return errs.New(errs.Unavailable, "temporal-unavailable", "Temporal did not take the request; try again.").Because(err)
		}
	}
	h := s.Temporal.ScheduleClient().GetHandle(ctx, temporalID(r.ID))
	if err := h.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL}); err != nil {
		return errs.New(errs.Unavailable, "temporal-unavailable", "Temporal did not take the request; try again.").Because(err)
	}
	return nil
}

// RunEnded tells a launch that its operation ended; a lost signal is made up for by the launch's timer.
func (s *Service) RunEnded(ctx context.Context, o gen.Operation) {
	if o.IdempotencyKey == nil {
		return
	}
	wf, run, ok := parseKey(*o.IdempotencyKey)
	if !ok {
		return
	}
	if err := s.Temporal.SignalWorkflow(ctx, wf, run, schedule.SignalEnded, nil); err != nil {
		s.Log.Debug("tell a schedule that its operation ended", "operation", o.ID, "error", err)
	}
}

// Launch runs one time of a schedule. Told twice it admits one operation: the key is the run's id.
func (s *Service) Launch(ctx context.Context, in manager.ScheduleLaunchIn) (manager.ScheduleLaunchOut, error) {
	out := manager.ScheduleLaunchOut{Ended: true}
	id, err := uuid.Parse(in.Schedule)
	if err != nil {
		return out, op.Permanent(op.CodeInvalid, "%q is not an id", "", in.Schedule)
	}
	r, err := s.DB.GetSchedule(ctx, id)
	if db.IsNotFound(err) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("look up schedule: %w", err)
	}
	if r.Kind == "service" {
		return out, s.runTask(ctx, r, in)
	}
	row, err := s.admit(ctx, r, in)
	if refused, ok := errs.As(err); ok && refused.Kind != errs.Unavailable {
		return out, s.run(ctx, r.ID, in, "failed", refused.Detail, nil)
	}
	if err != nil {
		return out, err
	}
	out.Operation, out.Ended = row.ID.String(), op.State(row.State).Final()
	return out, s.begin(ctx, r.ID, in, &row.ID)
}

func (s *Service) admit(ctx context.Context, r gen.Schedule, in manager.ScheduleLaunchIn) (gen.Operation, error) {
	a := admit.Actor{AccountID: r.AccountID, Login: r.Actor, Allowed: func(string) bool { return false }}
	if r.AccountID != nil {
		acc, err := s.DB.GetAccount(ctx, *r.AccountID)
		if err != nil && !db.IsNotFound(err) {
			return gen.Operation{}, fmt.Errorf("look up the schedule's account: %w", err)
		}
		// Rights are those of the account now, not of the day the schedule was made.
		a.Allowed = func(p string) bool { return err == nil && !acc.Disabled && auth.Allows(acc.Role, p) }
	}
	return s.Admit.Admit(ctx, admit.Request{
		Name: r.OperationName, Input: r.Input, Actor: a, IdempotencyKey: key(in), WaitForLocks: true, ScheduleID: &r.ID,
	})
}

func key(in manager.ScheduleLaunchIn) string { return "schedule " + in.Workflow + " " + in.Run }

func parseKey(k string) (wf, run string, ok bool) {
	n, err := fmt.Sscanf(k, "schedule %s %s", &wf, &run)
	return wf, run, err == nil && n == 2
}

func (s *Service) runTask(ctx context.Context, r gen.Schedule, in manager.ScheduleLaunchIn) error {
	for _, t := range s.Tasks {
		if t.Name != r.OperationName {
			continue
		}
		if err := s.begin(ctx, r.ID, in, nil); err != nil {
			return err
		}
		summary, err := t.Run(ctx)
		if err != nil {
			s.Log.Warn("service task failed", "task", t.Name, "error", err)
			return s.run(ctx, r.ID, in, "failed", err.Error(), nil)
		}
		return s.run(ctx, r.ID, in, "succeeded", summary, nil)
	}
	return s.run(ctx, r.ID, in, "skipped", "This manager does not know the task "+r.OperationName+".", nil)
}

func (s *Service) begin(ctx context.Context, id uuid.UUID, in manager.ScheduleLaunchIn, operation *uuid.UUID) error {
	if err := s.DB.StartRun(ctx, gen.StartRunParams{
		ScheduleID: id, Run: in.Run, At: in.At, State: "running",
		OperationID: operation,
	}); err != nil {
		return fmt.Errorf("record a run: %w", err)
	}
	return db.Notify(ctx, s.DB.Queries, db.Event{Kind: "schedule", ID: id.String()})
}

func (s *Service) run(ctx context.Context, id uuid.UUID, in manager.ScheduleLaunchIn, state, summary string,
	operation *uuid.UUID,
) error {
	if err := s.begin(ctx, id, in, operation); err != nil {
		return err
	}
	if err := s.DB.EndRun(ctx, gen.EndRunParams{
		State: state, Summary: summary, OperationID: operation, ScheduleID: id,
		Run: in.Run,
	}); err != nil {
		return fmt.Errorf("record the end of a run: %w", err)
	}
	return db.Notify(ctx, s.DB.Queries, db.Event{Kind: "schedule", ID: id.String()})
}

// RunState tells a launch whether its operation has ended.
func (s *Service) RunState(ctx context.Context, in manager.ScheduleLaunchIn) (manager.ScheduleLaunchOut, error) {
	out := manager.ScheduleLaunchOut{Operation: in.Operation, Ended: true}
	id, err := uuid.Parse(in.Operation)
	if err != nil {
		return out, op.Permanent(op.CodeInvalid, "%q is not an id", "", in.Operation)
	}
	row, err := s.DB.GetOperation(ctx, id)
	if db.IsNotFound(err) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("look up operation: %w", err)
	}
	if !op.State(row.State).Final() {
		out.Ended = false
		return out, nil
	}
	state, summary := "succeeded", ""
	if row.State != string(op.StateSucceeded) {
		state = "failed"
		var f op.Failure
		if json.Unmarshal(row.Failure, &f) == nil {
			summary = f.Message
		}
	}
	sid, err := uuid.Parse(in.Schedule)
	if err != nil {
		return out, op.Permanent(op.CodeInvalid, "%q is not an id", "", in.Schedule)
	}
	return out, s.run(ctx, sid, in, state, summary, &row.ID)
}
