package whole_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// with is an input with some fields changed; nil takes one away.
func with(in map[string]any, changes map[string]any) map[string]any {
	out := maps.Clone(in)
	for k, v := range changes {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

// TestCreateRefused: what can be seen to be wrong is refused before anything is recorded.
func TestCreateRefused(t *testing.T) {
	t.Parallel()
	w := shared
	for name, c := range map[string]struct {
		change map[string]any
		status int
		code   string
		field  string
		says   string
	}{
		"port below the range":     {map[string]any{"port": 80}, 422, "invalid-input", "body.port", "1024"},
		"port above the range":     {map[string]any{"port": 65536}, 422, "invalid-input", "body.port", "65535"},
		"port is no whole number":  {map[string]any{"port": 5432.5}, 422, "invalid-input", "body.port", "integer"},
		"port is a text":           {map[string]any{"port": "5432"}, 422, "invalid-input", "body.port", "integer"},
		"directory not absolute":   {map[string]any{"data_directory": "var/lib/x"}, 422, "invalid-input", "body.data_directory", "absolute"},
		"directory with ..":        {map[string]any{"data_directory": "/var/tmp/a/../../../etc/x"}, 422, "invalid-input", "body.data_directory", ".."},
		"directory with a quote":   {map[string]any{"data_directory": "/var/tmp/it's"}, 422, "invalid-input", "body.data_directory", "quotes"},
		"directory with a newline": {map[string]any{"data_directory": "/var/tmp/a\nb"}, 422, "invalid-input", "body.data_directory", "line breaks"},
		"directory is /":           {map[string]any{"data_directory": "//"}, 422, "invalid-input", "body.data_directory", "absolute"},
		"version is no version":    {map[string]any{"version": "latest"}, 422, "invalid-input", "body.version", "pattern"},
		"version with a path":      {map[string]any{"version": "15/../../x"}, 422, "invalid-input", "body.version", "pattern"},
		"name with quotes":         {map[string]any{"name": `a"b'c`}, 422, "invalid-input", "body.name", "pattern"},
		"name with a newline":      {map[string]any{"name": "a\nb"}, 422, "invalid-input", "body.name", "pattern"},
		"name ends in a newline":   {map[string]any{"name": "ab\n"}, 422, "invalid-input", "body.name", "pattern"},
		"name of 10,000":           {map[string]any{"name": strings.Repeat("n", 10000)}, 422, "invalid-input", "body.name", "63"},
		"empty name":               {map[string]any{"name": ""}, 422, "invalid-input", "body.name", ""},
		"unknown field":            {map[string]any{"colour": "blue"}, 422, "invalid-input", "body.colour", "unexpected"},
		"missing field":            {map[string]any{"data_directory": nil}, 422, "invalid-input", "body", "data_directory"},
		"missing password":         {map[string]any{"password": nil}, 422, "invalid-input", "body", "password"},
		"unknown host":             {map[string]any{"host_id": uuid.NewString()}, 404, "not-found", "body.host_id", "unknown"},
		"invalid uuid":             {map[string]any{"host_id": "not-a-uuid"}, 422, "invalid-input", "body.host_id", "uuid"},
		"wrong type of parameters": {map[string]any{"parameters": []string{"a"}}, 422, "invalid-input", "body.parameters", "object"},
		"parameter name":           {map[string]any{"parameters": map[string]string{"work mem": "4MB"}}, 422, "invalid-input", "body.parameters.work mem", "not a parameter name"},
		"parameter with a newline": {map[string]any{"parameters": map[string]string{"work_mem": "4MB'\nport = 1"}}, 422, "invalid-input", "body.parameters.work_mem", "one line"},
		"parameter of a field":     {map[string]any{"parameters": map[string]string{"Port": "1"}}, 422, "invalid-input", "body.parameters.Port", "is set by port"},
		"unknown edition":          {map[string]any{"edition": "oracle"}, 422, "invalid-input", "body.edition", "postgresql"},
		"unknown auth method":      {map[string]any{"auth_method": "ident"}, 422, "invalid-input", "body.auth_method", "scram"},
		"password with a newline":  {map[string]any{"password": "a\nb"}, 422, "invalid-input", "body.password", "line breaks"},
		"reference as a password":  {map[string]any{"password": "secret:" + uuid.NewString()}, 422, "invalid-input", "body.password", "must not begin"},
		"superuser with a quote":   {map[string]any{"superuser": `a"b`}, 422, "invalid-input", "body.superuser", "quotes"},
		"superuser of the system":  {map[string]any{"superuser": "pg_monitor"}, 422, "invalid-input", "body.superuser", "pg_"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := createInput(t, w.host, unique("bad"))
			in := with(good, c.change)
			before := scalar[int](t, w, `SELECT count(*) FROM operation WHERE name = 'instance-create' AND input->>'port' = $1`, fmt.Sprint(good["port"]))
			p := w.ask(t, "instance-create", in).refused(t, c.status, c.code)
			said := p.at(t, c.field)
			require.Contains(t, strings.ToLower(said+" "+p.Detail), strings.ToLower(c.says))
			require.NotContains(t, p.Detail, "e2e-Passw0rd")
			require.Equal(t, before, scalar[int](t, w, `SELECT count(*) FROM operation WHERE name = 'instance-create' AND input->>'port' = $1`, fmt.Sprint(good["port"])))
			w.noTrace(t, in)
			require.NoDirExists(t, good["data_directory"].(string))
			// Mended it is admitted: nothing of the refused one is in the way.
			o := w.await(t, w.start(t, "instance-create?dry_run=true", good).ID)
			require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
		})
	}
}

// TestBodyRefused: what is no request at all.
func TestBodyRefused(t *testing.T) {
	t.Parallel()
	w := shared
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
		header []string
	}{
		"empty":           {"", 400, "invalid-input", nil},
		"not JSON":        {"{host: db1", 400, "invalid-input", nil},
		"half of it":      {`{"host_id": "`, 400, "invalid-input", nil},
		"a list":          {`[]`, 422, "invalid-input", nil},
		"null":            {`null`, 422, "invalid-input", nil},
		"two values":      {`{} {}`, 400, "invalid-input", nil},
		"another type":    {`a=b`, 415, "unsupported-media-type", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"larger than 1MB": {`{"name": "` + strings.Repeat("x", 2<<20) + `"}`, 413, "request-entity-too-large", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.ask(t, "instance-create", c.body, c.header...).refused(t, c.status, c.code)
		})
	}
}

