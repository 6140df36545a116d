// Package gateway is where agents reach the manager: one port with mutual TLS, on which Temporal is proxied by gRPC and
// everything else (enrolment, reports, secrets, output) goes by HTTPS. Agents reach Temporal only through here.
//
// Temporal itself cannot keep agents apart, so the gateway does: a host polls its own queue alone, task tokens are
// sealed for the host they were given to, and whatever is not on the short list of calls is refused and audited.
// It also sees every step of every operation begin, progress and end, and knows which hosts are connected.
// Any number of gateways may run; what they share is in the repository.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/pki"
	"github.com/pgdrover/pgdrover/internal/secret"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
)

// Config is what a gateway is made of.
type Config struct {
	DB *db.DB
	// Temporal are clients on connections of their own to the frontend; one for every 250 agents is enough.
	Temporal  []workflowservice.WorkflowServiceClient
	Namespace string
	// Authority and HMACKey come from LoadKeys.
	Authority *pki.Authority
	HMACKey   []byte
	Sealer    *secret.Sealer
	// Listen is the address to listen on, e.g. ":7443". Listener, where given, is used instead.
	Listen   string
	Listener net.Listener
	// PublicAddress is host:port that agents dial; Names are further names and addresses of the certificate.
	PublicAddress string
	Names         []string
	// ID of this gateway; a random one if it is zero.
	ID     uuid.UUID
	Logger *slog.Logger

	timing timing
}

// timing is fixed outside tests.
type timing struct {
	// tick is how often agents that stay away are looked after.
	tick time.Duration
	// away is how long tasks wait for an agent that left.
	away time.Duration
	// grace is how long a host stays online after its last connection.
	grace time.Duration
	// refresh is how often presence is written; a host not refreshed for stale is offline; sweep looks for those.
	refresh, stale, sweep time.Duration
	// revoked is how often held polls are checked against revocation, beside notifications.
	revoked time.Duration
	// settled is how old an instance's status must be before a report that lacks it makes it missing.
	settled time.Duration
	// ping is the silence after which a connection is tested, and the patience for the answer.
	ping time.Duration
	// stop is the patience when the gateway stops.
	stop time.Duration
}

// A host is offline within 15 s of its end in every case: 5+5+3 where the host vanishes, 12+2 where the gateway does.
var defaultTiming = timing{
	tick: 250 * time.Millisecond, away: 5 * time.Second, grace: 3 * time.Second, refresh: 5 * time.Second,
	stale: 12 * time.Second, sweep: 2 * time.Second, revoked: 2 * time.Second, settled: 15 * time.Second,
	ping: 5 * time.Second, stop: 5 * time.Second,
}

// Gateway serves agents.
type Gateway struct {
	cfg        Config
	log        *slog.Logger
	tokens     tokenSealer
	hosts      *hosts
	identities *identities
	steps      *stepQueue
	presence   *presence
	refusals   *refusals
	outputs    *outputs
	attempts   *attempts
	recheck    *pending
	grpc       *grpc.Server
	endsPolls  atomic.Bool

	// work are goroutines that must end before Serve does; stopWork ends the polls at Temporal.
	work     sync.WaitGroup
	stopWork context.CancelFunc
}

