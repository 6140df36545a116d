package cli

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestHelpOfADerivedCommand(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	require.Zero(t, s.run("instances", "create", "--help"))
	golden(t, "help-instances-create.txt", s.out.String())
	require.Zero(t, s.run("help"))
	require.Contains(t, s.out.String(), "The fleet:\n  hosts ")
}

func TestEveryOperationHasACommand(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	root := s.root()
	all := s.spec.operations()
	require.NotEmpty(t, all)
	for _, o := range all {
		cmd, rest, err := root.Find([]string{plural(o.Group), o.Verb})
		require.NoError(t, err, o.Name)
		require.Empty(t, rest, o.Name)
		require.NotNil(t, cmd.Flags().Lookup("dry-run"), "%s is shadowed by a command made by hand", o.Name)
		for _, f := range o.Fields {
			require.Equal(t, f.Kind != kindSecret, cmd.Flags().Lookup(f.Flag) != nil, "--%s of %s", f.Flag, o.Name)
		}
	}
}

// A document of tomorrow: a group that is not known yet, and every kind of field.
const tomorrow = `{"paths":{"/api/v1/hosts":{"get":{"operationId":"host-list",
"parameters":[{"name":"q","in":"query","schema":{"type":"string"}}]}},
"/api/v1/operations/backup-take":{"post":{"operationId":"backup-take","summary":"Take a backup",
"tags":["operation","backup"],"x-target":"host",
"requestBody":{"content":{"application/json":{"schema":{"type":"object","required":["host_id","level","key"],"properties":{
"host_id":{"type":"string","format":"uuid"},"level":{"type":"string","enum":["full","diff"],"default":"full"},
"key":{"type":"string","format":"password"},
"jobs":{"type":"integer"},"rate":{"type":"number"},"verify":{"type":"boolean","default":true},
"only":{"type":"array","items":{"type":["string","null"]}},
"options":{"type":"object","additionalProperties":{"type":"integer"}},
"where":{"type":"object","properties":{"bucket":{"type":"string"}}}}}}}}}}},
"components":{"schemas":{}}}`

func TestEveryKindOfField(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	s.Document = []byte(tomorrow)
	f.json("POST /api/v1/operations/backup-take", http.StatusAccepted, recorded(t, "operation.json"))
	s.env["PGDROVER_BACKUP_KEY"] = "k3y-Secret"
	require.Zero(t, s.run("backups", "take", "--host", "db1", "--jobs", "4", "--rate", "1.5",
		"--verify=false", "--only", "a,b", "--only", `\N`,
		"--options", "x=1", "--options", "y=2", "--where", `{"bucket":"b"}`, "--no-follow", "--dry-run=false", "--on-conflict", "wait",
		"--idempotency-key", "k1"), s.err.String())
	sent := f.seen("POST", "/api/v1/operations/backup-take")
	require.Len(t, sent, 1)
	require.JSONEq(t, `{"host_id":"`+hostID+`","level":"full","key":"k3y-Secret","jobs":4,"rate":1.5,"verify":false,
		"only":["a,b",null],
		"options":{"x":1,"y":2},"where":{"bucket":"b"}}`, string(sent[0].body))
	require.Equal(t, "on_conflict=wait", sent[0].query)
	require.Equal(t, "k1", sent[0].header.Get("Idempotency-Key"))
	require.Equal(t, operationOfCreate+"\n", s.out.String())

	for _, wrong := range [][]string{
		{"--host", "db1", "--jobs", "many"},
		{"--host", "db1", "--level", "tiny"},
		{"--host", "db1", "--options", "x"},
		{"--host", "db1", "--where", "{"},
		{"--host", "db1", "--verify=perhaps"},
		{"--host", "db1", "extra"},
		{},
	} {
		require.Equal(t, exitUsage, s.run(append([]string{"backups", "take"}, wrong...)...), "%v: %s", wrong, s.err.String())
	}
}

var create = []string{
	"instances", "create", "--host", "db1", "--name", "a", "--version", "15", "--data-directory", "/srv/pg/a", "--no-follow",
}