// TestCreateFails: what only the host can find wrong makes a failed step that says why, and nothing is left.
func TestCreateFails(t *testing.T) {
	t.Parallel()
	w := shared
	type input = map[string]any
	for name, c := range map[string]struct {
		prepare  func(t *testing.T, in input) (mend func())
		code     string
		says     string
		hint     string
		verb     string
		undone   string
		keepsDir bool
	}{
		"port of another program": {
			prepare: func(t *testing.T, in input) func() {
				l, err := listenOn(in["port"].(int))
				require.NoError(t, err)
				t.Cleanup(func() { _ = l.Close() })
				return func() { _ = l.Close() }
			},
			code: "port-in-use", says: "is in use", hint: "another port", undone: "nothing-to-undo",
		},
		"directory not empty": {
			prepare: func(t *testing.T, in input) func() {
				dir := in["data_directory"].(string)
				require.NoError(t, os.Mkdir(dir, 0o755))
				file := filepath.Join(dir, "mine")
				require.NoError(t, os.WriteFile(file, []byte("keep"), 0o600))
				return func() {
					b, err := os.ReadFile(file)
					require.NoError(t, err)
					require.Equal(t, "keep", string(b))
					require.NoError(t, os.RemoveAll(dir))
				}
			},
			code: "directory-not-empty", says: "not empty (1 entries)", hint: "another data directory", undone: "nothing-to-undo", keepsDir: true,
		},
		"directory is a file": {
			prepare: func(t *testing.T, in input) func() {
				dir := in["data_directory"].(string)
				require.NoError(t, os.WriteFile(dir, []byte("keep"), 0o600))
				return func() {
					b, err := os.ReadFile(dir)
					require.NoError(t, err)
					require.Equal(t, "keep", string(b))
					require.NoError(t, os.Remove(dir))
				}
			},
			code: "not-a-directory", says: "is a file", hint: "another data directory", undone: "nothing-to-undo", keepsDir: true,
		},
		"no such binaries": {
			prepare: func(_ *testing.T, in input) func() {
				in["version"] = "99"
				return func() { in["version"] = "15" }
			},
			code: "binaries-missing", says: "has no server programs of postgresql 99", hint: "postgresql-99", undone: "nothing-to-undo",
		},
		"system folder": {
			prepare: func(_ *testing.T, in input) func() {
				dir := in["data_directory"]
				in["data_directory"] = "/etc/" + in["name"].(string)
				return func() { in["data_directory"] = dir }
			},
			code: "forbidden", says: "/etc/", hint: "", verb: "file-mkdir", undone: "compensated",
		},
		"value the server refuses": {
			prepare: func(_ *testing.T, in input) func() {
				in["parameters"] = map[string]string{"shared_buffers": "nonsense"}
				return func() { delete(in, "parameters") }
			},
			code: "start-failed", says: `invalid value for parameter "shared_buffers": "nonsense"`, hint: "setting is wrong", verb: "pg-ctl", undone: "compensated",
		},
		"parameter the server does not know": {
			prepare: func(_ *testing.T, in input) func() {
				in["parameters"] = map[string]string{"no_such_parameter": "1"}
				return func() { delete(in, "parameters") }
			},
			code: "start-failed", says: `unrecognized configuration parameter "no_such_parameter"`, hint: "setting is wrong", verb: "pg-ctl", undone: "compensated",
		},
		"locale": {
			prepare: func(_ *testing.T, in input) func() {
				in["locale"] = "tlh_QO.UTF-8"
				return func() { delete(in, "locale") }
			},
			code: "command-failed", says: "invalid locale", verb: "command-run", undone: "compensated",
		},
		"encoding": {
			prepare: func(_ *testing.T, in input) func() {
				in["encoding"] = "EBCDIC"
				return func() { delete(in, "encoding") }
			},
			code: "command-failed", says: "EBCDIC", verb: "command-run", undone: "compensated",
		},
		"locale, in an empty directory that was there": {
			prepare: func(t *testing.T, in input) func() {
				dir := in["data_directory"].(string)
				require.NoError(t, os.Mkdir(dir, 0o755))
				in["locale"] = "tlh_QO.UTF-8"
				return func() {
					entries, err := os.ReadDir(dir)
					require.NoError(t, err)
					require.Empty(t, entries, "only what was made goes")
					delete(in, "locale")
				}
			},
			code: "command-failed", says: "invalid locale", verb: "command-run", undone: "compensated", keepsDir: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := createInput(t, w.host, unique("fail"))
			mend := c.prepare(t, in)
			o := w.run(t, "failed", "instance-create", in)
			require.NotNil(t, o.Failure)
			require.Equal(t, c.code, o.Failure.Code, "%+v", o.Failure)
			require.Contains(t, o.Failure.Message, c.says)
			require.Contains(t, o.Failure.Hint, c.hint)
			require.Equal(t, c.undone, o.Undone)
			require.Equal(t, c.verb, o.failedStep(t, w))
			w.noTrace(t, in)
			if !c.keepsDir {
				require.NoFileExists(t, in["data_directory"].(string))
				require.NoDirExists(t, in["data_directory"].(string))
			}
			// Nothing is in the way of asking again, first the same and then rightly.
			require.Equal(t, c.code, w.run(t, "failed", "instance-create", in).Failure.Code)
			mend()
			o = w.await(t, w.start(t, "instance-create?dry_run=true", in).ID)
			require.Equal(t, "succeeded", o.State, "%+v", o.Failure)
		})
	}
}

