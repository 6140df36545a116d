package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/facts"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

// TestMain lets this test program be the runner of detached jobs, as the agent is for its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == JobRunnerCommand {
		os.Exit(RunJob(context.Background(), os.Args[2]))
	}
	os.Exit(m.Run())
}

const testOperation = "0199aaaa-0000-7000-8000-000000000001"

// bench is a set of verbs on a folder of their own.
type bench struct {
	t       *testing.T
	v       *Verbs
	dir     string
	secrets *fakeSecrets
	output  *fakeOutput
	seq     int
}

// fakeSecrets answers as the gateway does.
type fakeSecrets struct {
	mu     sync.Mutex
	values map[string]string
	asked  []string
	err    error
}

func (f *fakeSecrets) Fetch(_ context.Context, id, operation string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, id+"@"+operation)
	if f.err != nil {
		return "", f.err
	}
	v, ok := f.values[id]
	if !ok {
		return "", op.Permanent(op.CodeForbidden, "no grant for secret %s", "", id)
	}
	return v, nil
}

// fakeOutput keeps what commands print, by step and run.
type fakeOutput struct {
	mu sync.Mutex
	by map[string][]byte
}

type fakeStream struct {
	o   *fakeOutput
	key string
}

func (o *fakeOutput) Stream(operation, step string, run int) io.WriteCloser {
	return fakeStream{o, fmt.Sprintf("%s/%d", step, run)}
}

func (s fakeStream) Write(p []byte) (int, error) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.o.by[s.key] = append(s.o.by[s.key], p...)
	return len(p), nil
}

func (s fakeStream) Close() error { return nil }

func (o *fakeOutput) text(key string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.by[key])
}

// testUser is who owns instances in tests.
func testUser(t *testing.T) string {
	t.Helper()
	if os.Geteuid() == 0 {
		if _, err := user.Lookup("postgres"); err != nil {
			t.Skip("root without a user postgres to run servers as")
		}
		return "postgres"
	}
	u, err := user.Current()
	require.NoError(t, err)
	return u.Username
}

// openDir makes a folder that the user of instances can pass through, which t.TempDir is not.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgdrover") //nolint:usetesting // t.TempDir is closed to other users
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	real, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	return real
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{
		t:       t,
		dir:     openDir(t),
		secrets: &fakeSecrets{values: map[string]string{}},
		output:  &fakeOutput{by: map[string][]byte{}},
	}
	log := slog.New(slog.DiscardHandler)
	cfg := Config{
		StateDir: filepath.Join(b.dir, "state"), Secrets: b.secrets, Output: b.output, Logger: log,
		Policy:    Policy{InstanceOSUser: testUser(t), File: filepath.Join(b.dir, "policy", "agent-policy.yaml")},
		JobRunner: []string{os.Args[0], JobRunnerCommand},
		NoSystemd: true,
	}
	for _, f := range change {
		f(&cfg)
	}
	cfg.Facts = facts.New(facts.Options{
		Folders:        cfg.Policy.Defaults().Folders,
		InstanceOSUser: cfg.Policy.InstanceOSUser,
		OnlyUnder:      []string{b.dir},
		DataRoot:       b.dir,
		Logger:         log,
	})
	b.v = New(cfg)
	return b
}

// again makes a new agent process over the same state: what it knew in memory only is gone.
func (b *bench) again() {
	b.v = New(b.v.cfg)
}

// ref makes the reference of a new step.
func (b *bench) ref() op.StepRef {
	b.seq++
	return op.StepRef{Operation: testOperation, Step: fmt.Sprintf("%02d-step", b.seq), Seq: b.seq, Object: "object-1", Fence: 10}
}

// call runs a verb through its wrapper.
func call[In, Out any](ctx context.Context, b *bench, a op.Activity[In, Out], in In) (Out, error) {
	for _, impl := range b.v.Implementations() {
		if impl.Info.Name == a.Name {
			return impl.Func.(func(context.Context, In) (Out, error))(ctx, in)
		}
	}
	panic("no verb " + a.Name)
}

// step runs a verb as a step.
func step[In, Out any](b *bench, a op.Activity[In, Out], ref op.StepRef, in In) (Out, error) {
	return call(op.ContextWithRef(b.t.Context(), ref), b, a, in)
}

// must is step that has to succeed.
func must[In, Out any](b *bench, a op.Activity[In, Out], in In) Out {
	b.t.Helper()
	out, err := step(b, a, b.ref(), in)
	require.NoError(b.t, err)
	return out
}

// twice runs a step two times, the second time in a new agent process, and wants the same answer.
func twice[In, Out any](b *bench, a op.Activity[In, Out], in In) (Out, error) {
	b.t.Helper()
	ref := b.ref()
	first, err1 := step(b, a, ref, in)
	b.again()
	second, err2 := step(b, a, ref, in)
	require.Equal(b.t, op.FailureOf(err1), op.FailureOf(err2))
	require.Equal(b.t, first, second)
	return first, err1
}

