package op

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/workflow"
)

type compensation struct {
	run func(workflow.Context) error
}

// OnUndo adds a compensation, run in reverse order when the operation fails or is canceled. Add it BEFORE the
// step it undoes: a step whose answer was lost may have done its work. The function must be harmless where
// there is nothing to undo.
func OnUndo(ctx workflow.Context, run func(workflow.Context) error) {
	st := stateOf(ctx)
	st.undo = append(st.undo, compensation{run: run})
}

// Commit is the point of no return: nothing is undone any more, a cancellation no longer reaches the steps,
// and the operation goes on to its end.
func Commit(ctx workflow.Context) {
	st := stateOf(ctx)
	st.undo = nil
	st.committed = true
}

// compensate undoes what was done, on a context that no cancellation reaches.
func (st *state) compensate(ctx workflow.Context) Undone {
	if st.committed {
		return UndoneForwardOnly
	}
	if len(st.undo) == 0 {
		return UndoneNothing
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	st.undoing = true
	var errs []error
	for _, v := range slices.Backward(st.undo) {
		if err := v.run(ctx); err != nil {
			workflow.GetLogger(ctx).Error("compensation failed", "error", err)
			errs = append(errs, err)
		}
	}
	if errors.Join(errs...) != nil {
		return UndonePartly
	}
	return UndoneCompensated
}
