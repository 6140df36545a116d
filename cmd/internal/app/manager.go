package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgdrover/pgdrover/activities/managerimpl"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/crashpoint"
	"github.com/pgdrover/pgdrover/internal/secret"
	"github.com/pgdrover/pgdrover/server/admit"
	"github.com/pgdrover/pgdrover/server/api"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/server/events"
	"github.com/pgdrover/pgdrover/server/gateway"
	"github.com/pgdrover/pgdrover/server/schedule"
	"github.com/pgdrover/pgdrover/server/service"
	"github.com/pgdrover/pgdrover/server/web"
	managerworker "github.com/pgdrover/pgdrover/worker/manager"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// FirstLogin is the login of the first administrator.
const FirstLogin = "admin"

// Options are what a program gives beside the configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	// TemporalTLS overrides that of the configuration (the embedded server's).
	TemporalTLS *tls.Config
	// TemporalUI is served at /temporal/ to administrators; nil without one.
	TemporalUI http.Handler
	// AgentProgram is handed out to hosts that are about to be enrolled; empty if it is not here.
	AgentProgram string
	// Listener, where given, is used instead of Config.Listen.
	Listener net.Listener
}

// Manager is one running manager.
type Manager struct {
	cfg Config
	opt Options
	log *slog.Logger

	DB      *db.DB
	Gateway *gateway.Gateway
	Auth    *auth.Service
	Keys    gateway.Keys
	// FirstPassword is the first administrator's, if this manager made the account and made the password up.
	FirstPassword string
	// MadeAdministrator tells that the first account was made just now.
	MadeAdministrator bool

	handler  atomic.Pointer[http.Handler]
	http     *http.Server
	temporal client.Client
	worker   worker.Worker
	stop     context.CancelFunc
	running  sync.WaitGroup
	fatal    chan error
	ready    chan struct{}
}

// Start begins to serve. The repository and Temporal may be away: until both are there every answer is 503, and the
// manager becomes ready by itself.
func Start(ctx context.Context, cfg Config, opt Options) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	sealer, err := secret.Load(cfg.MasterKey)
	if err != nil {
		return nil, err
	}
	m := &Manager{cfg: cfg, opt: opt, log: opt.Log, fatal: make(chan error, 8), ready: make(chan struct{})}
	if m.DB, err = db.Open(ctx, cfg.Repository); err != nil {
		return nil, err
	}
	if err := m.dial(); err != nil {
		return nil, err
	}
	ctx, m.stop = context.WithCancel(ctx)
	if err := m.listen(ctx); err != nil {
		return nil, err
	}
	m.running.Go(func() {
		if err := m.prepare(ctx, sealer); err != nil && ctx.Err() == nil {
			m.fatal <- err
		}
	})
	return m, nil
}

// Ready is closed when requests are served.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Failed gives errors after which the process had better end.
func (m *Manager) Failed() <-chan error { return m.fatal }

func (m *Manager) dial() error {
	t := m.opt.TemporalTLS
	if t == nil {
		var err error
		if t, err = m.cfg.Temporal.ClientTLS(); err != nil {
			return err
		}
	}
	m.opt.TemporalTLS = t
	c, err := client.NewLazyClient(client.Options{
		HostPort: m.cfg.Temporal.Address, Namespace: m.cfg.Temporal.Namespace, Logger: sdklog.NewStructuredLogger(quiet(m.log)),
		ConnectionOptions:  client.ConnectionOptions{TLS: t, TLSDisabled: t == nil},
		ContextPropagators: []workflow.ContextPropagator{op.StepPropagator()}, DataConverter: converter.GetDefaultDataConverter(),
	})
	if err != nil {
		return fmt.Errorf("make Temporal client: %w", err)
	}
	m.temporal = c
	return nil
}

// listen opens the port before anything else: a person sees "not ready yet" instead of a refused connection.
func (m *Manager) listen(ctx context.Context) error {
	l := m.opt.Listener
	if l == nil {
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", m.cfg.Listen); err != nil {
			return fmt.Errorf("listen on %s: %w", m.cfg.Listen, err)
		}
	}
	waiting := api.NotReady()
	m.handler.Store(&waiting)
	m.http = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*m.handler.Load()).ServeHTTP(w, r) }),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelError),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	m.running.Go(func() {
		var err error
		if m.cfg.TLS.CertFile != "" {
			err = m.http.ServeTLS(l, m.cfg.TLS.CertFile, m.cfg.TLS.KeyFile)
		} else {
			err = m.http.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			m.fatal <- fmt.Errorf("serve: %w", err)
		}
	})
	return nil
}

// prepare brings up everything that needs the repository or Temporal, trying again until it is there.
func (m *Manager) prepare(ctx context.Context, sealer *secret.Sealer) error {
	for _, step := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"migrate the repository", m.DB.Migrate},
		{"load keys", func(ctx context.Context) (err error) { m.Keys, err = gateway.LoadKeys(ctx, m.DB, sealer); return err }},
		{"make the first administrator", m.administrator},
		{"prepare Temporal's namespace", m.namespace},
	} {
		if err := m.persist(ctx, step.what, step.run); err != nil {
			return err
		}
	}
	return m.assemble(ctx, sealer)
}

