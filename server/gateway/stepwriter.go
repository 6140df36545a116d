package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
)

const stepBatch = 256

// writeSteps empties the queue of steps into the repository, one writer for the whole gateway, so that order is kept.
func (g *Gateway) writeSteps(ctx context.Context) {
	ticker := time.NewTicker(progressEvery / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			g.drainSteps(context.WithoutCancel(ctx))
			return
		case <-g.steps.wake:
		case <-ticker.C:
		}
		batch := g.steps.take(stepBatch)
		if len(batch) == 0 {
			continue
		}
		if err := g.storeSteps(ctx, batch); err != nil {
			g.log.Warn("steps wait for the repository", "steps", len(batch), "error", err)
			g.steps.putBack(batch)
			pause(ctx, time.Second)
		}
	}
}

// drainSteps writes what is left when the gateway stops.
func (g *Gateway) drainSteps(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		batch := g.steps.take(stepBatch)
		if len(batch) == 0 {
			return
		}
		if err := g.storeSteps(ctx, batch); err != nil {
			g.log.Warn("steps could not be written before the end; the digests will mend them", "steps", len(batch), "error", err)
			return
		}
	}
}

// storeSteps fails only where trying again can help: an event that the repository refuses is left out.
func (g *Gateway) storeSteps(ctx context.Context, batch []stepEvent) error {
	err := g.storeBatch(ctx, batch)
	if err == nil || db.Code(err) == "" || db.IsUnavailable(err) {
		return err
	}
	for _, e := range batch {
		err := g.storeBatch(ctx, []stepEvent{e})
		if err == nil {
			continue
		}
		if db.Code(err) == "" || db.IsUnavailable(err) {
			return err
		}
		metricStepLoss.Inc()
		g.log.Error("an event of a step was refused", "operation", e.operation, "step", e.step, "error", err)
	}
	return nil
}

func (g *Gateway) storeBatch(ctx context.Context, batch []stepEvent) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return g.cfg.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		changed := map[stepKey]struct{}{}
		for _, e := range batch {
			n, err := storeStep(ctx, q, e)
			if err != nil {
				return err
			}
			if n > 0 {
				changed[e.key()] = struct{}{}
			}
		}
		events := make([]db.Event, 0, len(changed))
		for k := range changed {
			events = append(events, db.Event{Kind: "step", ID: k.step, Parent: k.operation.String()})
		}
		return notifyAll(ctx, q, events)
	})
}

func storeStep(ctx context.Context, q *gen.Queries, e stepEvent) (int64, error) {
	switch e.kind {
	case stepEventStarted:
		return q.StepStarted(ctx, gen.StepStartedParams{
			OperationID: e.operation, Step: e.step, Seq: e.seq, Verb: e.verb, Title: e.title, HostID: &e.host,
			Attempt: e.attempt, Undo: e.undo, At: e.at,
		})
	case stepEventProgress:
		return q.StepProgress(ctx, gen.StepProgressParams{
			OperationID: e.operation, Step: e.step, Attempt: e.attempt, Progress: e.progress,
		})
	case stepEventEnded:
		return q.StepEnded(ctx, gen.StepEndedParams{
			OperationID: e.operation, Step: e.step, Attempt: e.attempt, State: e.state, Failure: e.failure, At: e.at,
		})
	}
	return 0, errors.New("unknown event of a step")
}

// notifyAll sends many events in one statement.
func notifyAll(ctx context.Context, q *gen.Queries, events []db.Event) error {
	if len(events) == 0 {
		return nil
	}
	payloads := make([]string, 0, len(events))
	for _, e := range events {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		payloads = append(payloads, string(b))
	}
	return q.NotifyEvents(ctx, payloads)
}

// every calls fn until the context ends.
func every(ctx context.Context, d time.Duration, fn func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fn()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
