package embedtemporal

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

// services are all that Temporal consists of; the worker carries its schedules and clean-up.
var services = []primitives.ServiceName{
	primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService,
}

const (
	storeConns      = 16 // for each of the four services
	visibilityConns = 6
	stopPatience    = 5 * time.Second
)

// Server is a running Temporal.
type Server struct {
	cfg      Config
	ids      *identities
	frontend string
	stopping atomic.Bool
	server   temporal.Server
	guard    *guard
	ui       *ui
}

// Start prepares the databases, starts the server and, if asked, its UI. It returns when workflows can run.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	begin := time.Now()
	s := &Server{cfg: cfg}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	cfg.Logger.Info("started Temporal", "frontend", s.frontend, "namespace", cfg.Namespace,
		"took", time.Since(begin).Round(time.Millisecond))
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	logger := serverLogger{s.cfg.Logger, &s.stopping}
	if err := ensureSchema(ctx, &s.cfg, logger); err != nil {
		return err
	}
	var err error
	if s.guard, err = takeGuard(ctx, &s.cfg); err != nil {
		return err
	}
	if err := ensureNamespace(&s.cfg); err != nil {
		return err
	}
	if s.ids, err = newIdentities(); err != nil {
		return err
	}
	secret := rand.Text()
	if err := s.startServer(ctx, logger, secret); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	if s.cfg.UI {
		if s.ui, err = startUI(ctx, &s.cfg, s.ids, s.frontend, secret); err != nil {
			return err
		}
	}
	return nil
}

// startServer starts the four services. The server panics on some failures, which is no way to treat a caller.
func (s *Server) startServer(ctx context.Context, logger serverLogger, secret string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("start Temporal: %v", r)
		}
	}()
	ports, err := freePorts(ctx, len(services))
	if err != nil {
		return err
	}
	addresses := map[primitives.ServiceName]string{}
	for i, name := range services {
		addresses[name] = net.JoinHostPort(loopback, strconv.Itoa(ports[i]))
	}
	s.frontend = addresses[primitives.FrontendService]
	hosts := map[primitives.ServiceName]static.Hosts{}
	for name, address := range addresses {
		hosts[name] = static.SingleLocalHost(address)
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(serverConfig(&s.cfg, ports, s.frontend)),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithNamespaceLogger(logger),
		temporal.WithDynamicConfigClient(tuning()),
		temporal.WithTLSConfigFactory(s.ids),
		temporal.WithChainedFrontendGrpcInterceptors(uiGate(secret)),
	)
	if err != nil {
		return fmt.Errorf("build Temporal: %w", err)
	}
	s.server = server
	if err := server.Start(); err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	return nil
}

func serverConfig(cfg *Config, ports []int, frontend string) *config.Config {
	rpc := map[string]config.Service{}
	for i, name := range services {
		rpc[string(name)] = config.Service{RPC: config.RPC{GRPCPort: ports[i], BindOnIP: loopback}}
	}
	return &config.Config{
		Services: rpc,
		Global:   config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}},
		Persistence: config.Persistence{
			DefaultStore: "default", VisibilityStore: "visibility", NumHistoryShards: int32(cfg.Shards),
			DataStores: map[string]config.DataStore{
				"default":    {SQL: cfg.sql(cfg.Database, storeConns)},
				"visibility": {SQL: cfg.sql(cfg.VisibilityDatabase, visibilityConns)},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Archival: config.Archival{
			History: config.HistoryArchival{State: "disabled"}, Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
}

// FrontendAddress is where SDK clients connect, with ClientTLS.
func (s *Server) FrontendAddress() string { return s.frontend }

// Namespace is where pgdrover's workflows live.
func (s *Server) Namespace() string { return s.cfg.Namespace }

// ClientTLS is the identity for SDK clients of this process. It opens everything: never hand it on.
func (s *Server) ClientTLS() *tls.Config { return clientTLS(s.ids.system, s.ids.frontendCA) }

// UIAddress is where the UI listens; empty without one. Its pages show no data unless they come through UIHandler.
func (s *Server) UIAddress() string {
	if s.ui == nil {
		return ""
	}
	return s.ui.address
}

// UIHandler serves the UI under UIPublicPath. The caller checks who may see it first: it shows all of Temporal's data,
// read-only. Without a UI it answers 404.
func (s *Server) UIHandler() http.Handler {
	if s.ui == nil {
		return http.NotFoundHandler()
	}
	return s.ui.handler()
}

// Stop ends the UI and the server. Workflows go on at the next start.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	var errs []error
	if s.ui != nil {
		s.ui.stop()
		s.ui = nil
	}
	if s.server != nil {
		if err := s.server.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop Temporal: %w", err))
		}
		s.server = nil
	}
	if s.guard != nil {
		ctx, cancel := context.WithTimeout(ctx, stopPatience)
		defer cancel()
		errs = append(errs, s.guard.release(ctx))
		s.guard = nil
	}
	return errors.Join(errs...)
}
