// Package events listens to the repository's notifications and hands them to the pages that are open. One
// connection a manager listens; what was missed while it was away is made up by a "resync" event, upon which
// readers fetch everything anew.
package events

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/db"
)

// Resync is the kind of the event that says "anything may have changed".
const Resync = "resync"

// Hub fans events out. A subscriber that does not keep up gets a resync instead of what it missed.
type Hub struct {
	db  *db.DB
	log *slog.Logger

	mu   sync.Mutex
	subs map[*Subscription]struct{}
}

// Subscription receives events until Close.
type Subscription struct {
	C   chan db.Event
	hub *Hub
}

// New makes a hub; Run feeds it.
func New(d *db.DB, log *slog.Logger) *Hub {
	return &Hub{db: d, log: log, subs: map[*Subscription]struct{}{}}
}

// Subscribe begins to receive.
func (h *Hub) Subscribe() *Subscription {
	s := &Subscription{C: make(chan db.Event, 256), hub: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[s] = struct{}{}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
}

func (h *Hub) publish(e db.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		select {
		case s.C <- e:
		default:
			overflow(s.C)
		}
	}
}

// overflow empties a full channel and leaves one resync in it.
func overflow(c chan db.Event) {
	for {
		select {
		case <-c:
		default:
			c <- db.Event{Kind: Resync}
			return
		}
	}
}

// Run listens until the context ends, and connects again when the repository was away.
func (h *Hub) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := h.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		h.log.Warn("listening for events was cut off; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (h *Hub) listen(ctx context.Context) error {
	// A connection of its own: a listener in the pool would be one query short for ever.
	cfg := h.db.Pool.Config().ConnConfig
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+db.EventChannel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	h.publish(db.Event{Kind: Resync})
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("wait for notification: %w", err)
		}
		var e db.Event
		if json.Unmarshal([]byte(n.Payload), &e) == nil {
			h.publish(e)
		}
	}
}
