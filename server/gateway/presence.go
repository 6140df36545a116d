package gateway

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
)

// presenceState is part of a host's state, under its mutex.
type presenceState struct {
	// conns over which the agent has called, with the certificate's serial. A connection whose peer vanished is closed
	// within seconds by HTTP/2 pings.
	conns map[*conn]string
	// leftAt is when the last one closed.
	leftAt time.Time
	// online is what the repository was told.
	online bool
}

// conn is one TLS connection; host is set by the first call with a good certificate.
type conn struct {
	mu   sync.Mutex
	host *hostState
	gone bool
}

type connKey struct{}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// presence writes down which agents are connected here: at once when that changes, and every few seconds for all of
// them, so that other gateways can tell when this one is dead.
type presence struct {
	grace   time.Duration
	changed chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]*conn
}

func newPresence(grace time.Duration) *presence {
	return &presence{grace: grace, changed: make(chan struct{}, 1), conns: map[net.Conn]*conn{}}
}

func (p *presence) opened(ctx context.Context, nc net.Conn) context.Context {
	c := &conn{}
	p.mu.Lock()
	p.conns[nc] = c
	p.mu.Unlock()
	return context.WithValue(ctx, connKey{}, c)
}

func (p *presence) closed(nc net.Conn) {
	p.mu.Lock()
	c := p.conns[nc]
	delete(p.conns, nc)
	p.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	h := c.host
	c.gone = true
	c.mu.Unlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	delete(h.presence.conns, c)
	if len(h.presence.conns) == 0 {
		h.presence.leftAt = time.Now()
	}
	h.mu.Unlock()
}

// seen binds a connection to the host that called over it.
func (p *presence) seen(h *hostState, c *conn, serial string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.host == h {
		return
	}
	c.host = h
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.presence.conns == nil {
		h.presence.conns = map[*conn]string{}
	}
	h.presence.conns[c] = serial
	if !h.presence.online {
		p.poke()
	}
}

func (p *presence) poke() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// heldSerials are the certificates under which a host holds anything.
func (h *hostState) heldSerials() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var serials []string
	for _, w := range h.waiters {
		serials = append(serials, w.serial)
	}
	for _, serial := range h.presence.conns {
		serials = append(serials, serial)
	}
	slices.Sort(serials)
	return slices.Compact(serials)
}

// unbind forgets the connections under a certificate that was cut off.
func (p *presence) unbind(h *hostState, serial string) {
	h.mu.Lock()
	var gone []*conn
	for c, s := range h.presence.conns {
		if s == serial {
			gone = append(gone, c)
			delete(h.presence.conns, c)
		}
	}
	if len(h.presence.conns) == 0 {
		h.presence.leftAt = time.Now()
	}
	h.mu.Unlock()
	for _, c := range gone {
		c.mu.Lock()
		c.host = nil
		c.mu.Unlock()
	}
}

// want tells what the repository should be told of a host: true, false or nothing.
func (p *presence) want(h *hostState, now time.Time) (online, tell bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.presence.conns) > 0 {
		return true, !h.presence.online
	}
	return false, h.presence.online && now.Sub(h.presence.leftAt) >= p.grace
}

func (h *hostState) told(online bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.presence.online = online
}

// watchPresence writes transitions.
func (g *Gateway) watchPresence(ctx context.Context) {
	t := time.NewTicker(g.cfg.timing.tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-g.presence.changed:
		}
		g.tellTransitions(ctx)
	}
}

func (g *Gateway) tellTransitions(ctx context.Context) {
	var left []*hostState
	connected := 0
	for _, h := range g.hosts.all() {
		online, tell := g.presence.want(h, time.Now())
		if online {
			connected++
		}
		switch {
		case tell && online:
			g.tellOnline(ctx, h)
		case tell:
			left = append(left, h)
		}
	}
	metricHosts.Set(float64(connected))
	if len(left) > 0 {
		g.tellOffline(ctx, left)
	}
}

func (g *Gateway) tellOnline(ctx context.Context, h *hostState) {
	err := g.shortTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		was, err := q.HostOnline(ctx, &g.cfg.ID, h.id)
		if db.IsNotFound(err) || (err == nil && was) {
			return nil
		}
		if err != nil {
			return err
		}
		return db.Notify(ctx, q, db.Event{Kind: "host", ID: h.id.String()})
	})
	if err != nil {
		g.log.Warn("a host's presence could not be written", "host", h.id, "error", err)
		return
	}
	h.told(true)
}

func (g *Gateway) tellOffline(ctx context.Context, left []*hostState) {
	ids := make([]uuid.UUID, 0, len(left))
	for _, h := range left {
		ids = append(ids, h.id)
	}
	err := g.shortTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		gone, err := q.HostsOffline(ctx, ids, &g.cfg.ID)
		if err != nil {
			return err
		}
		return notifyHosts(ctx, q, gone)
	})
	if err != nil {
		g.log.Warn("hosts could not be written as offline", "hosts", len(ids), "error", err)
		return
	}
	for _, h := range left {
		h.told(false)
	}
}

// refreshPresence says that the hosts connected here still are.
func (g *Gateway) refreshPresence(ctx context.Context) {
	var ids []uuid.UUID
	for _, h := range g.hosts.all() {
		if online, tell := g.presence.want(h, time.Now()); online && !tell {
			ids = append(ids, h.id)
		}
	}
	if len(ids) == 0 {
		return
	}
	err := g.shortTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		rows, err := q.RefreshPresence(ctx, &g.cfg.ID, ids, g.cfg.timing.stale.Seconds())
		if err != nil {
			return err
		}
		var back []uuid.UUID
		for _, r := range rows {
			if !r.WasOnline {
				back = append(back, r.ID)
			}
		}
		return notifyHosts(ctx, q, back)
	})
	if err != nil {
		g.log.Warn("presence could not be refreshed", "hosts", len(ids), "error", err)
	}
}

// Sweep marks hosts offline whose gateway no longer refreshes them. Every gateway does it, for the dead ones.
func (g *Gateway) Sweep(ctx context.Context) error {
	return g.shortTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		gone, err := q.SweepPresence(ctx, g.cfg.timing.stale.Seconds())
		if err != nil {
			return err
		}
		return notifyHosts(ctx, q, gone)
	})
}

func notifyHosts(ctx context.Context, q *gen.Queries, ids []uuid.UUID) error {
	events := make([]db.Event, 0, len(ids))
	for _, id := range ids {
		events = append(events, db.Event{Kind: "host", ID: id.String()})
	}
	return notifyAll(ctx, q, events)
}

func (g *Gateway) shortTx(ctx context.Context, fn func(context.Context, *gen.Queries) error) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	return g.cfg.DB.InTx(ctx, fn)
}
