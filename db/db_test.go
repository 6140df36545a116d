package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/embedpostgres/pgtest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func open(t *testing.T) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: pgtest.NewDatabase(t)})
	require.NoError(t, err)
	t.Cleanup(d.Close)
	require.NoError(t, d.Migrate(t.Context()))
	return d
}

// Managers that start together migrate once; a later one finds nothing to do.
func TestMigrateTogether(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	var all sync.WaitGroup
	failed := make(chan error, 4)
	for range 4 {
		all.Go(func() {
			d, err := db.Open(t.Context(), db.Config{URL: url})
			if err == nil {
				err = d.Migrate(t.Context())
				d.Close()
			}
			failed <- err
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
}

type hostRow struct {
	ID   uuid.UUID
	Name string
}

func hosts() db.List {
	return db.List{
		Select: "h.id, h.name", From: "host h", ID: "h.id", Limit: 7,
		Sorts: map[string]db.SortKey{"name": {Expr: "h.name", Type: "text"}, "created_at": {Expr: "h.created_at", Type: "timestamptz"}},
	}
}

// Pages neither repeat nor lose rows, in both directions, with equal sort keys, and while rows are added before.
func TestPagesAreComplete(t *testing.T) {
	t.Parallel()
	d := open(t)
	at := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
	for i := range 40 {
		_, err := d.Pool.Exec(t.Context(), "INSERT INTO host (id, name, created_at) VALUES ($1, $2, $3)",
			uuid.Must(uuid.NewV7()), fmt.Sprintf("host-%02d", i), at.Add(time.Duration(i/10)*time.Second))
		require.NoError(t, err)
	}
	for _, sort := range []string{"name", "-name", "created_at", "-created_at"} {
		seen := map[string]bool{}
		l := hosts()
		l.Sort = sort
		for pages := 0; ; pages++ {
			require.Less(t, pages, 10)
			rows, next, total, err := db.Page[hostRow](t.Context(), d, l)
			require.NoError(t, err)
			require.EqualValues(t, 40, total)
			for _, r := range rows {
				require.False(t, seen[r.Name], "%s twice, sorted by %s", r.Name, sort)
				seen[r.Name] = true
			}
			if next == "" {
				break
			}
			l.Cursor = next
		}
		require.Len(t, seen, 40, "sorted by %s", sort)
	}
}

func TestForeignCursorsAreRefused(t *testing.T) {
	t.Parallel()
	d := open(t)
	for _, cursor := range []string{"x", "e30", "eyJzIjoibmFtZSIsImsiOiJhIiwiaSI6IjEnOyBEUk9QIFRBQkxFIGhvc3QifQ"} {
		l := hosts()
		l.Sort, l.Cursor = "name", cursor
		_, _, _, err := db.Page[hostRow](t.Context(), d, l)
		require.ErrorIs(t, err, db.ErrBadCursor, cursor)
	}
}

func operation(t *testing.T, d *db.DB, state string, locks ...db.Lock) uuid.UUID {
	t.Helper()
	raw, err := json.Marshal(locks)
	require.NoError(t, err)
	id := uuid.Must(uuid.NewV7())
	waiting := ""
	if state == "waiting" {
		waiting = "lock"
	}
	_, err = d.InsertOperation(t.Context(), gen.InsertOperationParams{
		ID: id, Name: "test-op", Title: "Test", State: state, WaitingFor: waiting, Risk: "change", TargetKind: "none",
		Input: []byte(`{}`), Locks: raw, Actor: "test",
	})
	require.NoError(t, err)
	return id
}

func take(ctx context.Context, d *db.DB, id uuid.UUID, locks ...db.Lock) (holder *db.Holder, err error) {
	err = d.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if holder, err = db.CheckLocks(ctx, q, locks); err != nil || holder != nil {
			return err
		}
		return db.TakeLocks(ctx, q, id, 1, locks)
	})
	return holder, err
}

// Of many that want the same objects at once, in whatever order they name them, one gets them.
func TestLocksAreExclusive(t *testing.T) {
	t.Parallel()
	d := open(t)
	a, b := db.Lock{Kind: "instance", ID: "a", Mode: "exclusive"}, db.Lock{Kind: "instance", ID: "b", Mode: "exclusive"}
	var all sync.WaitGroup
	got := make(chan error, 12)
	errHeld := errors.New("held")
	for i := range 12 {
		id := operation(t, d, "accepted")
		all.Go(func() {
			locks := []db.Lock{a, b}
			if i%2 == 1 {
				locks = []db.Lock{b, a}
			}
			holder, err := take(t.Context(), d, id, locks...)
			if err == nil && holder != nil {
				err = errHeld
			}
			got <- err
		})
	}
	all.Wait()
	close(got)
	won := 0
	for err := range got {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, errHeld)
	}
	require.Equal(t, 1, won)
}