// persist repeats a step until it works; a wrong master key never will.
func (m *Manager) persist(ctx context.Context, what string, run func(context.Context) error) error {
	said := time.Time{}
	for {
		err := run(ctx)
		if err == nil || errors.Is(err, gateway.ErrMasterKey) {
			return err
		}
		if time.Since(said) > time.Minute {
			m.log.Warn("not ready yet; trying again", "step", what, "error", err)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (m *Manager) administrator(ctx context.Context) (err error) {
	if m.Auth == nil {
		if m.Auth, err = auth.New(m.DB); err != nil {
			return err
		}
	}
	password := m.cfg.AdminPassword
	if password == "" {
		password = rand.Text()[:20]
	}
	if m.MadeAdministrator, err = m.Auth.FirstAdministrator(ctx, FirstLogin, password); err != nil {
		return err
	}
	if m.MadeAdministrator && m.cfg.AdminPassword == "" {
		m.FirstPassword = password
	}
	return nil
}

func (m *Manager) assemble(ctx context.Context, sealer *secret.Sealer) error {
	hub := events.New(m.DB, m.log)
	m.running.Go(func() { hub.Run(ctx) })
	adm := &admit.Service{DB: m.DB, Temporal: m.temporal, Sealer: sealer, Log: m.log}
	sched := &schedule.Service{DB: m.DB, Temporal: m.temporal, Admit: adm, Log: m.log}
	sched.Tasks = service.Tasks(m.DB, adm, sched, m.cfg.Retention)
	if err := m.startGateway(ctx, sealer); err != nil {
		return err
	}
	ui := m.cfg.Temporal.uiLink()
	if m.opt.TemporalUI != nil {
		ui = "/temporal"
	}
	s := api.New(api.Config{
		DB: m.DB, Auth: m.Auth, Admit: adm, Schedule: sched, Events: hub, Gateway: m.Gateway, Log: m.log, Version: m.opt.Version,
		SecureCookies: m.cfg.TLS.CertFile != "", TemporalUI: ui, TemporalReady: m.temporalReady, Installs: m.opt.AgentProgram != "",
	})
	web.Mount(s, m.opt.TemporalUI)
	if m.opt.AgentProgram != "" {
		if err := web.MountInstall(s, m.opt.AgentProgram); err != nil {
			return err
		}
	}
	if err := m.startWorker(ctx, adm, sched); err != nil {
		return err
	}
	h := s.Handler()
	m.handler.Store(&h)
	close(m.ready)
	m.running.Go(func() { m.reconcileOnce(ctx, adm, sched) })
	return nil
}

func (m *Manager) startWorker(ctx context.Context, adm *admit.Service, sched *schedule.Service) error {
	acts := &managerimpl.Activities{
		DB: m.DB, Log: m.log, StartGranted: adm.StartGranted, LaunchSchedule: sched.Launch, RunState: sched.RunState,
		RunEnded: sched.RunEnded,
	}
	return m.persist(ctx, "start the worker", func(context.Context) error {
		w, err := managerworker.New(m.temporal, acts, crashpoint.Hook("manager"))
		if err != nil {
			return err
		}
		if err := w.Start(); err != nil {
			return fmt.Errorf("start worker: %w", err)
		}
		m.worker = w
		return nil
	})
}

// reconcileOnce repairs what the last stop left, without waiting for the schedule.
func (m *Manager) reconcileOnce(ctx context.Context, adm *admit.Service, sched *schedule.Service) {
	if err := m.persist(ctx, "write down the service tasks", sched.Ensure); err != nil {
		return
	}
	_ = m.persist(ctx, "reconcile", func(ctx context.Context) error {
		what, err := adm.Reconcile(ctx)
		if err != nil {
			return err
		}
		n, err := sched.Apply(ctx)
		m.log.Debug("reconciled", "operations", what, "schedules", n)
		return err
	})
}

func (m *Manager) startGateway(ctx context.Context, sealer *secret.Sealer) error {
	creds := insecure.NewCredentials()
	if m.opt.TemporalTLS != nil {
		creds = credentials.NewTLS(m.opt.TemporalTLS)
	}
	var clients []workflowservice.WorkflowServiceClient
	for range 4 {
		conn, err := grpc.NewClient(m.cfg.Temporal.Address, grpc.WithTransportCredentials(creds),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
		if err != nil {
			return fmt.Errorf("connect the gateway to Temporal: %w", err)
		}
		clients = append(clients, workflowservice.NewWorkflowServiceClient(conn))
	}
	g, err := gateway.New(gateway.Config{
		DB: m.DB, Temporal: clients, Namespace: m.cfg.Temporal.Namespace, Authority: m.Keys.Authority, HMACKey: m.Keys.HMACKey,
		Sealer: sealer, Listen: m.cfg.Gateway.Listen, PublicAddress: m.cfg.Gateway.PublicAddress, Names: m.cfg.Gateway.Names,
		Logger: m.log,
	})
	if err != nil {
		return err
	}
	m.Gateway = g
	m.running.Go(func() {
		if err := g.Serve(ctx); err != nil {
			m.fatal <- err
		}
	})
	return nil
}

// Stop ends everything in order; running operations go on at the next start.
func (m *Manager) Stop(ctx context.Context) {
	// Streams never end by themselves: cut what is still open after a moment.
	sctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := m.http.Shutdown(sctx); err != nil {
		_ = m.http.Close()
	}
	if m.worker != nil {
		m.worker.Stop()
	}
	m.stop()
	m.running.Wait()
	m.temporal.Close()
	m.DB.Close()
}