// interrupt makes the journal look as if the agent was killed during the step: the answer is lost, the notes are not.
func (b *bench) interrupt(ref op.StepRef, change ...func(*record)) {
	b.t.Helper()
	r, ok, err := b.v.journal.load(ref.Operation, ref.Step)
	require.NoError(b.t, err)
	require.True(b.t, ok)
	r.State, r.Answer, r.Failure = stateIntent, nil, nil
	for _, f := range change {
		f(&r)
	}
	require.NoError(b.t, b.v.journal.save(r))
	b.again()
}

// wantCode checks a permanent failure's code.
func wantCode(t *testing.T, err error, code string) *op.Failure {
	t.Helper()
	require.Error(t, err)
	f := op.FailureOf(err)
	require.Equal(t, code, f.Code, "%v", err)
	require.True(t, permanent(err), "must not be retried: %v", err)
	return f
}

// eventually polls.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 10*time.Millisecond, what)
}

// freePort asks the kernel for a port nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// server is a real instance made through the verbs.
type server struct {
	bin, data, socket string
	port              int
}

func binDir(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Skip("no PostgreSQL server is installed")
	}
	return found[len(found)-1]
}

const superPassword = "correct horse battery"

// newServer makes a data directory with a password for everybody who comes by TCP or by the user "app".
func (b *bench) newServer() *server {
	b.t.Helper()
	s := &server{
		bin:    binDir(b.t),
		data:   filepath.Join(b.dir, "pg", "main"),
		socket: filepath.Join(b.dir, "sock"),
		port:   freePort(b.t),
	}
	u := testUser(b.t)
	b.secrets.values["super"] = superPassword
	must(b, host.FileMkdir, host.FileMkdirIn{Path: s.data, Owner: u, Mode: "0700", MustBeEmpty: true})
	must(b, host.FileMkdir, host.FileMkdirIn{Path: s.socket, Owner: u, Mode: "0755"})
	must(b, host.CommandRun, host.CommandRunIn{
		Program: s.bin + "/initdb", ResetDir: s.data, SecretFiles: map[string]host.SecretRef{"pw": op.SecretReference("super")},
		Args: []string{"-D", s.data, "-U", "postgres", "-N", "--auth-local=peer", "--auth-host=scram-sha-256", "--pwfile={secret:pw}"},
	})
	conf := fmt.Sprintf(
		"port = %d\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nfsync = off\n"+
			"shared_buffers = 16MB\nmax_connections = 20\n",
		s.port,
		s.socket,
	)
	must(b, host.FileWrite, host.FileWriteIn{Path: s.data + "/postgresql.auto.conf", Content: []byte(conf)})
	b.t.Cleanup(func() {
		_, _ = call(op.ContextWithRef(context.Background(), b.ref()), b, host.PGCtl,
			s.ctl("stop", func(in *host.PGCtlIn) { in.Mode = "immediate" }))
	})
	return s
}

func (s *server) ctl(action string, change ...func(*host.PGCtlIn)) host.PGCtlIn {
	in := host.PGCtlIn{Action: action, BinDir: s.bin, DataDirectory: s.data}
	for _, f := range change {
		f(&in)
	}
	return in
}

func (s *server) peer() host.PGConn {
	return host.PGConn{SocketDir: s.socket, Port: s.port, User: "postgres"}
}

func (s *server) tcp() host.PGConn {
	return host.PGConn{Port: s.port, User: "postgres", Password: op.SecretReference("super")}
}

// scalar asks the server one value.
func (b *bench) scalar(s *server, sql string) string {
	b.t.Helper()
	out, err := call(b.t.Context(), b, host.PGQuery, host.PGQueryIn{Conn: s.peer(), SQL: sql})
	require.NoError(b.t, err)
	require.NotEmpty(b.t, out.Rows)
	if out.Rows[0][0] == nil {
		return ""
	}
	return *out.Rows[0][0]
}

func processOf(b *bench, s *server) int {
	pm, ok := facts.LivePostmaster(s.data)
	require.True(b.t, ok)
	return pm.PID
}

var errTest = errors.New("test")

func num(n int) string { return strconv.Itoa(n) }

// helperConfig is what a process of this test program needs to be an agent over the same state.
type helperConfig struct {
	StateDir, RuntimeDir string
	Policy               Policy
}

func (b *bench) helper() helperConfig {
	return helperConfig{StateDir: b.v.cfg.StateDir, RuntimeDir: b.v.cfg.RuntimeDir, Policy: b.v.cfg.Policy}
}

func (h helperConfig) config() Config {
	return Config{
		StateDir:   h.StateDir,
		RuntimeDir: h.RuntimeDir,
		Policy:     h.Policy,
		NoSystemd:  true,
		JobRunner:  []string{os.Args[0], JobRunnerCommand},
	}
}
