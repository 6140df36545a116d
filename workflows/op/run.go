package op

import (
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Envelope is the only argument of an operation's workflow: who asked for what, on what.
type Envelope struct {
	Operation string `json:"operation"`
	Name      string `json:"name"`
	// Actor is the login of the person or the schedule that asked.
	Actor    string     `json:"actor"`
	Target   TargetKind `json:"target"`
	TargetID string     `json:"target_id,omitempty"`
	// HostID is where host steps run unless OnHost says otherwise.
	HostID string `json:"host_id,omitempty"`
	// ObjectID is the object the steps work on (the created one, else the target); agents fence by it.
	ObjectID string `json:"object_id,omitempty"`
	// Fence is the fencing number of the locks taken at admission.
	Fence  int64 `json:"fence,omitempty"`
	DryRun bool  `json:"dry_run,omitempty"`
	// Input is the prepared input: defaults applied, secrets replaced by references.
	Input json.RawMessage `json:"input"`
}

// State is the life of an operation.
type State string

// The states. The last three are final.
const (
	StateAccepted  State = "accepted"
	StateWaiting   State = "waiting"
	StateRunning   State = "running"
	StatePaused    State = "paused"
	StateSucceeded State = "succeeded"
	StateFailed    State = "failed"
	StateCanceled  State = "canceled"
)

// Final tells whether nothing will happen any more.
func (s State) Final() bool { return s == StateSucceeded || s == StateFailed || s == StateCanceled }

// Undone says what became of the work of an operation that did not succeed.
type Undone string

// The ends of a half-done operation.
const (
	UndoneNothing     Undone = "nothing-to-undo"
	UndoneCompensated Undone = "compensated"
	UndonePartly      Undone = "partly"
	UndoneForwardOnly Undone = "past-point-of-no-return"
)

// PlanStep is one line of a dry run.
type PlanStep struct {
	Step  string `json:"step"`
	Verb  string `json:"verb"`
	Title string `json:"title"`
	Host  string `json:"host,omitempty"`
	// Does is "checked" for a step that ran because it changes nothing, else "would do".
	Does string `json:"does"`
}

// StepEnd is how the workflow itself saw a step end; the digest of all of them is checked against the record.
type StepEnd struct {
	StepRef
	State   string   `json:"state"`
	Failure *Failure `json:"failure,omitempty"`
}

// Outcome is the result of an operation's workflow.
type Outcome struct {
	State   State           `json:"state"`
	Result  json.RawMessage `json:"result,omitempty"`
	Failure *Failure        `json:"failure,omitempty"`
	Undone  Undone          `json:"undone,omitempty"`
	Plan    []PlanStep      `json:"plan,omitempty"`
}

// The bookkeeping activities, implemented beside the manager and called by the wrapper alone. They are local
// activities: one transaction on the repository, no trip through a task queue.
var (
	RecordRunning  = Activity[RunningIn, Nothing]{Name: "operation-record-running", Side: OnManager, Profile: Repo}
	RecordFinished = Activity[FinishedIn, Nothing]{Name: "operation-record-finished", Side: OnManager, Profile: Repo}
)

// Nothing is the result of activities that have none.
type Nothing struct{}

// RunningIn says that an operation runs, or is paused.
type RunningIn struct {
	Operation string `json:"operation"`
	State     State  `json:"state"`
}

// FinishedIn closes an operation: state, result, locks and notification in one transaction.
type FinishedIn struct {
	Operation string    `json:"operation"`
	Outcome   Outcome   `json:"outcome"`
	Steps     []StepEnd `json:"steps"`
}

// The signals of a running operation.
const (
	SignalPause  = "pause"
	SignalResume = "resume"
)

type stateKey struct{}

type state struct {
	env       Envelope
	seq       int
	plan      []PlanStep
	steps     []StepEnd
	undo      []compensation
	undoing   bool
	committed bool
	paused    bool
	recorded  State
}

func stateOf(ctx workflow.Context) *state {
	st, ok := ctx.Value(stateKey{}).(*state)
	if !ok {
		panic("activity called outside an operation")
	}
	return st
}

// Self returns the envelope of the running operation.
func Self(ctx workflow.Context) Envelope { return stateOf(ctx).env }

// DryRun tells whether the operation only says what it would do. Bodies need it only where a later
// step depends on the result of one that did not run.
func DryRun(ctx workflow.Context) bool { return stateOf(ctx).env.DryRun }

type hostKey struct{}

// OnHost sends the following host steps to the agent of the given host.
func OnHost(ctx workflow.Context, hostID string) workflow.Context {
	return workflow.WithValue(ctx, hostKey{}, hostID)
}

func (st *state) nextStep(ctx workflow.Context, a ActivityInfo, title string) StepRef {
	st.seq++
	ref := StepRef{
		Operation: st.env.Operation, Step: fmt.Sprintf("%02d-%s", st.seq, a.Name), Seq: st.seq, Verb: a.Name,
		Title: title, Object: st.env.ObjectID, Fence: st.env.Fence, Undo: st.undoing, ReadOnly: a.ReadOnly,
	}
	if a.Side == OnAgent {
		ref.Host = st.env.HostID
		if h, ok := ctx.Value(hostKey{}).(string); ok {
			ref.Host = h
		}
	}
	return ref
}

func (st *state) ended(ref StepRef, err error) {
	end := StepEnd{StepRef: ref, State: "completed", Failure: FailureOf(err)}
	switch {
	case temporal.IsCanceledError(err):
		end.State = "canceled"
	case err != nil:
		end.State = "failed"
	}
	st.steps = append(st.steps, end)
}

// awaitResume holds a paused operation between two steps. Compensation is never held.
func (st *state) awaitResume(ctx workflow.Context) error {
	listenFirst(ctx)
	if st.undoing || !st.paused {
		return ctx.Err()
	}
	if err := st.record(ctx, StatePaused); err != nil {
		return err
	}
	if err := workflow.Await(ctx, func() bool { return !st.paused }); err != nil {
		return err
	}
	return st.record(ctx, StateRunning)
}

// listenFirst lets the listener run: a pause that was taken before the last step ended may come to us together with
// that step's end, and must still hold the next one.
func listenFirst(ctx workflow.Context) {
	ran := false
	// The context's end is seen by the caller.
	_ = workflow.Await(ctx, func() bool { was := ran; ran = true; return was })
}

func (st *state) record(ctx workflow.Context, s State) error {
	if st.recorded == s {
		return nil
	}
	st.recorded = s
	return local(ctx, RecordRunning, RunningIn{Operation: st.env.Operation, State: s})
}

// local runs a bookkeeping activity. It is retried for ever: while the repository is away the operation waits.
func local[In, Out any](ctx workflow.Context, a Activity[In, Out], in In) error {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: a.Profile.StartToClose,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second,
		},
	})
	return workflow.ExecuteLocalActivity(ctx, a.Name, in).Get(ctx, nil)
}

