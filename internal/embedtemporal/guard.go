package embedtemporal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// guardKey is the advisory lock's number: "pgdTemp" in ASCII.
	guardKey   = 0x70676454656d70
	guardEvery = 5 * time.Second
	// guardPatience lets a predecessor that was just killed lose its connection.
	guardPatience = 3 * time.Second
)

var errInUse = errors.New("another process runs Temporal on this database")

// guard holds the lock that keeps a second server off the database, and takes it again after PostgreSQL restarted.
type guard struct {
	cfg  *Config
	conn *pgx.Conn
	stop context.CancelFunc
	done chan struct{}
}

func takeGuard(ctx context.Context, cfg *Config) (*guard, error) {
	g := &guard{cfg: cfg, done: make(chan struct{})}
	wait, cancel := context.WithTimeout(ctx, guardPatience)
	defer cancel()
	for {
		err := g.take(wait)
		if err == nil {
			break
		}
		if !errors.Is(err, errInUse) || pause(wait, 100*time.Millisecond) != nil {
			return nil, fmt.Errorf("lock Temporal's database %s: %w", cfg.Database, err)
		}
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.stop = stop
	go g.watch(watch)
	return g, nil
}

func (g *guard) take(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, g.cfg.dsn(g.cfg.Database))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	var got bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(guardKey)).Scan(&got)
	if err == nil && got {
		g.conn = conn
		return nil
	}
	closeErr := conn.Close(ctx)
	if err == nil {
		err = errInUse
	}
	return errors.Join(err, closeErr)
}

// watch notices a lost lock. It does not end the server then: Temporal's own shard ranges keep data whole, and work in
// progress is worth more than a quick end.
func (g *guard) watch(ctx context.Context) {
	defer close(g.done)
	for pause(ctx, guardEvery) == nil {
		if g.conn != nil && g.conn.Ping(ctx) == nil {
			continue
		}
		if g.conn != nil {
			_ = g.conn.Close(ctx) // broken already
			g.conn = nil
		}
		if err := g.take(ctx); err != nil && ctx.Err() == nil {
			level := slog.LevelWarn
			if errors.Is(err, errInUse) {
				level = slog.LevelError
			}
			g.cfg.Logger.Log(ctx, level, "lock on Temporal's database lost", "database", g.cfg.Database, "error", err)
		}
	}
}

func (g *guard) release(ctx context.Context) error {
	g.stop()
	<-g.done
	if g.conn == nil {
		return nil
	}
	if err := g.conn.Close(ctx); err != nil {
		return fmt.Errorf("unlock Temporal's database %s: %w", g.cfg.Database, err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
