package op

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Side says where an activity runs: on an agent's queue or beside the manager.
type Side int

const (
	// OnAgent activities run on the queue of the host chosen by OnHost.
	OnAgent Side = iota
	// OnManager activities run on the queue of the managers.
	OnManager
)

// Profile is a named set of time limits, so that no workflow invents its own.
type Profile struct {
	// StartToClose is the time one attempt may take; it is also how long a lost task goes unnoticed.
	StartToClose time.Duration
	// Heartbeat is the longest silence of a running attempt; zero means the verb does not heartbeat.
	Heartbeat time.Duration
}

// The profiles. A long StartToClose always comes with a Heartbeat.
var (
	// Short is for verbs that end within seconds.
	Short = Profile{StartToClose: 20 * time.Second}
	// Watched is for verbs that may take minutes and say that they live.
	Watched = Profile{StartToClose: 24 * time.Hour, Heartbeat: 20 * time.Second}
	// Repo is for what runs beside the manager against the repository.
	Repo = Profile{StartToClose: 10 * time.Second}
)

// Activity is the typed name of an activity: what is called, what goes in, what comes out.
// Implementations are bound to it with Impl, so a workflow never imports one.
type Activity[In, Out any] struct {
	// Name is the activity type; it never changes and has no dots (replay compares only what follows the last dot).
	Name string
	Side Side
	// ReadOnly verbs change nothing: a dry run carries them out, the others it only names.
	ReadOnly bool
	Profile  Profile
}

// ActivityInfo is what can be said of an activity without its types.
type ActivityInfo struct {
	Name     string
	Side     Side
	ReadOnly bool
}

// Info returns the untyped description.
func (a Activity[In, Out]) Info() ActivityInfo {
	return ActivityInfo{Name: a.Name, Side: a.Side, ReadOnly: a.ReadOnly}
}

// Do runs the activity as one step of the operation and waits for its result.
// Title is what a person reads on the operation's page; it must not hold a secret.
// In a dry run a step that changes something is written down as "would do" and the zero Out returned.
func (a Activity[In, Out]) Do(ctx workflow.Context, title string, in In) (Out, error) {
	var out Out
	st := stateOf(ctx)
	if st.committed {
		// After the point of no return a cancellation no longer reaches the steps.
		ctx, _ = workflow.NewDisconnectedContext(ctx)
	}
	if err := st.awaitResume(ctx); err != nil {
		return out, err
	}
	ref := st.nextStep(ctx, a.Info(), title)
	if st.env.DryRun && !a.ReadOnly {
		st.plan = append(st.plan, PlanStep{Step: ref.Step, Verb: a.Name, Title: title, Host: ref.Host, Does: "would do"})
		return out, nil
	}
	if st.env.DryRun {
		st.plan = append(st.plan, PlanStep{Step: ref.Step, Verb: a.Name, Title: title, Host: ref.Host, Does: "checked"})
	}
	ctx = workflow.WithActivityOptions(withRef(ctx, ref), a.options(st, ref))
	err := workflow.ExecuteActivity(ctx, a.Name, in).Get(ctx, &out)
	st.ended(ref, err)
	return out, err
}

func (a Activity[In, Out]) options(st *state, ref StepRef) workflow.ActivityOptions {
	o := workflow.ActivityOptions{
		ActivityID:          ref.Step,
		TaskQueue:           ManagerQueue,
		StartToCloseTimeout: a.Profile.StartToClose,
		HeartbeatTimeout:    a.Profile.Heartbeat,
		WaitForCancellation: true,
		Summary:             ref.Title,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    500 * time.Millisecond,
			BackoffCoefficient: 2,
			MaximumInterval:    20 * time.Second,
		},
	}
	if a.Side == OnAgent {
		o.TaskQueue = AgentQueue(ref.Host)
		if st.env.DryRun {
			// A dry run answers a waiting person: an absent agent is said at once.
			o.ScheduleToStartTimeout = 10 * time.Second
		}
	}
	return o
}

// Impl binds an implementation; generics make its types those of the contract.
func (a Activity[In, Out]) Impl(fn func(context.Context, In) (Out, error)) Implementation {
	return Implementation{Info: a.Info(), Func: fn, Options: activity.RegisterOptions{Name: a.Name}}
}

// Implementation is a bound activity, ready to be registered at a worker.
type Implementation struct {
	Info    ActivityInfo
	Func    any
	Options activity.RegisterOptions
}
