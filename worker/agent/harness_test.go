package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/pki"
	"github.com/stretchr/testify/require"
)

// fakeGateway is the manager's side of the protocol, over real TLS with the real authority.
type fakeGateway struct {
	t         *testing.T
	authority *pki.Authority
	address   string
	hostID    uuid.UUID
	// grpc, where given, takes Temporal's calls.
	grpc http.Handler

	mu     sync.Mutex
	server *http.Server
	// namespace of Temporal.
	namespace string
	life      time.Duration
	answer    map[string]*GatewayError
	reports   []host.Report
	output    map[string][]byte
	config    host.AgentConfig
	secrets   map[string]string
	serials   map[string]bool
	enrolled  []host.EnrollIn
	renewals  int
	calls     map[string]int
	conflict  []host.InstanceConflict
}

func newFakeGateway(t *testing.T) *fakeGateway {
	t.Helper()
	a, err := pki.NewAuthority()
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &fakeGateway{
		t:         t,
		authority: a,
		address:   l.Addr().String(),
		hostID:    uuid.Must(uuid.NewV7()),
		life:      time.Hour,
		answer:    map[string]*GatewayError{},
		namespace: "default",
		output:    map[string][]byte{},
		secrets:   map[string]string{},
		serials:   map[string]bool{},
		calls:     map[string]int{},
		config:    host.AgentConfig{FactsIntervalSeconds: 60, Etag: "1"},
	}
	require.NoError(t, l.Close())
	t.Cleanup(g.stop)
	return g
}

// start serves on the same address each time.
func (g *fakeGateway) start() {
	g.t.Helper()
	var l net.Listener
	require.Eventually(g.t, func() bool {
		var err error
		l, err = net.Listen("tcp", g.address)
		return err == nil
	}, 5*time.Second, 10*time.Millisecond)
	cert, err := g.authority.ServerCertificate([]string{"elsewhere"}, nil)
	require.NoError(g.t, err)
	s := &http.Server{
		Handler: g, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, GetCertificate: cert.GetCertificate, ClientAuth: tls.VerifyClientCertIfGiven,
			ClientCAs: g.authority.Pool(), NextProtos: []string{"h2", "http/1.1"},
		},
	}
	g.mu.Lock()
	g.server = s
	g.mu.Unlock()
	go func() { _ = s.ServeTLS(l, "", "") }()
}

// stop cuts everything off, as a killed manager does.
func (g *fakeGateway) stop() {
	g.mu.Lock()
	s := g.server
	g.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isGRPC := strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
	g.mu.Lock()
	g.calls[r.URL.Path]++
	refusal := g.answer[r.URL.Path]
	if refusal == nil {
		refusal = g.answer["*"]
	}
	if len(r.TLS.PeerCertificates) > 0 {
		g.serials[pki.SerialText(r.TLS.PeerCertificates[0].SerialNumber)] = true
	}
	g.mu.Unlock()
	switch {
	case refusal != nil:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(refusal.Status)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": refusal.Code, "detail": refusal.Detail})
	case isGRPC:
		g.grpc.ServeHTTP(w, r)
	default:
		g.serve(w, r)
	}
}

func (g *fakeGateway) serve(w http.ResponseWriter, r *http.Request) {
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	read := func(v any) { _ = json.NewDecoder(r.Body).Decode(v) }
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.URL.Path {
	case host.PathEnroll:
		var in host.EnrollIn
		read(&in)
		g.enrolled = append(g.enrolled, in)
		reply(g.sign(in.CSRPEM))
	case host.PathRenew:
		var in host.RenewIn
		read(&in)
		g.renewals++
		g.life = time.Hour
		reply(g.sign(in.CSRPEM))
	case host.PathReports:
		var in host.ReportsIn
		read(&in)
		for _, rep := range in.Reports {
			if n := len(g.reports); n > 0 && g.reports[n-1].Epoch == rep.Epoch && g.reports[n-1].Seq >= rep.Seq {
				continue
			}
			g.reports = append(g.reports, rep)
		}
		reply(host.ReportsOut{Conflicts: g.conflict})
	case host.PathConfig:
		if r.Header.Get("If-None-Match") == `"`+g.config.Etag+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		reply(g.config)
	case host.PathSecret:
		var in host.SecretIn
		read(&in)
		reply(host.SecretOut{Value: g.secrets[in.Secret]})
	case host.PathOutput:
		var in host.OutputChunk
		read(&in)
		key := in.Step
		if have := int64(len(g.output[key])); have == in.Offset {
			g.output[key] = append(g.output[key], in.Data...)
		} else if have < in.Offset {
			g.t.Errorf("output of %s has a gap: have %d, got offset %d", key, have, in.Offset)
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (g *fakeGateway) sign(csr string) host.EnrollOut {
	cert, err := g.authority.SignAgent(csr, g.hostID, g.life)
	if err != nil {
		g.t.Errorf("sign: %v", err)
		return host.EnrollOut{}
	}
	return host.EnrollOut{
		HostID:         g.hostID.String(),
		CertificatePEM: pki.EncodeCertificate(cert),
		AuthorityPEM:   g.authority.CertificatePEM(),
		Namespace:      g.namespace,
	}
}

func (g *fakeGateway) refuse(path string, e *GatewayError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e == nil {
		delete(g.answer, path)
	} else {
		g.answer[path] = e
	}
}

func (g *fakeGateway) count(path string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[path]
}

func (g *fakeGateway) text(step string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(g.output[step])
}

func (g *fakeGateway) reported() []host.Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]host.Report(nil), g.reports...)
}

// token makes an enrolment token of this gateway.
func (g *fakeGateway) token(change ...func(*host.EnrollmentToken)) string {
	t := host.EnrollmentToken{
		Gateway:     g.address,
		Fingerprint: g.authority.Fingerprint(),
		Secret:      "one-time",
		HostID:      g.hostID.String(),
		ExpiresAt:   time.Now().Add(time.Hour),
	}
	for _, f := range change {
		f(&t)
	}
	return encodeToken(g.t, t)
}

// enroll makes a state folder with an identity.
func (g *fakeGateway) enroll(dir string) {
	g.t.Helper()
	_, err := Enroll(g.t.Context(), g.token(), EnrollOptions{StateDir: dir, Hostname: "db1", MachineID: "m1", Version: "1"})
	require.NoError(g.t, err)
}

func testConfig(t *testing.T, dir string) Config {
	t.Helper()
	return Config{
		StateDir: filepath.Join(dir, "state"), RuntimeDir: filepath.Join(dir, "run"), PolicyFile: filepath.Join(dir, "policy.yaml"),
		DataRoot: filepath.Join(dir, "instances"), OnlyUnder: []string{dir}, Hostname: "db1", MachineID: "m1", NoSystemd: true,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// running starts the agent and stops it with the test, or by the returned function.
func running(t *testing.T, a *agent) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("agent: %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("the agent does not stop")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, 10*time.Millisecond, what)
}
