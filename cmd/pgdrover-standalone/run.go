package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/cmd/internal/app"
	"github.com/pgdrover/pgdrover/internal/embedpostgres"
	"github.com/pgdrover/pgdrover/internal/embedtemporal"
	"github.com/pgdrover/pgdrover/internal/secret"
	"github.com/pgdrover/pgdrover/server/admit"
)

type config struct {
	home, bind, bindAgents, level string
	port, agentPort               int
	noAgent                       bool
}

func (c *config) environment() error {
	if c.home == "" {
		c.home = os.Getenv("PGDROVER_HOME")
	}
	var err error
	if c.home, err = homeFolder(c.home); err != nil {
		return err
	}
	if v := os.Getenv("PGDROVER_PORT"); v != "" && c.port == 0 {
		if c.port, err = strconv.Atoi(v); err != nil || c.port < 1 || c.port > 65535 {
			return fmt.Errorf("PGDROVER_PORT: %q is no port", v)
		}
	}
	if c.port == 0 {
		c.port = 8080
	}
	return nil
}

// elsewhere is where state goes when root starts pgdrover in a folder that the unprivileged user of the repository
// cannot pass through, such as /root; a person who names a folder gets an error instead.
const elsewhere = "/var/lib/pgdrover"

func homeFolder(wish string) (string, error) {
	home, err := filepath.Abs(cmp.Or(wish, ".pgdrover"))
	if err != nil {
		return "", fmt.Errorf("home folder: %w", err)
	}
	if wish != "" || os.Geteuid() != 0 {
		return home, nil
	}
	for dir := filepath.Dir(home); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return "", fmt.Errorf("home folder: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			fmt.Printf("%s is closed to the user that runs PostgreSQL: state is kept in %s (PGDROVER_HOME changes it).\n", dir, elsewhere)
			return elsewhere, nil
		}
	}
	return home, nil
}

// run starts the parts in the order in which they need each other and stops them in reverse.
func run(ctx context.Context, c config) error {
	begin := time.Now()
	if err := c.environment(); err != nil {
		return err
	}
	log, err := app.Logger(c.level, "text")
	if err != nil {
		return err
	}
	// Take the port before anything is made: a taken one is the most common mistake.
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(c.bind, strconv.Itoa(c.port)))
	if err != nil {
		return fmt.Errorf("port %d cannot be used (set PGDROVER_PORT to another): %w", c.port, err)
	}
	defer listener.Close()
	// The folder is passed through by the unprivileged user of the repository; what is secret in it is not readable.
	if err := os.MkdirAll(c.home, 0o755); err != nil {
		return fmt.Errorf("make home folder: %w", err)
	}
	s := &system{config: c, log: log, listener: listener, background: context.WithoutCancel(ctx)}
	defer s.stop()
	if err := s.start(ctx); err != nil {
		return err
	}
	s.announce(begin)
	select {
	case <-ctx.Done():
		fmt.Println("\nStopping. Running operations go on at the next start; PostgreSQL instances keep running.")
		return nil
	case err := <-s.manager.Failed():
		return err
	}
}

// system is everything that runs.
type system struct {
	config
	log        *slog.Logger
	listener   net.Listener
	background context.Context //nolint:containedctx // what stops must outlive the context that was canceled
	postgres   *embedpostgres.Cluster
	temporal   *embedtemporal.Server
	manager    *app.Manager
	agent      *agent
	supervise  context.CancelFunc
	running    sync.WaitGroup
}

func (s *system) start(ctx context.Context) error {
	var err error
	if s.postgres, err = embedpostgres.Start(ctx, embedpostgres.Config{
		Dir:    filepath.Join(s.home, "repository"),
		Logger: s.log,
	}); err != nil {
		return fmt.Errorf("start the repository: %w", err)
	}
	sctx, cancel := context.WithCancel(s.background)
	s.supervise = cancel
	s.running.Go(func() { s.postgres.Supervise(sctx) })
	if err := s.postgres.CreateDatabase(ctx, "pgdrover"); err != nil {
		return fmt.Errorf("make the repository's database: %w", err)
	}
	if s.temporal, err = embedtemporal.Start(ctx, embedtemporal.Config{
		Host: "127.0.0.1", Port: s.postgres.Port, User: "pgdrover", Password: s.postgres.Password, UI: true, UIPublicPath: "/temporal",
		SearchAttributes: admit.SearchAttributes(), Logger: s.log,
	}); err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	if err := s.startManager(ctx); err != nil {
		return err
	}
	if s.noAgent {
		return nil
	}
	s.agent, err = startAgent(ctx, s)
	return err
}

