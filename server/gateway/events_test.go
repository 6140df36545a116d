package gateway

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/db"
	"github.com/stretchr/testify/require"
)

// eventLog collects notifications.
type eventLog struct {
	mu   sync.Mutex
	all  []db.Event
	read map[string]int
}

func (f *fixture) events(t *testing.T) *eventLog {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), f.db.Pool.Config().ConnConfig.Copy())
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "LISTEN pgdrover_event")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	log := &eventLog{read: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				_ = conn.Close(context.WithoutCancel(ctx))
				return
			}
			var e db.Event
			if json.Unmarshal([]byte(n.Payload), &e) == nil {
				log.mu.Lock()
				log.all = append(log.all, e)
				log.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return log
}

// next waits for the next event of a kind that was not read yet.
func (l *eventLog) next(t *testing.T, kind string) db.Event {
	t.Helper()
	var got db.Event
	eventually(t, 10*time.Second, "event "+kind, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		n := 0
		for _, e := range l.all {
			if e.Kind != kind {
				continue
			}
			if n == l.read[kind] {
				l.read[kind]++
				got = e
				return true
			}
			n++
		}
		return false
	})
	return got
}

func (l *eventLog) count(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.all {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
