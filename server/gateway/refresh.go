package gateway

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
)

// StoreFacts takes facts that were asked for, beside the agent's own reports and their order.
func (g *Gateway) StoreFacts(ctx context.Context, id uuid.UUID, f host.Facts) error {
	// An answer by way of Temporal is no more trusted than a report.
	if err := checkReports(host.ReportsIn{Reports: []host.Report{{Seq: 1, Epoch: "asked", Facts: &f}}}); err != nil {
		return fmt.Errorf("store facts of host %s: %w", id, err)
	}
	err := g.cfg.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		h, err := q.HostForReport(ctx, id)
		if err != nil {
			return err
		}
		m := merged{any: true, facts: &f, instances: map[string]host.Instance{}}
		m.take(f.Instances)
		changed := map[uuid.UUID]struct{}{}
		a := applier{q: q, host: h, news: m, changed: changed, settled: g.cfg.timing.settled}
		if err := a.apply(ctx); err != nil {
			return err
		}
		events := []db.Event{{Kind: "host", ID: id.String()}}
		for i := range changed {
			events = append(events, db.Event{Kind: "instance", ID: i.String()})
		}
		return notifyAll(ctx, q, events)
	})
	if err != nil {
		return fmt.Errorf("store facts of host %s: %w", id, err)
	}
	return nil
}
