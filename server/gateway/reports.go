package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
)

// reports stores what an agent found out.
func (g *Gateway) reports(w http.ResponseWriter, r *http.Request, c caller) error {
	var in host.ReportsIn
	if err := readJSON(w, r, maxReportBody, &in); err != nil {
		return err
	}
	if err := checkReports(in); err != nil {
		return err
	}
	out := host.ReportsOut{}
	err := g.cfg.DB.InTx(r.Context(), func(ctx context.Context, q *gen.Queries) error {
		var err error
		out.Conflicts, err = g.storeReports(ctx, q, c.hostID, in.Reports)
		return err
	})
	if err != nil {
		return fmt.Errorf("store reports of host %s: %w", c.hostID, err)
	}
	metricReports.Add(len(in.Reports))
	writeJSON(w, out)
	return nil
}

// storeReports answers a batch told twice as it did the first time.
func (g *Gateway) storeReports(
	ctx context.Context, q *gen.Queries, id uuid.UUID, all []host.Report,
) ([]host.InstanceConflict, error) {
	h, err := q.HostForReport(ctx, id)
	if err != nil {
		return nil, err
	}
	news := merge(h.ReportEpoch, h.ReportSeq, all)
	changed := map[uuid.UUID]struct{}{}
	if news.any {
		a := applier{q: q, host: h, news: news, changed: changed, settled: g.cfg.timing.settled}
		if err := a.apply(ctx); err != nil {
			return nil, err
		}
		if err := q.StoreReportSeq(ctx, news.epoch, news.seq, id); err != nil {
			return nil, err
		}
	}
	events := make([]db.Event, 0, len(changed)+1)
	for i := range changed {
		events = append(events, db.Event{Kind: "instance", ID: i.String()})
	}
	if news.facts != nil {
		events = append(events, db.Event{Kind: "host", ID: id.String()})
	}
	if err := notifyAll(ctx, q, events); err != nil {
		return nil, err
	}
	return conflictsOf(ctx, q, id)
}

func conflictsOf(ctx context.Context, q *gen.Queries, id uuid.UUID) ([]host.InstanceConflict, error) {
	rows, err := q.InstancesOfHost(ctx, id)
	if err != nil {
		return nil, err
	}
	out := []host.InstanceConflict{}
	for _, r := range rows {
		if r.Conflict != "" {
			out = append(out, host.InstanceConflict{
				DataDirectory: r.DataDirectory, SystemIdentifier: r.SystemIdentifier, HeldBy: r.Conflict,
			})
		}
	}
	return out, nil
}

// merged is the sum of the reports of a batch that were not stored before: after an outage hundreds come at once, and
// only where they end counts.
type merged struct {
	any   bool
	epoch string
	seq   int64
	// facts of the last full report; its list of instances is complete.
	facts     *host.Facts
	instances map[string]host.Instance
	order     []string
}

func merge(epoch string, seq int64, all []host.Report) merged {
	m := merged{epoch: epoch, seq: seq, instances: map[string]host.Instance{}}
	for _, r := range all {
		if r.Epoch == m.epoch && r.Seq <= m.seq {
			continue
		}
		m.any, m.epoch, m.seq = true, r.Epoch, r.Seq
		if r.Facts != nil {
			m.facts = r.Facts
			clear(m.instances)
			m.order = nil
			m.take(r.Facts.Instances)
		}
		m.take(r.Instances)
	}
	return m
}

func (m *merged) take(list []host.Instance) {
	for _, i := range list {
		if _, ok := m.instances[i.DataDirectory]; !ok {
			m.order = append(m.order, i.DataDirectory)
		}
		m.instances[i.DataDirectory] = i
	}
}

// applier writes merged reports into the rows of a host and its instances.
type applier struct {
	q       *gen.Queries
	host    gen.HostForReportRow
	news    merged
	changed map[uuid.UUID]struct{}
	settled time.Duration

	known   map[string]gen.Instance
	holders map[string][]gen.LeaseHoldersRow
}

func (a *applier) apply(ctx context.Context) error {
	if err := a.storeFacts(ctx); err != nil {
		return err
	}
	if err := a.load(ctx); err != nil {
		return err
	}
	for _, dir := range a.news.order {
		if err := a.instance(ctx, a.news.instances[dir]); err != nil {
			return fmt.Errorf("instance %s: %w", dir, err)
		}
	}
	if a.news.facts == nil {
		return nil
	}
	return a.vanished(ctx)
}

func (a *applier) storeFacts(ctx context.Context) error {
	f := a.news.facts
	if f == nil {
		return nil
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	at := f.CollectedAt
	if at.IsZero() {
		at = time.Now()
	}
	caps := f.Agent.Capabilities
	if caps == nil {
		caps = []string{}
	}
	if f.OS.MachineID != "" {
		a.host.MachineID = f.OS.MachineID
	}
	return a.q.StoreFacts(ctx, gen.StoreFactsParams{
		ID: a.host.ID, Facts: raw, FactsAt: at, AgentVersion: f.Agent.Version, Capabilities: caps, MachineID: f.OS.MachineID,
	})
}

func (a *applier) load(ctx context.Context) error {
	if a.host.MachineID != "" {
		// Two agents of one machine must not both find an instance free.
		if err := a.q.LockKey(ctx, "machine:"+a.host.MachineID); err != nil {
			return err
		}
	}
	rows, err := a.q.InstancesOfHost(ctx, a.host.ID)
	if err != nil {
		return err
	}
	a.known = make(map[string]gen.Instance, len(rows))
	for _, r := range rows {
		a.known[r.DataDirectory] = r
	}
	a.holders = map[string][]gen.LeaseHoldersRow{}
	if a.host.MachineID == "" || len(a.news.order) == 0 {
		return nil
	}
	holders, err := a.q.LeaseHolders(ctx, a.host.ID, a.host.MachineID, a.news.order)
	if err != nil {
		return err
	}
	for _, h := range holders {
		a.holders[h.DataDirectory] = append(a.holders[h.DataDirectory], h)
	}
	return nil
}

// vanished looks for instances that a full report no longer has.
func (a *applier) vanished(ctx context.Context) error {
	reported := a.news.order
	if reported == nil {
		reported = []string{}
	}
	missing, err := a.q.MarkInstancesMissing(ctx, a.host.ID, reported, a.settled.Seconds())
	if err != nil {
		return err
	}
	deleted, err := a.q.DeleteVanishedInstances(ctx, a.host.ID, reported)
	if err != nil {
		return err
	}
	for _, id := range append(missing, deleted...) {
		a.changed[id] = struct{}{}
	}
	return nil
}