// failedStep is the verb of the one step that failed, not an undo; all others must have ended too. Where the operation
// itself found something wrong there is none.
func (o operation) failedStep(t *testing.T, w *world) (verb string) {
	t.Helper()
	for _, s := range w.steps(t, o.ID) {
		require.NotEqual(t, "running", s.State, "step %s", s.Step)
		if s.State == "failed" {
			require.False(t, s.Undo, "undo %s failed", s.Step)
			require.Equal(t, s.Step, o.Failure.Step)
			verb = s.Verb
		}
	}
	return verb
}

// TestCreateDiskFull: too little room is seen before anything is made.
func TestCreateDiskFull(t *testing.T) {
	t.Parallel()
	w := shared
	in := createInput(t, w.host, unique("full"))
	small := filepath.Join(base, unique("small"))
	require.NoError(t, os.Mkdir(small, 0o755))
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=64m,mode=0755"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	in["data_directory"] = filepath.Join(small, "data")
	o := w.run(t, "failed", "instance-create", in)
	require.Equal(t, "disk-full", o.Failure.Code)
	require.Regexp(t, `Only 6\d MiB are free below .*/data; a new instance needs 200 MiB`, o.Failure.Message)
	require.Contains(t, o.Failure.Hint, "Free some space")
	w.noTrace(t, in)
	entries, err := os.ReadDir(small)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestCreateTaken: what another instance has.
func TestCreateTaken(t *testing.T) {
	t.Parallel()
	w := shared
	pg := w.newInstance(t, w.host)
	control, err := os.ReadFile(filepath.Join(pg.dir, "global/pg_control"))
	require.NoError(t, err)
	t.Run("each", func(t *testing.T) {
		for name, c := range map[string]struct {
			field string
			value any
			code  string
			says  string
		}{
			"port":      {"port", pg.port, "port-in-use", fmt.Sprintf("Port %d", pg.port)},
			"directory": {"data_directory", pg.dir, "directory-not-empty", pg.dir},
			"name":      {"name", pg.name, "name-taken", "already an instance named " + pg.name},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				good := createInput(t, w.host, unique("taken"))
				in := with(good, map[string]any{c.field: c.value})
				o := w.run(t, "failed", "instance-create", in)
				require.Equal(t, c.code, o.Failure.Code, "%+v", o.Failure)
				require.Contains(t, o.Failure.Message, c.says)
				require.Contains(t, o.Failure.Hint, "Choose another")
				require.NoDirExists(t, good["data_directory"].(string))
				require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM instance WHERE name = $1`, good["name"]))
				require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM operation_lock WHERE operation_id = $1`, o.ID))
			})
		}
	})
	// The one that was there is as it was.
	i := slices.DeleteFunc(w.instances(t, "q="+pg.name), func(i instanceRecord) bool { return i.Name != pg.name })
	require.Len(t, i, 1)
	require.Equal(t, pg.id, i[0].ID)
	require.Equal(t, "running", i[0].Status)
	after, err := os.ReadFile(filepath.Join(pg.dir, "global/pg_control"))
	require.NoError(t, err)
	require.Equal(t, control[:8], after[:8], "the system identifier")
	conn, err := pgx.Connect(t.Context(), pg.dsn(t, "postgres", pg.password))
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

