package whole_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

// host is a host's record with an agent that sees what is under data and nothing else of this machine.
type host struct {
	id, name, data string
	agent          *agentProcess
}

type hostOptions struct {
	// data is the folder it sees; a new one if empty.
	data string
	// commands are programs beside the usual ones that its policy allows.
	commands []string
}

type enrollment struct {
	Host  struct{ ID, State string }
	Token string
}

// addHost records a host, enrols an agent for it and starts it.
func (w *world) addHost(ctx context.Context, name string, o hostOptions) (*host, error) {
	var e enrollment
	if err := w.client.Post(ctx, "/api/v1/hosts", map[string]any{"name": name}, &e); err != nil {
		return nil, err
	}
	h := &host{id: e.Host.ID, name: name, data: o.data}
	if h.data == "" {
		h.data = filepath.Join(w.Dir, "data-"+name)
	}
	if err := os.MkdirAll(h.data, 0o755); err != nil {
		return nil, err
	}
	var err error
	if h.agent, err = w.newAgent(name, h.data); err != nil {
		return nil, err
	}
	if o.commands != nil {
		if err := h.agent.allow(o.commands); err != nil {
			return nil, err
		}
	}
	if out, err := h.agent.enroll(ctx, e.Token); err != nil {
		return nil, fmt.Errorf("enrol: %w: %s", err, out)
	}
	if err := h.agent.start(); err != nil {
		return nil, err
	}
	return h, w.client.AwaitHost(ctx, h.id, true)
}

func (w *world) newHost(t *testing.T, o hostOptions) *host {
	t.Helper()
	h, err := w.addHost(t.Context(), unique("host"), o)
	require.NoError(t, err)
	t.Cleanup(h.agent.kill)
	return h
}

type hostRecord struct {
	ID, Name, State string
	Online          bool
}

func (w *world) hostRecord(t *testing.T, id string) hostRecord {
	t.Helper()
	return get[hostRecord](t, w, "/api/v1/hosts/"+id)
}

// agentProcess is an agent with a configuration of its own.
type agentProcess struct {
	program, config, log, crashpoint string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

func (w *world) newAgent(name, data string) (*agentProcess, error) {
	dir := filepath.Join(w.Dir, "agent-of-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	a := &agentProcess{
		program: filepath.Join(w.Bin, "pgdrover-agent"), config: filepath.Join(dir, "agent.yaml"), log: dir + ".log", crashpoint: w.Crashpoint,
	}
	text := fmt.Sprintf("state_dir: %s\nruntime_dir: %s\ndata_root: %s\ndata_directories: [%s]\nonly_under: [%s]\n",
		filepath.Join(dir, "state"), filepath.Join(dir, "run"), data, filepath.Join(data, "*"), data)
	return a, os.WriteFile(a.config, []byte(text), 0o600)
}

// allow gives the host a policy with nothing but these commands.
func (a *agentProcess) allow(commands []string) error {
	policy := filepath.Join(filepath.Dir(a.config), "policy.yaml")
	if err := os.WriteFile(policy, []byte("commands: ["+strings.Join(commands, ", ")+"]\n"), 0o644); err != nil {
		return err
	}
	f, err := os.OpenFile(a.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("policy_file: " + policy + "\n")
	return errors.Join(err, f.Close())
}

func (a *agentProcess) enroll(ctx context.Context, token string, flags ...string) (string, error) {
	args := append([]string{"--config", a.config, "enroll", token}, flags...)
	out, err := exec.CommandContext(ctx, a.program, args...).CombinedOutput()
	return string(out), err
}

func (a *agentProcess) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(a.program, "--config", a.config, "run")
	cmd.Env = append(os.Environ(), "PGDROVER_CRASHPOINT="+a.crashpoint)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	a.cmd, a.done = cmd, make(chan struct{})
	go func(done chan struct{}) { _ = cmd.Wait(); close(done) }(a.done)
	return nil
}

func (a *agentProcess) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Kill()
	<-a.done
}

// points is asked by agents and managers before and after each step, and holds those that a test wants held.
type points struct {
	server *http.Server
	addr   string

	mu    sync.Mutex
	holds []*hold
}

// hold stops a step whose title contains a text until it is released.
type hold struct {
	phase, title     string
	reached, release chan struct{}
	once, done       sync.Once
}

func newPoints() *points {
	p := &points{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	p.addr = l.Addr().String()
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(l) }()
	return p
}

func (p *points) url() string { return "http://" + p.addr }

func (p *points) close() { _ = p.server.Close() }

