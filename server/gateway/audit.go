package gateway

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/db/gen"
	"golang.org/x/time/rate"
)

const (
	auditQueue = 256
	// auditEvery refusal of one kind and caller; those between are counted.
	auditEvery   = 10 * time.Second
	maxAuditKeys = 10000
)

// refusal is something an agent, or a stranger, was not allowed to do.
type refusal struct {
	caller caller
	what   string
	reason string
}

// refusals writes down what was refused. A peer that hammers at the door must not fill the repository: one row for
// each kind in ten seconds, a few rows a second in all, never waited for.
type refusals struct {
	queue chan gen.InsertAuditParams
	all   *rate.Limiter

	mu   sync.Mutex
	last map[string]*refusedBefore
}

type refusedBefore struct {
	at         time.Time
	suppressed int
}

func newRefusals() *refusals {
	return &refusals{
		queue: make(chan gen.InsertAuditParams, auditQueue), all: rate.NewLimiter(10, 50), last: map[string]*refusedBefore{},
	}
}

// suppressed tells how many were left out since the last one that was written; ok is false for one more.
func (r *refusals) suppressed(key string, now time.Time) (n int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.last[key]
	if before == nil {
		if len(r.last) >= maxAuditKeys {
			clear(r.last)
		}
		r.last[key] = &refusedBefore{at: now}
		return 0, r.all.AllowN(now, 1)
	}
	if now.Sub(before.at) < auditEvery || !r.all.AllowN(now, 1) {
		before.suppressed++
		return 0, false
	}
	n = before.suppressed
	*before = refusedBefore{at: now}
	return n, true
}

func (g *Gateway) refuse(r refusal) {
	metricRejected.Inc()
	who := r.caller.hostName
	if r.caller.serial == "" {
		who = r.caller.remote
	}
	n, ok := g.refusals.suppressed(who+"\x00"+r.what, time.Now())
	if !ok {
		return
	}
	g.log.Warn("refused", "host", r.caller.hostName, "remote", r.caller.remote, "what", r.what, "reason", r.reason)
	detail, err := json.Marshal(map[string]any{"call": r.what, "reason": r.reason, "more_before": n})
	if err != nil {
		return
	}
	row := gen.InsertAuditParams{
		Actor: "agent:" + who, RemoteAddress: r.caller.remote, Action: "gateway.call", Result: "refused", Detail: detail,
	}
	if r.caller.serial != "" {
		row.TargetKind, row.TargetID, row.TargetName = "host", r.caller.hostID.String(), r.caller.hostName
	}
	select {
	case g.refusals.queue <- row:
	default:
	}
}

func (g *Gateway) writeRefusals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case row := <-g.refusals.queue:
			call, cancel := context.WithTimeout(ctx, 5*time.Second)
			if err := g.cfg.DB.InsertAudit(call, row); err != nil {
				g.log.Warn("a refusal could not be audited", "actor", row.Actor, "error", err)
			}
			cancel()
		}
	}
}