// New checks the configuration; nothing runs before Serve.
func New(cfg Config) (*Gateway, error) {
	if cfg.DB == nil || len(cfg.Temporal) == 0 || cfg.Namespace == "" || cfg.Authority == nil || cfg.Sealer == nil {
		return nil, errors.New("make gateway: repository, Temporal, namespace, authority and sealer are required")
	}
	if len(cfg.HMACKey) != HMACKeySize {
		return nil, fmt.Errorf("make gateway: the token key has %d bytes, not %d", len(cfg.HMACKey), HMACKeySize)
	}
	if cfg.Listen == "" && cfg.Listener == nil {
		return nil, errors.New("make gateway: an address to listen on is required")
	}
	if _, _, err := net.SplitHostPort(cfg.PublicAddress); err != nil {
		return nil, fmt.Errorf("make gateway: public address %q is not host:port: %w", cfg.PublicAddress, err)
	}
	if cfg.ID == uuid.Nil {
		cfg.ID = uuid.Must(uuid.NewV7())
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.timing == (timing{}) {
		cfg.timing = defaultTiming
	}
	g := &Gateway{
		cfg: cfg, log: cfg.Logger, tokens: tokenSealer{key: cfg.HMACKey}, identities: newIdentities(cfg.DB),
		steps: newStepQueue(), presence: newPresence(cfg.timing.grace), refusals: newRefusals(), outputs: newOutputs(),
		attempts: newAttempts(), recheck: newPending(), hosts: newHosts(cfg.timing.away),
	}
	return g, g.makeGRPC()
}

func (g *Gateway) makeGRPC() error {
	// Agents' headers are not passed on: among them could be credentials or a namespace.
	server, err := proxy.NewWorkflowServiceProxyServer(proxy.WorkflowServiceProxyOptions{
		Client: g.cfg.Temporal[0], DisableHeaderForwarding: true,
	})
	if err != nil {
		return fmt.Errorf("make proxy of Temporal: %w", err)
	}
	g.grpc = grpc.NewServer(grpc.UnaryInterceptor(g.intercept), grpc.UnknownServiceHandler(g.unknownMethod))
	workflowservice.RegisterWorkflowServiceServer(g.grpc, server)
	return nil
}

// Fingerprint of the authority, hex SHA-256.
func (g *Gateway) Fingerprint() string { return g.cfg.Authority.Fingerprint() }

// PublicAddress is host:port that agents dial.
func (g *Gateway) PublicAddress() string { return g.cfg.PublicAddress }

// Forget looks at a host's right to be here at once; other gateways do when they hear of the change.
func (g *Gateway) Forget(hostID string) {
	if id, err := uuid.Parse(hostID); err == nil {
		g.identities.forget(id)
		g.recheck.add(id)
	}
}

// Serve works until the context ends, then hands over in order: agents find another gateway, no task is lost.
func (g *Gateway) Serve(ctx context.Context) error {
	listener := g.cfg.Listener
	if listener == nil {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", g.cfg.Listen); err != nil {
			return fmt.Errorf("listen for agents on %s: %w", g.cfg.Listen, err)
		}
	}
	server, err := g.httpServer()
	if err != nil {
		return err
	}
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.hosts.background, g.stopWork = context.WithCancel(context.WithoutCancel(ctx))
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){
		g.maintain, g.learnUpstream, g.writeSteps, g.writeRefusals, g.watchPresence, g.watchRevoked, g.listen, g.outputs.announce(g),
		func(ctx context.Context) { every(ctx, g.cfg.timing.refresh, func() { g.refreshPresence(ctx) }) },
		g.sweepLoop,
	} {
		loops.Go(func() { loop(bg) })
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ServeTLS(listener, "", "") }()
	g.log.Info("agents are served", "address", listener.Addr().String(), "public", g.cfg.PublicAddress, "gateway", g.cfg.ID)
	select {
	case err = <-failed:
		err = fmt.Errorf("serve agents: %w", err)
	case <-ctx.Done():
		err = nil
	}
	g.shutDown(context.WithoutCancel(ctx), server)
	stop()
	loops.Wait()
	return err
}

func (g *Gateway) sweepLoop(ctx context.Context) {
	sweep := func() {
		if err := g.Sweep(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("hosts of dead gateways could not be swept", "error", err)
		}
	}
	sweep()
	every(ctx, g.cfg.timing.sweep, sweep)
}

// shutDown ends polls at Temporal first, so that a task on its way still reaches the agent that waits for it.
func (g *Gateway) shutDown(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.timing.stop)
	defer cancel()
	all := g.hosts.all()
	var polls []*upstreamPoll
	for _, h := range all {
		drop, fail := h.close()
		g.dropPolls(ctx, h, drop)
		g.failAll(ctx, h, fail, FailureAgentAway, "The gateway stopped before the agent took this step.")
		polls = append(polls, drop...)
	}
	for _, p := range polls {
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}
	for _, h := range all {
		h.dismiss(func(*waiter) bool { return true }, delivery{err: errStopping}, time.Now())
	}
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
	g.grpc.Stop()
	g.stopWork()
	g.work.Wait()
}

func (g *Gateway) httpServer() (*http.Server, error) {
	cert, err := g.serverCertificate()
	if err != nil {
		return nil, err
	}
	mux := g.routes()
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
				g.grpc.ServeHTTP(w, r)
				return
			}
			mux.ServeHTTP(w, r)
		}),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, GetCertificate: cert.GetCertificate, NextProtos: []string{"h2", "http/1.1"},
			// Enrolment comes without a certificate; one of another authority ends the connection.
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: g.cfg.Authority.Pool(),
			// A resumed session would skip the check of the certificate's dates.
			SessionTicketsDisabled: true,
		},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		// A peer that vanished is noticed within two pings.
		HTTP2:       &http.HTTP2Config{SendPingTimeout: g.cfg.timing.ping, PingTimeout: g.cfg.timing.ping, MaxConcurrentStreams: 250},
		ConnContext: g.presence.opened,
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				g.presence.closed(c)
			}
		},
	}, nil
}

func (g *Gateway) serverCertificate() (*pki.ServerCertificate, error) {
	public, _, err := net.SplitHostPort(g.cfg.PublicAddress)
	if err != nil {
		return nil, fmt.Errorf("read public address: %w", err)
	}
	all := append([]string{public, "localhost", "127.0.0.1", "::1"}, g.cfg.Names...)
	if name, err := os.Hostname(); err == nil {
		all = append(all, name)
	}
	slices.Sort(all)
	var names []string
	var ips []net.IP
	for _, n := range slices.Compact(all) {
		if ip := net.ParseIP(n); ip != nil {
			ips = append(ips, ip)
		} else if n != "" {
			names = append(names, n)
		}
	}
	return g.cfg.Authority.ServerCertificate(names, ips)
}

func hostOf(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}
