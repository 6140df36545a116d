// Package db is the repository: its schema, its queries (sqlc, in gen/) and the pool. Migrations are embedded and
// run under a lock by whoever starts first. Callers get queries inside a transaction from InTx and use nothing
// else while it lasts: taking a second connection in a transaction can starve the pool.
package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is the repository's pool with its queries.
type DB struct {
	Pool *pgxpool.Pool
	*gen.Queries
}

// Config says where the repository is and how much of it one manager may use.
type Config struct {
	// URL is a libpq connection string; the password may come from PGPASSWORD or a passfile.
	URL string `yaml:"url"`
	// MaxConns of one manager, 16 if 0.
	MaxConns int32 `yaml:"max_conns"`
}

// Open connects without waiting for the server to answer: the manager starts, and says that it is not ready,
// while the repository is away.
func Open(ctx context.Context, c Config) (*DB, error) {
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read the repository's address: %w", err)
	}
	pc.MaxConns = c.MaxConns
	if pc.MaxConns == 0 {
		pc.MaxConns = 16
	}
	pc.MaxConnLifetime = time.Hour
	pc.MaxConnLifetimeJitter = 10 * time.Minute
	pc.MaxConnIdleTime = 10 * time.Minute
	pc.HealthCheckPeriod = 15 * time.Second
	pc.ConnConfig.ConnectTimeout = 5 * time.Second
	pc.ConnConfig.RuntimeParams["application_name"] = "pgdrover"
	pc.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	return &DB{Pool: pool, Queries: gen.New(pool)}, nil
}

// Close ends all connections.
func (d *DB) Close() { d.Pool.Close() }

// Migrate brings the schema up to date; managers that start together do it once.
func (d *DB) Migrate(ctx context.Context) error {
	sqlDB := stdlib.OpenDBFromPool(d.Pool)
	defer sqlDB.Close()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("make migration lock: %w", err)
	}
	fsys, err := subFS()
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, sqlDB, fsys, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	pending, err := p.HasPending(ctx)
	if err != nil {
		return fmt.Errorf("read the repository's schema version: %w", err)
	}
	if !pending {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the repository: %w", err)
	}
	return nil
}

// InTx runs fn in one transaction and retries it when PostgreSQL says that it lost a race.
func (d *DB) InTx(ctx context.Context, fn func(ctx context.Context, q *gen.Queries) error) error {
	var err error
	for range 4 {
		err = pgx.BeginFunc(ctx, d.Pool, func(tx pgx.Tx) error { return fn(ctx, gen.New(tx)) })
		if code := Code(err); code != "40001" && code != "40P01" {
			return err
		}
	}
	return err
}

// IsNotFound tells whether a query for one row found none.
func IsNotFound(err error) bool { return errors.Is(err, pgx.ErrNoRows) }