func TestSecretsComeEveryWayButTheArguments(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("s3cret\n"), 0o600))
	for name, c := range map[string]struct {
		prepare func(*shell)
		args    []string
	}{
		"standard input": {func(s *shell) { s.In = strings.NewReader("s3cret\n") }, []string{"--password-stdin"}},
		"file":           {func(*shell) {}, []string{"--password-file", file}},
		"environment":    {func(s *shell) { s.env["PGDROVER_INSTANCE_PASSWORD"] = "s3cret" }, nil},
		"prompt":         {func(s *shell) { s.term.answers = []string{"s3cret", "s3cret"} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			s := signedIn(t, f)
			f.json("POST /api/v1/operations/instance-create", http.StatusAccepted, recorded(t, "operation.json"))
			c.prepare(s)
			require.Zero(t, s.run(append(slices.Clip(create), c.args...)...), s.err.String())
			var body map[string]any
			require.NoError(t, json.Unmarshal(f.seen("POST", "/api/v1/operations/instance-create")[0].body, &body))
			require.Equal(t, "s3cret", body["password"])
			require.NotContains(t, body, "superuser", "an optional field has its default from the manager")
			require.NotContains(t, s.out.String()+s.err.String(), "s3cret")
		})
	}
}

func TestSecretsThatAreRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	s.env["PGDROVER_PASSWORD"] = "the-login's-own"
	require.Equal(t, exitUsage, s.run(create...), "the password of login is not for an instance")
	require.Contains(t, s.err.String(), "PGDROVER_INSTANCE_PASSWORD")
	require.Equal(t, exitUsage, s.run(append(slices.Clip(create), "--password", "s3cret")...))
	require.NotContains(t, s.err.String(), "s3cret")
	s.term.answers = []string{"one", "two"}
	require.Equal(t, exitUsage, s.run(create...))
	require.Contains(t, s.err.String(), "not the same")
	require.Empty(t, f.seen("POST", "/api/v1/operations/instance-create"))
}

func TestAnObjectIsNamedByPlaceFlagOrID(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.json("POST /api/v1/operations/instance-restart", http.StatusAccepted, recorded(t, "operation.json"))
	const id = "01a20718-fc9e-712c-be8b-30990c4c08ef"
	for _, args := range [][]string{{"a"}, {"--instance", "a"}, {id}} {
		require.Zero(t, s.run(append([]string{"instances", "restart", "--no-follow"}, args...)...), s.err.String())
	}
	sent := f.seen("POST", "/api/v1/operations/instance-restart")
	require.Len(t, sent, 3)
	for _, r := range sent {
		require.JSONEq(t, `{"instance_id":"`+id+`"}`, string(r.body))
		require.NotEmpty(t, r.header.Get("Idempotency-Key"))
	}
	require.Equal(t, exitUsage, s.run("instances", "restart"))
	require.Contains(t, s.err.String(), "missing: INSTANCE")
	require.Equal(t, exitNotFound, s.run("instances", "restart", "A"), "names are exact")
	require.Contains(t, s.err.String(), "Similar: a")
}

func TestSchedulesTakeTheOperationsOwnCommand(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.json("POST /api/v1/schedules", http.StatusCreated, `{"id":"1","name":"n","kind":"operation","paused":false,"next_runs":[],
		"actor":"ann","created_at":"2026-11-23T06:00:00Z","updated_at":"2026-11-23T06:00:00Z","operation_name":"instance-restart",
		"every_seconds":21600}`)
	require.Zero(t, s.run("schedules", "add", "n", "--every", "6h", "--jitter", "1m", "--",
		"instances", "restart", "a", "--mode", "smart"), s.err.String())
	sent := f.seen("POST", "/api/v1/schedules")[0]
	require.JSONEq(t, `{"name":"n","every_seconds":21600,"jitter_seconds":60,"operation_name":"instance-restart",
		"input":{"instance_id":"01a20718-fc9e-712c-be8b-30990c4c08ef","mode":"smart"}}`, string(sent.body))
	require.Contains(t, s.out.String(), "every 6h")
	for _, wrong := range [][]string{
		{"n", "--every", "6h"},
		{"n", "--", "instances", "restart", "a"},
		{"n", "--cron", "* * * * *", "--", "instances", "create"},
		{"n", "--cron", "* * * * *", "--", "instances", "nothing"},
		{"n", "--cron", "* * * * *", "--", "instances", "restart", "a", "--mode", "x"},
	} {
		require.Equal(t, exitUsage, s.run(append([]string{"schedules", "add"}, wrong...)...), "%v: %s", wrong, s.err.String())
	}
}
