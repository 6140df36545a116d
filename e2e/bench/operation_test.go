package bench_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/pgdrover/pgdrover/internal/embedpostgres"
	"github.com/stretchr/testify/require"
)

// An operation that does nothing on one host: what the machinery itself takes.
func BenchmarkOperation(b *testing.B) {
	t := theBed(b)
	in := map[string]any{"host_id": t.hostID, "program": "/usr/bin/true"}
	times(b, 0, 20, func() { perform(b, t, "host-command", in) })
	var ids []uuid.UUID
	before := spent(b, t)
	samples := times(b, 0, 200, func() {
		o := perform(b, t, "host-command", in)
		ids = append(ids, uuid.MustParse(o.ID))
	})
	after := spent(b, t)
	report(b, "operation of one step, p50", "ms", percentile(samples, 0.50), 40)
	report(b, "operation of one step, p99", "ms", percentile(samples, 0.99), 0)
	reportPhases(b, t, ids)
	reportCost(b, "each", before, after, len(ids))
}

func perform(b *testing.B, t *bed, name string, in any) system.Operation {
	b.Helper()
	var o system.Operation
	require.NoError(b, t.client.Post(b.Context(), "/api/v1/operations/"+name, in, &o, "Prefer", "wait=60"))
	require.Equal(b, "succeeded", o.State, "%+v", o.Failure)
	return o
}

// reportPhases says where the time of operations went, by what was recorded of them.
func reportPhases(b *testing.B, t *bed, ids []uuid.UUID) {
	b.Helper()
	db, err := pgx.Connect(b.Context(), t.Repository.DSN("pgdrover"))
	require.NoError(b, err)
	defer db.Close(context.WithoutCancel(b.Context()))
	rows, err := db.Query(b.Context(), `SELECT extract(epoch FROM o.started_at - o.accepted_at) * 1000,
		extract(epoch FROM s.started_at - o.started_at) * 1000, extract(epoch FROM s.ended_at - s.started_at) * 1000,
		extract(epoch FROM o.ended_at - s.ended_at) * 1000
		FROM operation o JOIN operation_step s ON s.operation_id = o.id WHERE o.id = ANY($1)`, ids)
	require.NoError(b, err)
	phases := make([][]time.Duration, 4)
	for rows.Next() {
		var ms [4]float64
		require.NoError(b, rows.Scan(&ms[0], &ms[1], &ms[2], &ms[3]))
		for i, v := range ms {
			phases[i] = append(phases[i], time.Duration(v*float64(time.Millisecond)))
		}
	}
	require.NoError(b, rows.Err())
	for i, name := range []string{
		"accepted to running", "running to the step's begin", "the step",
		"the step's end to the operation's",
	} {
		slices.Sort(phases[i])
		report(b, "  "+name+", p50", "ms", percentile(phases[i], 0.50), 0)
	}
}

// An operation over the commands it runs: creating an instance against the same by hand on the same disk.
func BenchmarkOverhead(b *testing.B) {
	t := theBed(b)
	bins := embedpostgres.FindBinDirs(b.Context())
	require.NotEmpty(b, bins)
	n := 0
	next := func() (name, dir string, port int) {
		n++
		port, err := system.FreePort(b.Context())
		require.NoError(b, err)
		name = "overhead-" + strconv.Itoa(n)
		return name, filepath.Join(t.Dir, "made", name), port
	}
	require.NoError(b, os.MkdirAll(filepath.Join(t.Dir, "made"), 0o777))
	require.NoError(b, os.Chmod(filepath.Join(t.Dir, "made"), 0o777))
	// Taken in turn, so that both see the same machine.
	var hand, ours []time.Duration
	for range 5 {
		_, dir, port := next()
		hand = append(hand, times(b, 0, 1, func() { byHand(b, bins[0].Path, dir, port) })...)
		name, dir, port := next()
		ours = append(ours, times(b, 0, 1, func() {
			perform(b, t, "instance-create", map[string]any{
				"host_id": t.hostID, "name": name, "version": strconv.Itoa(bins[0].Major), "port": port, "data_directory": dir,
				"password": "bench-Passw0rd",
			})
		})...)
	}
	slices.Sort(hand)
	slices.Sort(ours)
	report(b, "instance by hand, p50", "ms", percentile(hand, 0.50), 0)
	report(b, "instance by operation, p50", "ms", percentile(ours, 0.50), 0)
	report(b, "operation over its commands", "ms", percentile(ours, 0.50)-percentile(hand, 0.50), 500)
}

// byHand does what instance-create's commands do.
func byHand(b *testing.B, bin, dir string, port int) {
	b.Helper()
	pw := dir + ".pw"
	require.NoError(b, os.WriteFile(pw, []byte("bench-Passw0rd\n"), 0o644))
	for _, args := range [][]string{
		{
			"initdb", "--pgdata=" + dir, "--username=postgres", "--pwfile=" + pw, "--encoding=UTF8", "--locale=C.UTF-8",
			"--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--data-checksums",
		},
		{
			"pg_ctl", "start", "--pgdata=" + dir, "--wait", "--log=" + dir + "/server.log",
			"--options=" + fmt.Sprintf("-p %d -k /tmp -h localhost", port),
		},
	} {
		program := filepath.Join(bin, args[0])
		cmd := exec.CommandContext(b.Context(), program, args[1:]...)
		if os.Geteuid() == 0 {
			cmd = exec.CommandContext(b.Context(), "setpriv",
				append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups", program}, args[1:]...)...)
		}
		cmd.Dir = "/tmp"
		// No pipes: the server inherits them, and waiting for their end would wait for the server's.
		out, err := os.Create(dir + "." + args[0] + ".out")
		require.NoError(b, err)
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Run()
		require.NoError(b, out.Close())
		said, _ := os.ReadFile(out.Name())
		require.NoError(b, err, "%s", said)
	}
}

// A live read: API, Temporal, gateway, agent and back.
func BenchmarkLiveRead(b *testing.B) {
	t := theBed(b)
	before := spent(b, t)
	samples := times(b, 10, 200, func() {
		require.NoError(b, t.client.Post(b.Context(), "/api/v1/hosts/"+t.hostID+"/refresh-facts", nil, nil))
	})
	after := spent(b, t)
	report(b, "live read, p50", "ms", percentile(samples, 0.50), 0)
	report(b, "live read, p99", "ms", percentile(samples, 0.99), 100)
	reportCost(b, "each", before, after, 10+len(samples))
}

// The same way without an agent's work: what the API alone takes.
func BenchmarkRead(b *testing.B) {
	t := theBed(b)
	samples := times(b, 10, 200, func() {
		var out struct{ ID string }
		require.NoError(b, t.client.Get(b.Context(), "/api/v1/hosts/"+t.hostID, &out))
	})
	report(b, http.MethodGet+" of one host, p99", "ms", percentile(samples, 0.99), 0)
}
