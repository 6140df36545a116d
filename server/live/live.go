// Package live reads from a host at once, without an operation: a standalone activity on the host's queue with a short
// schedule-to-start time-out, so that an absent agent gives a clear answer in seconds.
package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// absent is how long a task may wait for an agent before it is called absent.
const absent = 3 * time.Second

// Read asks the agent of a host. Only read-only verbs are allowed: there is no record of it.
func Read[In, Out any](ctx context.Context, c client.Client, hostID uuid.UUID, a op.Activity[In, Out], in In) (Out, error) {
	var out Out
	info := a.Info()
	if !info.ReadOnly || info.Side != op.OnAgent {
		return out, fmt.Errorf("live read by %s: the verb changes something", info.Name)
	}
	h, err := c.ExecuteActivity(ctx, client.StartActivityOptions{
		ID: "live:" + uuid.NewString(), TaskQueue: op.AgentQueue(hostID.String()), ScheduleToStartTimeout: absent,
		StartToCloseTimeout: 30 * time.Second, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	}, info.Name, in)
	if err == nil {
		err = h.Get(ctx, &out)
	}
	var late *temporal.TimeoutError
	switch {
	case errors.As(err, &late):
		return out, errs.New(errs.Unavailable, op.CodeHostOffline, "The host's agent did not answer in time.").Because(err)
	case err != nil:
		f := op.FailureOf(err)
		// The gateway's own words for an agent that went away or was started anew with the task in its hands.
		if f.Code == "agent-away" || f.Code == "agent-restarted" {
			return out, errs.New(errs.Unavailable, op.CodeHostOffline, "The host's agent went away; try again.").Because(err)
		}
		if f.Code != op.CodeInternal {
			return out, errs.New(errs.Conflict, f.Code, "%s", f.Message).Because(err)
		}
		return out, errs.New(errs.Unavailable, "temporal-unavailable", "The host could not be asked; try again.").Because(err)
	}
	return out, nil
}