func TestSharedLocks(t *testing.T) {
	t.Parallel()
	d := open(t)
	shared := db.Lock{Kind: "instance", ID: "a", Mode: "shared"}
	for range 2 {
		holder, err := take(t.Context(), d, operation(t, d, "accepted"), shared)
		require.NoError(t, err)
		require.Nil(t, holder)
	}
	holder, err := take(t.Context(), d, operation(t, d, "accepted"), db.Lock{Kind: "instance", ID: "a", Mode: "exclusive"})
	require.NoError(t, err)
	require.NotNil(t, holder)
	require.Equal(t, "instance a", holder.Lock)
}

// The end of an operation frees its locks and grants the oldest that waits; who waits longer is not overtaken.
func TestWaitingIsFairAndFenced(t *testing.T) {
	t.Parallel()
	d := open(t)
	x, y := db.Lock{Kind: "instance", ID: "x", Mode: "exclusive"}, db.Lock{Kind: "instance", ID: "y", Mode: "exclusive"}
	holder := operation(t, d, "accepted", x)
	_, err := take(t.Context(), d, holder, x)
	require.NoError(t, err)
	first := operation(t, d, "waiting", x, y)
	second := operation(t, d, "waiting", y)

	grant := func() (ids []uuid.UUID) {
		require.NoError(t, d.InTx(t.Context(), func(ctx context.Context, q *gen.Queries) error {
			ids, err = db.GrantWaiting(ctx, q)
			return err
		}))
		return ids
	}
	require.Empty(t, grant(), "y is free, but the first has waited for it longer")
	finish := func(id uuid.UUID) (ids []uuid.UUID) {
		require.NoError(t, d.InTx(t.Context(), func(ctx context.Context, q *gen.Queries) error {
			_, ids, err = db.Finish(ctx, q, db.End{Operation: id, State: "succeeded"})
			return err
		}))
		return ids
	}
	require.Equal(t, []uuid.UUID{first}, finish(holder))
	require.Empty(t, finish(holder), "told twice, it ends once")
	require.Equal(t, []uuid.UUID{second}, finish(first))
	one, err := d.GetOperation(t.Context(), first)
	require.NoError(t, err)
	two, err := d.GetOperation(t.Context(), second)
	require.NoError(t, err)
	require.Greater(t, two.Fence, one.Fence)
}

// Operations that share an object are not fenced against one another.
func TestSharedLocksDrawNoFence(t *testing.T) {
	t.Parallel()
	d := open(t)
	fence, err := db.DrawFence(t.Context(), d.Queries, []db.Lock{{Kind: "instance", ID: "a", Mode: "shared"}})
	require.NoError(t, err)
	require.Zero(t, fence)
	fence, err = db.DrawFence(t.Context(), d.Queries, []db.Lock{{Kind: "instance", ID: "a", Mode: "exclusive"}})
	require.NoError(t, err)
	require.Positive(t, fence)
}

// What the gateway could not write down is mended from the workflow's own account.
func TestDigestMendsSteps(t *testing.T) {
	t.Parallel()
	d := open(t)
	id := operation(t, d, "accepted")
	require.NoError(t, d.UpsertStep(t.Context(), gen.UpsertStepParams{
		OperationID: id, Step: "01-a", Seq: 1, Verb: "a", Title: "A",
		Attempt: 3,
	}))
	require.NoError(t, d.InTx(t.Context(), func(ctx context.Context, q *gen.Queries) error {
		_, _, err := db.Finish(ctx, q, db.End{Operation: id, State: "succeeded", Steps: []db.StepRecord{
			{Step: "01-a", Seq: 1, Verb: "a", Title: "A", State: "completed"},
			{Step: "02-b", Seq: 2, Verb: "b", Title: "B", State: "completed"},
		}})
		return err
	}))
	steps, err := d.ListSteps(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, steps, 2)
	for _, s := range steps {
		require.Equal(t, "completed", s.State)
		require.Equal(t, "digest", s.Source)
	}
	require.EqualValues(t, 3, steps[0].Attempt, "what was seen is kept")
}

// A transaction that loses a race is repeated.
func TestInTxRepeatsLostRaces(t *testing.T) {
	t.Parallel()
	d := open(t)
	n := 0
	require.NoError(t, d.InTx(t.Context(), func(ctx context.Context, q *gen.Queries) error {
		n++
		if n < 3 {
			_, err := d.Pool.Exec(ctx, "DO $$ BEGIN RAISE serialization_failure; END $$")
			return err
		}
		return nil
	}))
	require.Equal(t, 3, n)
}

// While the repository is away errors say so, and the pool recovers by itself.
func TestUnavailableIsToldApart(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), db.Config{URL: "postgres://nobody@127.0.0.1:1/none?connect_timeout=1"})
	require.NoError(t, err, "opening needs no server")
	t.Cleanup(d.Close)
	_, err = d.CountAccounts(t.Context())
	require.True(t, db.IsUnavailable(err), "%v", err)
	require.False(t, db.IsUnavailable(pgx.ErrNoRows))
	require.False(t, db.IsUnavailable(context.Canceled))
	require.False(t, db.IsUnavailable(nil))
}