// hold arms a hold; the test's end releases it.
func (p *points) hold(t *testing.T, phase, title string) *hold {
	t.Helper()
	h := &hold{phase: phase, title: title, reached: make(chan struct{}), release: make(chan struct{})}
	p.mu.Lock()
	p.holds = append(p.holds, h)
	p.mu.Unlock()
	t.Cleanup(h.let)
	return h
}

func (h *hold) let() { h.done.Do(func() { close(h.release) }) }

// await waits until the step is held.
func (h *hold) await(t *testing.T) {
	t.Helper()
	select {
	case <-h.reached:
	case <-time.After(limit):
		require.Failf(t, "never reached", "step %s %q", h.phase, h.title)
	}
}

func (p *points) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var at struct {
		Phase string
		Ref   op.StepRef
	}
	if json.NewDecoder(r.Body).Decode(&at) != nil {
		return
	}
	p.mu.Lock()
	var found *hold
	for _, h := range p.holds {
		if h.phase == at.Phase && strings.Contains(at.Ref.Title, h.title) {
			found = h
		}
	}
	p.mu.Unlock()
	if found == nil {
		return
	}
	found.once.Do(func() { close(found.reached) })
	select {
	case <-found.release:
	case <-r.Context().Done():
	}
}

// instance is a managed instance of a test's own.
type instance struct {
	id, name, dir string
	port          int
	password      string
}

type instanceRecord struct {
	ID, Name, Status, Management, Conflict string
	HostID                                 string `json:"host_id"`
	DataDirectory                          string `json:"data_directory"`
	Port, PID                              int
}

// createInput asks for an instance in the host's folder.
func createInput(t *testing.T, h *host, name string) map[string]any {
	t.Helper()
	return map[string]any{
		"host_id": h.id, "name": name, "version": "15", "port": freePort(t), "data_directory": filepath.Join(h.data, name),
		"password": "e2e-Passw0rd",
	}
}

// newInstance creates one; it is stopped at the end.
func (w *world) newInstance(t *testing.T, h *host) instance {
	t.Helper()
	in := createInput(t, h, unique("pg"))
	return w.created(t, in)
}

func (w *world) created(t *testing.T, in map[string]any) instance {
	t.Helper()
	o := w.run(t, "succeeded", "instance-create", in)
	i := instance{id: o.ObjectID, name: in["name"].(string), dir: in["data_directory"].(string), port: in["port"].(int), password: in["password"].(string)}
	t.Cleanup(func() { stopServer(i.dir) })
	return i
}

// stopServer ends a server in the hardest way there is in order.
func stopServer(dir string) {
	for _, pid := range processesOf(dir) {
		_ = syscall.Kill(pid, syscall.SIGQUIT)
	}
}

// processesOf finds those that have a directory, or something in it, as an argument.
func processesOf(dir string) []int {
	return append(processesWith(dir+"\x00"), processesWith(dir+"/")...)
}

func (w *world) instanceRecord(t *testing.T, id string) instanceRecord {
	t.Helper()
	return get[instanceRecord](t, w, "/api/v1/instances/"+id)
}

func (w *world) instances(t *testing.T, query string) []instanceRecord {
	t.Helper()
	return get[struct{ Items []instanceRecord }](t, w, "/api/v1/instances?limit=500&"+query).Items
}

// untilInstance waits until an instance's record is as wanted.
func (w *world) untilInstance(t *testing.T, id, what string, ok func(instanceRecord) bool) instanceRecord {
	t.Helper()
	var i instanceRecord
	require.NoError(t, system.Until(t.Context(), limit, "the instance is "+what, func() error {
		if i = w.instanceRecord(t, id); !ok(i) {
			return fmt.Errorf("it is %+v", i)
		}
		return nil
	}))
	return i
}

// scalar reads one value from the repository.
func scalar[T any](t *testing.T, w *world, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, w.db.QueryRow(t.Context(), sql, args...).Scan(&v), "%s", sql)
	return v
}

// noTrace wants nothing to be left of an instance-create: no directory unless one was there, no record, no lock, no process.
func (w *world) noTrace(t *testing.T, in map[string]any) {
	t.Helper()
	dir, _ := in["data_directory"].(string)
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM instance WHERE name = $1 OR data_directory = $2`, in["name"], dir), "a record is left")
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM operation_lock WHERE object_id IN ($1, $2, $3)`,
		in["name"], fmt.Sprintf("%v:%v", in["host_id"], in["port"]), fmt.Sprintf("%v:%v", in["host_id"], dir)), "a lock is left")
	if filepath.IsAbs(dir) && len(dir) > 10 {
		require.Empty(t, processesOf(dir), "a process is left")
	}
}
