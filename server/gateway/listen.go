package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/server/gateway/lostpoll"
)

// gatewayChannel is where gateways tell each other about agents that moved.
const gatewayChannel = "pgdrover_gateway"

// sessionNote says that an agent's process polls at a gateway now. Others fail at once what they handed to an earlier
// process, and what the agent says it never got.
type sessionNote struct {
	From    uuid.UUID       `json:"from"`
	Host    uuid.UUID       `json:"host"`
	Session string          `json:"session"`
	Lost    lostpoll.Ranges `json:"lost,omitempty"`
}

func (g *Gateway) announce(ctx context.Context, n sessionNote) {
	n.From = g.cfg.ID
	g.work.Go(func() {
		raw, err := json.Marshal(n)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := g.cfg.DB.NotifyGateways(ctx, string(raw)); err != nil {
			g.log.Warn("other gateways could not be told of an agent", "host", n.Host, "error", err)
		}
	})
}

// listen hears of revocations and of agents that moved, on a connection of its own.
func (g *Gateway) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := g.listenOnce(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("notifications are not heard for now", "error", err)
			pause(ctx, time.Second)
		}
	}
}

func (g *Gateway) listenOnce(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, g.cfg.DB.Pool.Config().ConnConfig.Copy())
	if err != nil {
		return fmt.Errorf("connect to listen: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, channel := range []string{db.EventChannel, gatewayChannel} {
		if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
			return fmt.Errorf("listen on %s: %w", channel, err)
		}
	}
	// Whatever was said while nobody listened is unknown.
	g.identities.forgetAll()
	g.recheck.addAll(g.hosts.all())
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("wait for notifications: %w", err)
		}
		if n.Channel == gatewayChannel {
			g.heardOfSession(ctx, n.Payload)
		} else {
			g.heardEvent(n.Payload)
		}
	}
}

func (g *Gateway) heardEvent(payload string) {
	var e db.Event
	if json.Unmarshal([]byte(payload), &e) != nil || e.Kind != "host" {
		return
	}
	g.Forget(e.ID)
}

func (g *Gateway) heardOfSession(ctx context.Context, payload string) {
	var n sessionNote
	if json.Unmarshal([]byte(payload), &n) != nil || n.From == g.cfg.ID {
		return
	}
	h := g.hosts.find(n.Host)
	if h == nil {
		return
	}
	orphans := h.elsewhere(n.Session, n.Lost, time.Now())
	g.failAll(ctx, h, orphans, FailureAgentRestarted, "The agent went to another gateway without this step.")
}

// pending are hosts whose right to be here is in question.
type pending struct {
	wake chan struct{}
	mu   sync.Mutex
	ids  map[uuid.UUID]struct{}
}

func newPending() *pending {
	return &pending{wake: make(chan struct{}, 1), ids: map[uuid.UUID]struct{}{}}
}

func (p *pending) add(id uuid.UUID) {
	p.mu.Lock()
	p.ids[id] = struct{}{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pending) addAll(list []*hostState) {
	for _, h := range list {
		p.add(h.id)
	}
}

func (p *pending) take() []uuid.UUID {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]uuid.UUID, 0, len(p.ids))
	for id := range p.ids {
		ids = append(ids, id)
	}
	clear(p.ids)
	return ids
}

// watchRevoked ends what a revoked host still holds. New calls are refused anyway; a held poll would go on.
func (g *Gateway) watchRevoked(ctx context.Context) {
	t := time.NewTicker(g.cfg.timing.revoked)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.recheck.wake:
			var some []*hostState
			for _, id := range g.recheck.take() {
				if h := g.hosts.find(id); h != nil {
					some = append(some, h)
				}
			}
			g.cutRevoked(ctx, some)
		case <-t.C:
			g.cutRevoked(ctx, g.hosts.all())
		}
	}
}

func (g *Gateway) cutRevoked(ctx context.Context, some []*hostState) {
	held := map[string]*hostState{}
	var serials []string
	for _, h := range some {
		for _, serial := range h.heldSerials() {
			if _, ok := held[serial]; !ok {
				serials = append(serials, serial)
			}
			held[serial] = h
		}
	}
	if len(serials) == 0 {
		return
	}
	call, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	good, err := g.cfg.DB.GoodCertificates(call, serials)
	if err != nil {
		return
	}
	for _, serial := range good {
		delete(held, serial)
	}
	for serial, h := range held {
		g.cutOff(ctx, h, serial)
	}
}

// cutOff ends what a host holds under one certificate; the host may have a newer one.
func (g *Gateway) cutOff(ctx context.Context, h *hostState, serial string) {
	g.log.Info("a revoked certificate is cut off", "host", h.id, "serial", serial)
	g.identities.forget(h.id)
	h.dismiss(func(w *waiter) bool { return w.serial == serial }, delivery{err: errRevoked}, time.Now())
	g.presence.unbind(h, serial)
	if len(h.heldSerials()) > 0 {
		return
	}
	drop, fail := h.cut()
	g.dropPolls(ctx, h, drop)
	g.failAll(ctx, h, fail, FailureAgentAway, "The host was revoked.")
}
