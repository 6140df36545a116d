package whole_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

// forms are the ways in which a text may lie in a dump, a log or a payload.
func forms(text string) [][]byte {
	out := [][]byte{[]byte(text), []byte(hex.EncodeToString([]byte(text))), []byte(strings.ToUpper(hex.EncodeToString([]byte(text)))), []byte(url.QueryEscape(text))}
	for shift := range 3 {
		// Whatever stands before it, one of three alignments; the ends depend on the neighbours and are left out.
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + text))
		out = append(out, []byte(b[4:len(b)-4]))
	}
	return out
}

func holds(b []byte, text string) bool {
	for _, f := range forms(text) {
		if bytes.Contains(b, f) {
			return true
		}
	}
	return false
}

// sampler looks at the arguments and the environment of every process again and again.
type sampler struct {
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	seen map[string]string
}

func sample(texts ...string) *sampler {
	s := &sampler{stop: make(chan struct{}), seen: map[string]string{}}
	s.done.Go(func() {
		for {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, f := range files {
				for _, file := range []string{f, filepath.Join(filepath.Dir(f), "environ")} {
					b, err := os.ReadFile(file)
					if err != nil {
						continue
					}
					for _, text := range texts {
						if holds(b, text) {
							s.mu.Lock()
							s.seen[text] = file
							s.mu.Unlock()
						}
					}
				}
			}
			select {
			case <-s.stop:
				return
			default:
			}
		}
	})
	return s
}

func (s *sampler) found(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[text]
}

func (s *sampler) end() { close(s.stop); s.done.Wait() }

// TestSecretNowhere: the password given for an instance opens it, and is nowhere else.
func TestSecretNowhere(t *testing.T) {
	t.Parallel()
	w := shared
	const canary = "Canary-9f27-Pfeffer%Salz-4c1b"
	in := createInput(t, w.host, unique("canary-host-of-secret"))
	in["password"] = canary
	name, dir := in["name"].(string), in["data_directory"].(string)

	proc := sample(canary, dir)
	pg := w.created(t, in)
	o := w.run(t, "succeeded", "instance-query", map[string]any{"instance_id": pg.id, "sql": "SELECT 1"})
	// A failure tells more than a success: one with the password at hand.
	failing := with(createInput(t, w.host, unique("canary")), map[string]any{"password": canary, "parameters": map[string]string{"shared_buffers": "nonsense"}})
	failed := w.run(t, "failed", "instance-create", failing)
	restart := w.run(t, "succeeded", "instance-restart", map[string]any{"instance_id": pg.id})
	proc.end()
	require.NotEmpty(t, proc.found(dir), "processes were looked at")
	require.Empty(t, proc.found(canary))
	conn, err := pgx.Connect(t.Context(), pg.dsn(t, "postgres", canary))
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	made := scalar[string](t, w, `SELECT id::text FROM operation WHERE object_id = $1 AND name = 'instance-create'`, pg.id)
	for _, id := range []string{made, o.ID, failed.ID, restart.ID} {
		for _, path := range []string{"", "/steps", "/output"} {
			w.clean(t, "/api/v1/operations/"+id+path, canary)
		}
	}
	for _, path := range []string{
		"/api/v1/operations?limit=500", "/api/v1/audit?limit=500", "/api/v1/instances/" + pg.id, "/api/v1/instances?limit=500",
		"/api/v1/notifications?limit=500", "/api/v1/hosts/" + w.id, "/metrics",
	} {
		w.clean(t, path, canary)
	}

	inFiles(t, w, canary, name)
	inDumps(t, w, canary, name)
}

func (w *world) clean(t *testing.T, path, canary string) {
	t.Helper()
	r := w.do(t, http.MethodGet, path, nil)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.False(t, holds(r.body, canary), "%s", path)
}

// inFiles looks through the logs and whatever the agents keep, and the servers' own logs.
func inFiles(t *testing.T, w *world, canary, control string) {
	t.Helper()
	looked, known := 0, 0
	require.NoError(t, filepath.WalkDir(w.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			// Another test's files may go while we look.
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		if d.IsDir() && (path == w.Repository.DataDir() || filepath.Base(path) == "base" || filepath.Base(path) == "pg_wal") {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		require.NoError(t, err)
		require.False(t, holds(b, canary), "%s", path)
		looked++
		if holds(b, control) {
			known++
		}
		return nil
	}))
	require.Positive(t, known, "of %d files none has even the name", looked)
	for _, p := range []*system.Process{w.Manager, w.Temporal} {
		require.FileExists(t, p.LogFile(), "it was among them")
	}
}

// inDumps looks through all of the repository's databases, Temporal's histories included.
func inDumps(t *testing.T, w *world, canary, control string) {
	t.Helper()
	rows, err := w.db.Query(t.Context(), `SELECT datname FROM pg_database WHERE NOT datistemplate`)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	found := map[bool]int{}
	for _, name := range names {
		cmd := exec.CommandContext(t.Context(), filepath.Join(w.Repository.BinDir(), "pg_dump"), "--dbname="+w.Repository.DSN(name))
		dump, err := cmd.Output()
		require.NoError(t, err, "dump %s", name)
		require.False(t, holds(dump, canary), "database %s", name)
		if holds(dump, control) {
			found[name == "pgdrover"]++
		}
	}
	require.Positive(t, found[true], "the record is in the dump")
	require.Positive(t, found[false], "the history is in one of Temporal's: %v", names)
}
