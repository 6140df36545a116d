package bench_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

const manyRows = 10000

// fill makes rows as years of use would leave them: spread over hosts, states and months.
var fill = []string{
	`INSERT INTO host (id, name, state) SELECT gen_random_uuid(), 'list-' || n, 'enrolled' FROM generate_series(1, 100) n`,
	`INSERT INTO instance (id, host_id, name, labels, management, status, data_directory, port, version, size_bytes, status_at)
		SELECT gen_random_uuid(), (SELECT id FROM host WHERE name = 'list-' || (1 + n % 100)),
			'list-instance-' || lpad(n::text, 5, '0'),
			jsonb_build_object('team', 'team-' || n % 20), CASE WHEN n % 4 = 0 THEN 'discovered' ELSE 'managed' END,
			(ARRAY['running', 'running', 'running', 'stopped', 'crashed'])[1 + n % 5], '/list/data/' || n, 5432 + n % 100,
			(12 + n % 6) || '.' || n % 20, n * 1000000::bigint, now()
		FROM generate_series(1, $1::int) n`,
	`INSERT INTO operation (id, name, title, state, risk, target_kind, target_id, target_name, host_id, object_id, input, actor,
			workflow_started, accepted_at, started_at, ended_at)
		SELECT gen_random_uuid(), 'instance-restart', 'Restart instance',
			(ARRAY['succeeded', 'succeeded', 'failed', 'canceled'])[1 + n % 4],
			'disrupt', 'instance', i.id, i.name, i.host_id, i.id, jsonb_build_object('instance_id', i.id), 'person-' || n % 30, true,
			now() - n * interval '40 minutes', now() - n * interval '40 minutes', now() - n * interval '40 minutes'
		FROM (SELECT id, name, host_id, row_number() OVER (ORDER BY name) AS n FROM instance
			WHERE name LIKE 'list-instance-%' LIMIT $1) i`,
}

// Lists of many rows, as a page and a script ask for them.
func BenchmarkLists(b *testing.B) {
	t := theBed(b)
	db, err := pgx.Connect(b.Context(), t.Repository.DSN("pgdrover"))
	require.NoError(b, err)
	defer db.Close(context.WithoutCancel(b.Context()))
	for _, sql := range fill {
		args := []any{manyRows}
		if sql == fill[0] {
			args = nil
		}
		_, err := db.Exec(b.Context(), sql, args...)
		require.NoError(b, err)
	}
	_, err = db.Exec(b.Context(), "ANALYZE") // the server would soon, by itself
	require.NoError(b, err)
	for _, l := range []struct{ path, filter, search string }{
		{"/api/v1/instances", "status=stopped&status=crashed&label=team=team-3", "q=instance-0777"},
		{"/api/v1/operations", "state=failed&actor=person-6", "q=instance-0777"},
	} {
		for _, q := range []struct{ what, query string }{
			{"first page", "limit=50"},
			{"deep page", "limit=50&cursor=" + deep(b, t, l.path)},
			{"filter", "limit=50&" + l.filter},
			{"search", "limit=50&" + l.search},
		} {
			samples := times(b, 5, 100, func() {
				p := page(b, t, l.path+"?"+q.query)
				require.NotEmpty(b, p.Items)
			})
			report(b, fmt.Sprintf("list %s of %d, %s, p99", l.path[len("/api/v1/"):], manyRows, q.what), "ms", percentile(samples, 0.99),
				100)
		}
	}
}

type listed struct {
	Items      []struct{ ID string }
	NextCursor string `json:"next_cursor"`
	Total      int
}

func page(b *testing.B, t *bed, path string) listed {
	b.Helper()
	var p listed
	require.NoError(b, t.client.Get(b.Context(), path, &p))
	return p
}

// deep walks to the page behind nine tenths of the rows.
func deep(b *testing.B, t *bed, path string) string {
	b.Helper()
	cursor := ""
	for range manyRows / 500 * 9 / 10 {
		p := page(b, t, path+"?limit=500&cursor="+cursor)
		require.GreaterOrEqual(b, p.Total, manyRows)
		require.NotEmpty(b, p.NextCursor)
		cursor = p.NextCursor
	}
	return cursor
}
