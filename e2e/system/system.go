// Package system runs a whole pgdrover as real processes on free loopback ports, for tests that kill parts of it: a
// repository, Temporal, managers and agents, each a process that can be killed and started again by itself.
// Programs are built once with the tag crashpoint. Callers: e2e tests and the crash matrix.
package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pgdrover/pgdrover/internal/embedpostgres"
)

// AdminPassword of the system's first administrator.
const AdminPassword = "e2e-Passw0rd"

// Options of a system.
type Options struct {
	// Dir is a new folder that the user postgres can reach.
	Dir string
	// Bin holds the programs of Build.
	Bin string
	// Crashpoint is the base URL that processes ask at each step; empty for none.
	Crashpoint string
	// Durable keeps fsync on; tests that kill PostgreSQL with -9 need no more than the default, as the machine lives on.
	Durable bool
	Log     *slog.Logger
}

// System is a running pgdrover.
type System struct {
	Options
	Repository *embedpostgres.Cluster
	Temporal   *Process
	Manager    *Process
	URL        string
	Agents     []*Process

	temporalPort, gatewayPort int
}

// Start brings up repository, Temporal and one manager, and waits until it is ready.
func Start(ctx context.Context, o Options) (*System, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &System{Options: o}
	var err error
	if s.Repository, err = embedpostgres.Start(ctx, embedpostgres.Config{
		Dir: filepath.Join(o.Dir, "repository"), FastUnsafe: !o.Durable, Logger: o.Log,
	}); err != nil {
		return nil, err
	}
	if err := s.Repository.CreateDatabase(ctx, "pgdrover"); err != nil {
		return s, err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return s, err
	}
	s.temporalPort, s.gatewayPort = ports[0], ports[1]
	s.URL = "http://127.0.0.1:" + strconv.Itoa(ports[2])
	self, err := os.Executable()
	if err != nil {
		return s, fmt.Errorf("find this program: %w", err)
	}
	s.Temporal = s.process("temporal", self, nil, roleEnv+"=temporal", "E2E_PG_PORT="+strconv.Itoa(s.Repository.Port),
		"E2E_PG_PASSWORD="+s.Repository.Password, "E2E_LISTEN="+s.TemporalAddress())
	if err := s.Temporal.Start(); err != nil {
		return s, err
	}
	s.Manager = s.NewManager("manager", s.URL[len("http://"):], s.gatewayPort)
	if err := s.Manager.Start(); err != nil {
		return s, err
	}
	return s, s.AwaitReady(ctx)
}

// TemporalAddress is Temporal's frontend, without TLS.
func (s *System) TemporalAddress() string { return "127.0.0.1:" + strconv.Itoa(s.temporalPort) }

// NewManager describes a further manager; the caller starts it.
func (s *System) NewManager(name, listen string, gatewayPort int) *Process {
	gw := "127.0.0.1:" + strconv.Itoa(gatewayPort)
	return s.process(name, filepath.Join(s.Bin, "pgdrover"),
		[]string{"manager", "--temporal-address", s.TemporalAddress(), "--log-level", "info"},
		"PGDROVER_LISTEN="+listen, "PGDROVER_REPOSITORY_URL="+s.Repository.DSN("pgdrover"), "PGDROVER_GATEWAY_LISTEN="+gw,
		"PGDROVER_GATEWAY_PUBLIC_ADDRESS="+gw, "PGDROVER_ADMIN_PASSWORD="+AdminPassword,
		"PGDROVER_MASTER_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "PGDROVER_CRASHPOINT="+s.Crashpoint)
}

// AddAgent records a host, enrols an agent for it and starts it.
func (s *System) AddAgent(ctx context.Context, c *Client, name string) (hostID string, p *Process, err error) {
	var e struct {
		Host  struct{ ID string }
		Token string
	}
	if err := c.Post(ctx, "/api/v1/hosts", map[string]any{"name": name}, &e); err != nil {
		return "", nil, err
	}
	dir := filepath.Join(s.Dir, "agent-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("make agent's folder: %w", err)
	}
	config := filepath.Join(dir, "agent.yaml")
	text := fmt.Sprintf("state_dir: %s\ndata_root: %s\nignore_data_directories:\n  - %s\n",
		filepath.Join(dir, "state"), filepath.Join(dir, "instances"), s.Repository.DataDir())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", nil, fmt.Errorf("write agent's configuration: %w", err)
	}
	program := filepath.Join(s.Bin, "pgdrover-agent")
	if out, err := exec.CommandContext(ctx, program, "--config", config, "enroll", e.Token).CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("enrol agent: %w: %s", err, out)
	}
	p = s.process("agent-"+name, program, []string{"--config", config, "run"}, "PGDROVER_CRASHPOINT="+s.Crashpoint)
	s.Agents = append(s.Agents, p)
	if err := p.Start(); err != nil {
		return "", nil, err
	}
	return e.Host.ID, p, c.AwaitHost(ctx, e.Host.ID, true)
}

// AwaitReady waits until the first manager says that it is ready.
func (s *System) AwaitReady(ctx context.Context) error { return AwaitReady(ctx, s.URL) }

// Stop ends everything.
func (s *System) Stop() {
	for _, p := range append(s.Agents, s.Manager, s.Temporal) {
		if p != nil {
			p.Kill()
		}
	}
	if s.Repository != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Repository.Stop(ctx); err != nil {
			s.Log.Warn("stop the repository", "error", err)
		}
	}
}

// RestartRepository kills PostgreSQL with -9 and starts it again on the same port.
func (s *System) RestartRepository(ctx context.Context) error {
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.Repository.Kill9(ctx); err != nil {
		return fmt.Errorf("kill the repository: %w", err)
	}
	var done sync.WaitGroup
	done.Go(func() { s.Repository.Supervise(sctx) })
	err := awaitTCP(ctx, s.Repository)
	cancel()
	done.Wait()
	return err
}

func awaitTCP(ctx context.Context, c *embedpostgres.Cluster) error {
	return Until(ctx, time.Minute, "the repository takes connections", func() error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(c.Port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Process is a program that can be killed and started again.
type Process struct {
	Name string
	path string
	args []string
	env  []string
	log  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *System) process(name, path string, args []string, env ...string) *Process {
	return &Process{Name: name, path: path, args: args, env: env, log: filepath.Join(s.Dir, name+".log")}
}

// LogFile holds all it said.
func (p *Process) LogFile() string { return p.log }

// Start starts it.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // for people to look at
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	defer f.Close()
	cmd := exec.Command(p.path, p.args...) //nolint:noctx // it lives until it is killed
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go func(done chan struct{}) { _ = cmd.Wait(); close(done) }(p.done)
	return nil
}

// PID of the running process.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Kill is kill -9, and waits until it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Terminate asks it to end in order, and waits.
func (p *Process) Terminate() { p.end(syscall.SIGTERM) }

func (p *Process) end(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	<-p.done
}

// Restart is kill -9 and a new start.
func (p *Process) Restart() error {
	p.Kill()
	return p.Start()
}

// Build compiles the programs with crash points into a folder.
func Build(ctx context.Context, dir string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "crashpoint", "-o", dir+"/",
		"github.com/pgdrover/pgdrover/cmd/pgdrover", "github.com/pgdrover/pgdrover/cmd/pgdrover-agent")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	return nil
}

func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		a, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, errors.New("find a free port: no TCP address")
		}
		ports = append(ports, a.Port)
	}
	return ports, nil
}

// FreePort is a port nobody has now.
func FreePort(ctx context.Context) (int, error) {
	p, err := freePorts(ctx, 1)
	if err != nil {
		return 0, err
	}
	return p[0], nil
}
