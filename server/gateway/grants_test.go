package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

func (f *fixture) secretValue(t *testing.T, value string) uuid.UUID {
	t.Helper()
	id, err := keepSecret(t.Context(), f.db.Queries, f.sealer, "operation", []byte(value))
	require.NoError(t, err)
	return id
}

func (f *fixture) fetch(t *testing.T, a *agent, in host.SecretIn) (string, int, string) {
	t.Helper()
	var out host.SecretOut
	status, code := post(t, a.http, f.addr, host.PathSecret, in, &out)
	return out.Value, status, code
}

func TestSecretUnderTheGrantOfAnOperation(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a, b := f.enroll(t, "a"), f.enroll(t, "b")
	o, foreign := f.operation(t, &a.id), f.operation(t, &a.id)
	id := f.secretValue(t, "hunter2")
	require.NoError(t, f.db.InsertSecretGrant(t.Context(), id, o, a.id))
	in := host.SecretIn{Secret: string(op.SecretReference(id.String())), Operation: o.String()}

	value, status, _ := f.fetch(t, a, in)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "hunter2", value)
	value, status, _ = f.fetch(t, a, host.SecretIn{Secret: id.String(), Operation: o.String()})
	require.Equal(t, http.StatusOK, status, "a bare id is a reference too")
	require.Equal(t, "hunter2", value)

	denied := func(a *agent, in host.SecretIn, why string) {
		t.Helper()
		value, status, code := f.fetch(t, a, in)
		require.Equal(t, http.StatusForbidden, status, why)
		require.Equal(t, "forbidden", code, why)
		require.Empty(t, value)
	}
	denied(b, in, "another host")
	denied(a, host.SecretIn{Secret: in.Secret}, "no operation named")
	denied(a, host.SecretIn{Secret: in.Secret, Operation: foreign.String()}, "an operation without the grant")
	denied(a, host.SecretIn{Secret: uuid.NewString(), Operation: o.String()}, "no such secret")
	f.finish(t, o, "0 s")
	denied(a, in, "the operation is over")
	eventually(t, 5*time.Second, "the refusals are audited", func() bool {
		return f.auditCount(t, "result = 'refused' AND target_id = $1 AND detail->>'call' = 'secret'", b.id.String()) == 1
	})
	_, status, code := f.fetch(t, a, host.SecretIn{Secret: "what?"})
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Equal(t, "invalid-input", code)

	var detail string
	require.NoError(t, f.db.Pool.QueryRow(t.Context(), "SELECT coalesce(string_agg(detail::text, ''), '') FROM audit").Scan(&detail))
	require.NotContains(t, detail, "hunter2")
}

func TestSecretAndConfigOfManagedInstances(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a, b := f.enroll(t, "a"), f.enroll(t, "b")
	get := func(etag string) (status int, tag string, c host.AgentConfig) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.addr+host.PathConfig, nil)
		require.NoError(t, err)
		req.Header.Set("If-None-Match", etag)
		resp, err := a.http.Do(req)
		require.NoError(t, err)
		if resp.StatusCode == http.StatusOK {
			require.NoError(t, jsonDecode(resp.Body, &c))
		}
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, resp.Header.Get("Etag"), c
	}
	status, tag, empty := get("")
	require.Equal(t, http.StatusOK, status)
	require.NotNil(t, empty.Instances)
	require.Equal(t, a.id.String(), empty.HostID)
	require.Equal(t, "a", empty.HostName)
	require.Positive(t, empty.FactsIntervalSeconds)
	status, _, _ = get(tag)
	require.Equal(t, http.StatusNotModified, status)

	id := f.secretValue(t, "dbms")
	inst := uuid.Must(uuid.NewV7())
	require.NoError(t, f.db.RegisterInstance(t.Context(), gen.RegisterInstanceParams{
		ID: inst, HostID: a.id, Name: "i", Status: "running", DataDirectory: "/d",
		DbmsUser: "pgdrover", DbmsDatabase: "postgres", DbmsSecretID: &id,
	}))
	status, tag, c := get(`"` + empty.Etag + `"`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, `"`+c.Etag+`"`, tag)
	require.Equal(t, []host.ManagedInstance{{
		ID: inst.String(), DataDirectory: "/d", User: "pgdrover", Database: "postgres", Password: op.SecretReference(id.String()),
	}}, c.Instances)

	value, status, _ := f.fetch(t, a, host.SecretIn{Secret: string(c.Instances[0].Password)})
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "dbms", value)
	_, status, _ = f.fetch(t, b, host.SecretIn{Secret: string(c.Instances[0].Password)})
	require.Equal(t, http.StatusForbidden, status)
	_, err := f.db.Pool.Exec(t.Context(), "UPDATE instance SET management = 'ignored' WHERE id = $1", inst)
	require.NoError(t, err)
	_, status, _ = f.fetch(t, a, host.SecretIn{Secret: id.String()})
	require.Equal(t, http.StatusForbidden, status, "no longer managed")
}

func TestOutputIsStoredOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a, b := f.enroll(t, "a"), f.enroll(t, "b")
	o := f.operation(t, &a.id)
	events := f.events(t)
	chunk := host.OutputChunk{Operation: o.String(), Step: "01-command-run", Run: 1, Data: []byte("hello\x00\xff")}
	send := func(who *agent, c host.OutputChunk) (int, string) {
		return post(t, who.http, f.addr, host.PathOutput, c, nil)
	}

	for range 2 {
		status, code := send(a, chunk)
		require.Equal(t, http.StatusNoContent, status, code)
	}
	chunk.Offset = 7
	status, _ := send(a, chunk)
	require.Equal(t, http.StatusNoContent, status)
	var n, bytes int
	sum := "SELECT count(*), sum(length(data)) FROM operation_output WHERE operation_id = $1"
	require.NoError(t, f.db.Pool.QueryRow(t.Context(), sum, o).Scan(&n, &bytes))
	require.Equal(t, 2, n)
	require.Equal(t, 14, bytes)
	e := events.next(t, "output")
	require.Equal(t, "01-command-run", e.ID)
	require.Equal(t, o.String(), e.Parent)

	status, code := send(b, chunk)
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, "forbidden", code)
	_, err := f.db.Pool.Exec(t.Context(), `INSERT INTO operation_step (operation_id, step, seq, verb, title, host_id, state)
		VALUES ($1, 's', 1, 'v', 't', $2, 'running')`, o, b.id)
	require.NoError(t, err)
	chunk.Step = "s"
	status, _ = send(b, chunk)
	require.Equal(t, http.StatusNoContent, status, "a host with a step")

	f.finish(t, o, "30 minutes")
	chunk.Offset = 100
	status, _ = send(a, chunk)
	require.Equal(t, http.StatusNoContent, status, "late output of a spool")
	f.finish(t, o, "2 hours")
	chunk.Offset = 200
	status, _ = send(a, chunk)
	require.Equal(t, http.StatusForbidden, status)

	for name, bad := range map[string]host.OutputChunk{
		"offset":    {Operation: o.String(), Step: "s", Run: 1, Offset: -1, Data: []byte("x")},
		"run":       {Operation: o.String(), Step: "s", Run: 0, Data: []byte("x")},
		"step":      {Operation: o.String(), Step: "s\x00", Run: 1, Data: []byte("x")},
		"long step": {Operation: o.String(), Step: strings.Repeat("s", 1000), Run: 1, Data: []byte("x")},
		"data":      {Operation: o.String(), Step: "s", Run: 1},
		"operation": {Operation: "x", Step: "s", Run: 1, Data: []byte("x")},
	} {
		status, code := send(a, bad)
		require.Equal(t, http.StatusUnprocessableEntity, status, name)
		require.Equal(t, "invalid-input", code, name)
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	o := f.operation(t, &a.id)
	_, err := f.db.Pool.Exec(t.Context(), `INSERT INTO operation_output (operation_id, step, run, start_offset, data)
		SELECT $1, 's', 1, i, convert_to(repeat('x', 1024 * 1024), 'UTF8') FROM generate_series(1, 64) AS i`, o)
	require.NoError(t, err)
	status, code := post(t, a.http, f.addr, host.PathOutput,
		host.OutputChunk{Operation: o.String(), Step: "s", Run: 1, Offset: 1 << 30, Data: []byte("x")}, nil)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Equal(t, "output-full", code)
}