// dsn connects to the instance by TCP.
func (i instance) dsn(t *testing.T, user, password string) string {
	t.Helper()
	q := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres sslmode=disable user=%s password=%s", i.port, q(user), q(password))
}

// TestCreateOddWords: quotes, spaces and other scripts go through as they are.
func TestCreateOddWords(t *testing.T) {
	t.Parallel()
	w := shared
	in := createInput(t, w.host, unique("odd"))
	in["password"] = "  it's \"ein\" Paßwörd \\ $HOME {secret:password} 💧 %s  "
	in["superuser"] = `o;brien %s dba 大`
	in["parameters"] = map[string]string{"cluster_name": `it's \ "odd"`, "log_line_prefix": "%m [%p] 'q' "}
	pg := w.created(t, in)
	conn, err := pgx.Connect(t.Context(), pg.dsn(t, in["superuser"].(string), pg.password))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var name string
	require.NoError(t, conn.QueryRow(t.Context(), "SHOW cluster_name").Scan(&name))
	require.Equal(t, `it's \ "odd"`, name)
	_, err = pgx.Connect(t.Context(), pg.dsn(t, in["superuser"].(string), strings.TrimSpace(pg.password)))
	require.Error(t, err, "the password is checked at all")
	// pgdrover itself gets in with it too.
	o := w.run(t, "succeeded", "instance-query", map[string]any{"instance_id": pg.id, "sql": "SELECT current_user"})
	require.Contains(t, string(o.Result), `o;brien %s dba 大`)
	fi, err := os.Stat(pg.dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), fi.Mode().Perm())
	require.NotZero(t, fi.Sys().(*syscall.Stat_t).Uid, "it is not root's")
	require.Equal(t, http.StatusOK, w.do(t, http.MethodGet, "/api/v1/instances/"+pg.id, nil).status)
}
