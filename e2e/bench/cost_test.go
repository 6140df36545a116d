package bench_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// cost is what the system has spent so far. Unlike times it hardly depends on what else the machine does.
type cost struct {
	cpu  map[string]time.Duration
	work map[string]float64
}

// spent reads it from /proc and from the repository's statistics.
func spent(b *testing.B, t *bed) cost {
	b.Helper()
	c := cost{cpu: map[string]time.Duration{}, work: map[string]float64{}}
	c.cpu["manager"], c.cpu["temporal"], c.cpu["agent"] = cpu(b, t.Manager.PID()), cpu(b, t.Temporal.PID()), cpu(b, t.agent.PID())
	for _, pid := range servers(b, t) {
		c.cpu["postgres"] += cpu(b, pid)
	}
	db, err := pgx.Connect(b.Context(), t.Repository.DSN("pgdrover"))
	require.NoError(b, err)
	defer db.Close(context.WithoutCancel(b.Context()))
	rows, err := db.Query(b.Context(), `SELECT datname::text || ' transactions', (xact_commit + xact_rollback)::float8
		FROM pg_stat_database
		WHERE datname IN ('pgdrover', 'temporal', 'temporal_visibility')`)
	require.NoError(b, err)
	for rows.Next() {
		var name string
		var n float64
		require.NoError(b, rows.Scan(&name, &n))
		c.work[name] = n
	}
	require.NoError(b, rows.Err())
	var syncs float64
	if err := db.QueryRow(b.Context(), "SELECT wal_sync::float8 FROM pg_stat_wal").Scan(&syncs); err == nil { // from version 14
		c.work["WAL syncs"] = syncs
	}
	return c
}

// servers are the processes of the repository: the postmaster and its children.
func servers(b *testing.B, t *bed) []int {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(t.Repository.DataDir(), "postmaster.pid"))
	require.NoError(b, err)
	first, _, _ := strings.Cut(string(text), "\n")
	head, err := strconv.Atoi(first)
	require.NoError(b, err)
	pids := []int{head}
	lists, _ := filepath.Glob("/proc/" + first + "/task/*/children")
	for _, l := range lists {
		children, err := os.ReadFile(l)
		require.NoError(b, err)
		for c := range strings.FieldsSeq(string(children)) {
			pid, err := strconv.Atoi(c)
			require.NoError(b, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// reportCost says what n pieces of work took each.
func reportCost(b *testing.B, what string, before, after cost, n int) {
	b.Helper()
	all := 0.0
	for _, p := range []string{"manager", "temporal", "agent", "postgres"} {
		ms := (after.cpu[p] - before.cpu[p]).Seconds() * 1000 / float64(n)
		all += ms
		report(b, "  "+what+", CPU of "+p, "ms", ms, 0)
	}
	report(b, "  "+what+", CPU of all", "ms", all, 0)
	for _, w := range []string{"pgdrover transactions", "temporal transactions", "temporal_visibility transactions", "WAL syncs"} {
		report(b, "  "+what+", "+w, "", (after.work[w]-before.work[w])/float64(n), 0)
	}
}
