package workflows_test

import (
	"slices"
	"testing"

	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/pgdrover/pgdrover/workflows/op/optest"
	"github.com/stretchr/testify/require"
)

// every runs a check for each operation and each of the steps it takes when nothing is disturbed.
func every(t *testing.T, check func(t *testing.T, o op.Operation, peace *optest.Run, at op.StepRef)) {
	t.Helper()
	for _, o := range workflows.All {
		t.Run(o.Info().Name, func(t *testing.T) {
			t.Parallel()
			peace := execute(t, o, optest.Options{})
			require.Equal(t, op.StateSucceeded, peace.Outcome.State, "undisturbed: %+v", peace.Outcome.Failure)
			for _, at := range peace.Steps {
				t.Run(at.Step, func(t *testing.T) { check(t, o, peace, at) })
			}
		})
	}
}

func execute(t *testing.T, o op.Operation, opt optest.Options) *optest.Run {
	t.Helper()
	r, err := optest.Execute(o, opt)
	require.NoError(t, err)
	require.NoError(t, r.Error, "an operation's workflow never fails itself")
	require.NotNil(t, r.Finished, "the end must always be recorded")
	require.Equal(t, r.Outcome.State, r.Finished.Outcome.State)
	return r
}

func names(steps []op.StepRef) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = s.Step
	}
	return out
}

// A step that fails once, or whose answer is lost, is repeated under the same name, and nothing else changes.
func TestEveryStepFailsOnce(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, o op.Operation, peace *optest.Run, at op.StepRef) {
		r := execute(t, o, optest.Options{Disturb: func(ref op.StepRef, attempt int) error {
			if ref.Step == at.Step && attempt == 1 {
				return optest.ErrLost
			}
			return nil
		}})
		require.Equal(t, op.StateSucceeded, r.Outcome.State)
		require.Equal(t, names(peace.Steps), names(r.Steps))
		require.Equal(t, 2, r.Attempts[at.Step])
	})
}

// A step that fails for good ends the operation as failed, with what was done undone in reverse order, or it was past
// the point of no return and says so.
func TestEveryStepFailsForGood(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, o op.Operation, peace *optest.Run, at op.StepRef) {
		r := execute(t, o, optest.Options{Disturb: func(ref op.StepRef, _ int) error {
			if ref.Step == at.Step {
				return op.Permanent("test", "Broken for good.", "Nothing.")
			}
			return nil
		}})
		require.Equal(t, op.StateFailed, r.Outcome.State)
		require.Equal(t, "test", r.Outcome.Failure.Code)
		require.Equal(t, at.Step, r.Outcome.Failure.Step)
		requireUndone(t, r, at)
	})
}

func requireUndone(t *testing.T, r *optest.Run, at op.StepRef) {
	t.Helper()
	undo := slices.DeleteFunc(slices.Clone(r.Steps), func(s op.StepRef) bool { return !s.Undo })
	switch r.Outcome.Undone {
	case op.UndoneNothing, op.UndoneForwardOnly:
		require.Empty(t, undo)
	case op.UndoneCompensated:
		require.NotEmpty(t, undo)
		require.Greater(t, undo[0].Seq, at.Seq)
	default:
		t.Fatalf("undone is %q", r.Outcome.Undone)
	}
}

// A compensation that fails for good is said, and the others run all the same.
func TestFailedUndoIsSaid(t *testing.T) {
	t.Parallel()
	o := workflows.ByName("instance-create")
	r := execute(t, o, optest.Options{Disturb: func(ref op.StepRef, _ int) error {
		if ref.Verb == "pg-query" || (ref.Undo && ref.Verb == "file-remove") {
			return op.Permanent("test", "Broken for good.", "")
		}
		return nil
	}})
	require.Equal(t, op.UndonePartly, r.Outcome.Undone)
	var undone []string
	for _, s := range r.Steps {
		if s.Undo {
			undone = append(undone, s.Verb)
		}
	}
	require.Equal(t, []string{"pg-ctl", "file-remove", "instance-forget"}, undone)
}

// Canceled at any step, an operation ends canceled and undone, or goes on to its end past the point of no return.
func TestEveryStepCanceled(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, o op.Operation, peace *optest.Run, at op.StepRef) {
		r := execute(t, o, optest.Options{CancelAt: at.Step})
		last := peace.Steps[len(peace.Steps)-1].Step
		switch r.Outcome.State {
		case op.StateSucceeded:
			require.Equal(t, names(peace.Steps), names(r.Steps))
		case op.StateCanceled:
			require.Equal(t, op.CodeCanceled, r.Outcome.Failure.Code)
			requireUndone(t, r, at)
			if at.Step != last {
				require.NotContains(t, names(r.Steps), last, "canceled, it must not go on")
			}
		default:
			t.Fatalf("it ended %s: %+v", r.Outcome.State, r.Outcome.Failure)
		}
	})
}

// A dry run runs read-only verbs alone and names the others.
func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	for _, o := range workflows.All {
		t.Run(o.Info().Name, func(t *testing.T) {
			t.Parallel()
			r := execute(t, o, optest.Options{DryRun: true})
			require.Equal(t, op.StateSucceeded, r.Outcome.State, "%+v", r.Outcome.Failure)
			require.NotEmpty(t, r.Outcome.Plan)
			for _, s := range r.Steps {
				require.True(t, s.ReadOnly, "step %s changes something", s.Step)
			}
			peace := execute(t, o, optest.Options{})
			var planned []string
			for _, p := range r.Outcome.Plan {
				planned = append(planned, p.Verb)
			}
			for _, p := range planned {
				require.True(t, slices.ContainsFunc(peace.Steps, func(s op.StepRef) bool { return s.Verb == p }), "planned %s never happens",
					p)
			}
		})
	}
}