func (d *definition[In, Out]) Workflow() func(workflow.Context, Envelope) (Outcome, error) {
	return func(ctx workflow.Context, env Envelope) (Outcome, error) {
		st := &state{env: env}
		ctx = workflow.WithValue(ctx, stateKey{}, st)
		st.listen(ctx)
		outcome := d.execute(ctx, st)
		// A cancelled context must still be able to close the record.
		dctx, _ := workflow.NewDisconnectedContext(ctx)
		fin := FinishedIn{Operation: env.Operation, Outcome: outcome, Steps: st.steps}
		if err := local(dctx, RecordFinished, fin); err != nil {
			return outcome, fmt.Errorf("record the end of operation %s: %w", env.Operation, err)
		}
		return outcome, nil
	}
}

func (d *definition[In, Out]) execute(ctx workflow.Context, st *state) Outcome {
	if err := st.record(ctx, StateRunning); err != nil {
		return st.failed(ctx, err)
	}
	var in In
	if err := json.Unmarshal(st.env.Input, &in); err != nil {
		return st.failed(ctx, Permanent(CodeInvalid, "read input: %v", "", err))
	}
	out, err := d.run(ctx, in)
	if err != nil {
		return st.failed(ctx, err)
	}
	o := Outcome{State: StateSucceeded, Plan: st.plan}
	if st.env.DryRun {
		return o
	}
	if o.Result, err = json.Marshal(out); err != nil {
		return st.failed(ctx, Permanent(CodeInternal, "write result: %v", "", err))
	}
	return o
}

func (st *state) failed(ctx workflow.Context, cause error) Outcome {
	o := Outcome{State: StateFailed, Failure: FailureOf(cause), Plan: st.plan}
	if temporal.IsCanceledError(cause) {
		o.State = StateCanceled
	}
	if st.env.DryRun {
		return o
	}
	o.Undone = st.compensate(ctx)
	return o
}

// listen takes the pause and resume signals; they only set state, the body acts on it between two steps.
func (st *state) listen(ctx workflow.Context) {
	pause := workflow.GetSignalChannel(ctx, SignalPause)
	resume := workflow.GetSignalChannel(ctx, SignalResume)
	workflow.Go(ctx, func(ctx workflow.Context) {
		sel := workflow.NewSelector(ctx)
		sel.AddReceive(pause, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); st.paused = true })
		sel.AddReceive(resume, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); st.paused = false })
		for ctx.Err() == nil {
			sel.Select(ctx)
		}
	})
}