func (s *system) startManager(ctx context.Context) error {
	cfg, err := app.Load("")
	if err != nil {
		return err
	}
	cfg.Listen = s.listener.Addr().String()
	cfg.Repository.URL = s.postgres.DSN("pgdrover")
	cfg.Temporal.Address, cfg.Temporal.Namespace = s.temporal.FrontendAddress(), s.temporal.Namespace()
	if os.Getenv(secret.EnvMasterKey) == "" {
		cfg.MasterKey.File = filepath.Join(s.home, "master.key")
		if err := secret.EnsureFile(cfg.MasterKey.File); err != nil {
			return err
		}
	}
	port, err := s.gatewayPort()
	if err != nil {
		return err
	}
	cfg.Gateway.Listen = net.JoinHostPort(s.bindAgents, strconv.Itoa(port))
	if cfg.Gateway.PublicAddress == "" {
		cfg.Gateway.PublicAddress = net.JoinHostPort(s.publicHost(), strconv.Itoa(port))
	}
	cfg.Gateway.Names = append(cfg.Gateway.Names, "localhost", "127.0.0.1")
	s.manager, err = app.Start(s.background, cfg, app.Options{
		Version: version, Log: s.log, TemporalTLS: s.temporal.ClientTLS(), TemporalUI: s.temporal.UIHandler(), Listener: s.listener,
		AgentProgram: app.AgentProgram(),
	})
	if err != nil {
		return fmt.Errorf("start the manager: %w", err)
	}
	select {
	case <-s.manager.Ready():
		return nil
	case err := <-s.manager.Failed():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publicHost is the name under which agents find this machine.
func (s *system) publicHost() string {
	if s.bindAgents != "0.0.0.0" && s.bindAgents != "::" {
		return s.bindAgents
	}
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// gatewayPort is kept: enrolled agents know it.
func (s *system) gatewayPort() (int, error) {
	if s.agentPort != 0 {
		return s.agentPort, nil
	}
	file := filepath.Join(s.home, "agent-port")
	if b, err := os.ReadFile(file); err == nil {
		if p, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return p, nil
		}
	}
	// Beside the web app's port where that is free, so that a person can guess it.
	for _, p := range []int{s.port + 1, 0} {
		l, err := new(net.ListenConfig).Listen(s.background, "tcp", net.JoinHostPort(s.bindAgents, strconv.Itoa(p)))
		if err != nil {
			continue
		}
		_, text, err := net.SplitHostPort(l.Addr().String())
		_ = l.Close()
		if err != nil {
			return 0, fmt.Errorf("find a port for agents: %w", err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			return 0, fmt.Errorf("keep the port for agents: %w", err)
		}
		return strconv.Atoi(text)
	}
	return 0, errors.New("find a port for agents: none is free")
}

func (s *system) announce(begin time.Time) {
	url := "http://" + strings.Replace(s.listener.Addr().String(), "127.0.0.1", "localhost", 1)
	fmt.Printf("\npgdrover is ready after %.1f s.\n\n", time.Since(begin).Seconds())
	fmt.Printf("  Web app and API:  %s\n", url)
	fmt.Printf("  Temporal UI:      %s/temporal/ (administrators, after sign-in)\n", url)
	fmt.Printf("  State:            %s\n", s.home)
	fmt.Print("  ")
	if s.manager.MadeAdministrator {
		s.manager.Announce(os.Stdout)
	} else {
		fmt.Printf("Sign in as %s or another account.\n", app.FirstLogin)
	}
	fmt.Println("\nCtrl-C stops it.")
}

func (s *system) stop() {
	ctx, cancel := context.WithTimeout(s.background, 30*time.Second)
	defer cancel()
	if s.agent != nil {
		s.agent.stop()
	}
	if s.manager != nil {
		s.manager.Stop(ctx)
	}
	if s.temporal != nil {
		if err := s.temporal.Stop(ctx); err != nil {
			s.log.Warn("stop Temporal", "error", err)
		}
	}
	if s.postgres == nil {
		return
	}
	s.supervise()
	s.running.Wait()
	if err := s.postgres.Stop(ctx); err != nil {
		s.log.Warn("stop the repository", "error", err)
	}
}
