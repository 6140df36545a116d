package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/embedpostgres/pgtest"
	"github.com/pgdrover/pgdrover/internal/pki"
	"github.com/pgdrover/pgdrover/internal/secret"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// fixture is a repository with a gateway on it.
type fixture struct {
	db        *db.DB
	sealer    *secret.Sealer
	keys      Keys
	upstream  workflowservice.WorkflowServiceClient
	namespace string
	*running
}

// running is one gateway that serves.
type running struct {
	*Gateway
	addr string
	stop func()
}

func newFixture(t *testing.T, upstream workflowservice.WorkflowServiceClient, change ...func(*Config)) *fixture {
	t.Helper()
	f := newRepository(t)
	f.upstream, f.namespace = upstream, "default"
	f.running = f.serve(t, change...)
	return f
}

func newRepository(t *testing.T) *fixture {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: pgtest.NewDatabase(t)})
	require.NoError(t, err)
	t.Cleanup(d.Close)
	require.NoError(t, d.Migrate(t.Context()))
	key, err := secret.NewKey()
	require.NoError(t, err)
	sealer, err := secret.New(1, map[int][]byte{1: key})
	require.NoError(t, err)
	keys, err := LoadKeys(t.Context(), d, sealer)
	require.NoError(t, err)
	return &fixture{db: d, sealer: sealer, keys: keys}
}

// serve starts one more gateway on the repository.
func (f *fixture) serve(t *testing.T, change ...func(*Config)) *running {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := Config{
		DB: f.db, Temporal: []workflowservice.WorkflowServiceClient{f.upstream}, Namespace: f.namespace,
		Authority: f.keys.Authority, HMACKey: f.keys.HMACKey, Sealer: f.sealer, Listener: listener,
		PublicAddress: listener.Addr().String(),
		Logger:        slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
		timing:        defaultTiming,
	}
	cfg.timing.tick = 20 * time.Millisecond
	cfg.timing.stop = time.Second
	for _, c := range change {
		c(&cfg)
	}
	g, err := New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	return &running{Gateway: g, addr: listener.Addr().String(), stop: stop}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(bytes.TrimSpace(b)))
	}
	return len(b), nil
}

// agent is a host with its certificate.
type agent struct {
	id   uuid.UUID
	name string
	cert tls.Certificate
	pool *x509.CertPool
	addr string
	http *http.Client
}

func (f *fixture) invite(t *testing.T, name string, ttl time.Duration) host.EnrollmentToken {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := f.db.InsertHost(t.Context(), id, name, json.RawMessage("{}"))
	require.NoError(t, err)
	return f.inviteAgain(t, id, ttl)
}

func (f *fixture) inviteAgain(t *testing.T, id uuid.UUID, ttl time.Duration) host.EnrollmentToken {
	t.Helper()
	inv, err := Invite(f.keys.Authority, f.addr, id, ttl)
	require.NoError(t, err)
	require.NoError(t, f.db.InsertEnrollmentToken(t.Context(), gen.InsertEnrollmentTokenParams{
		ID: uuid.Must(uuid.NewV7()), HostID: id, SecretHash: inv.Hash, ExpiresAt: inv.ExpiresAt,
	}))
	token := decodeToken(t, inv.Text)
	require.Equal(t, f.keys.Authority.Fingerprint(), token.Fingerprint)
	return token
}

func newCSR(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// enroll goes through the real door.
func (f *fixture) enroll(t *testing.T, name string) *agent {
	t.Helper()
	return f.enrollWith(t, name, f.invite(t, name, time.Hour), "machine-of-"+name)
}

func (f *fixture) enrollWith(t *testing.T, name string, token host.EnrollmentToken, machine string) *agent {
	t.Helper()
	key, csr := newCSR(t)
	stranger := f.client(nil)
	var out host.EnrollOut
	status, code := post(t, stranger, f.addr, host.PathEnroll, host.EnrollIn{
		Secret: token.Secret, HostID: token.HostID, CSRPEM: csr, Hostname: name, MachineID: machine, Version: "1.0",
	}, &out)
	require.Equal(t, http.StatusOK, status, code)
	return f.agent(t, name, key, out)
}

func (f *fixture) agent(t *testing.T, name string, key *ecdsa.PrivateKey, out host.EnrollOut) *agent {
	t.Helper()
	block, _ := pem.Decode([]byte(out.CertificatePEM))
	require.NotNil(t, block)
	a := &agent{
		id: uuid.MustParse(out.HostID), name: name, addr: f.addr, pool: f.keys.Authority.Pool(),
		cert: tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key},
	}
	a.http = f.client(&a.cert)
	return a
}

func (f *fixture) client(cert *tls.Certificate) *http.Client {
	cfg := &tls.Config{RootCAs: f.keys.Authority.Pool(), MinVersion: tls.VersionTLS13}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}, Timeout: 20 * time.Second}
}

// dial opens a gRPC connection as the agent.
func (a *agent) dial(t *testing.T, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	cfg := &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS13}
	// Not Certificates: a client would not even show one whose authority the server did not name.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &a.cert, nil }
	opts = append(opts, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	c, err := grpc.NewClient(addr, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (a *agent) temporal(t *testing.T, opts ...grpc.DialOption) workflowservice.WorkflowServiceClient {
	t.Helper()
	return workflowservice.NewWorkflowServiceClient(a.dial(t, a.addr, opts...))
}

func (a *agent) queue() string { return op.AgentQueue(a.id.String()) }

func decodeToken(t *testing.T, text string) host.EnrollmentToken {
	t.Helper()
	raw, err := base64Decode(text)
	require.NoError(t, err)
	var token host.EnrollmentToken
	require.NoError(t, json.Unmarshal(raw, &token))
	return token
}

// post returns the status and the problem's code.
func post(t *testing.T, c *http.Client, addr, path string, in, out any) (int, string) {
	t.Helper()
	raw, err := json.Marshal(in)
	require.NoError(t, err)
	return postRaw(t, c, addr, path, raw, out)
}

func postRaw(t *testing.T, c *http.Client, addr, path string, raw []byte, out any) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+path, bytes.NewReader(raw))
	require.NoError(t, err)
	resp, err := c.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	if resp.StatusCode >= 300 {
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"), string(body))
		var p problem
		require.NoError(t, json.Unmarshal(body, &p))
		require.Equal(t, resp.StatusCode, p.Status)
		require.NotEmpty(t, p.Type)
		require.NotEmpty(t, p.Title)
		require.NotEmpty(t, p.Detail)
		return resp.StatusCode, p.Code
	}
	if out != nil {
		require.NoError(t, json.Unmarshal(body, out))
	}
	return resp.StatusCode, ""
}

// eventually polls, for what has no channel to wait on.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, within, 10*time.Millisecond, what)
}

func (f *fixture) auditCount(t *testing.T, where string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, f.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit WHERE "+where, args...).Scan(&n))
	return n
}

// operation inserts a running operation on a host.
func (f *fixture) operation(t *testing.T, hostID *uuid.UUID) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := f.db.Pool.Exec(t.Context(), `INSERT INTO operation (id, name, title, state, risk, target_kind, input, actor, host_id)
		VALUES ($1, 'test-operation', 'Test', 'running', 'change', 'none', '{}', 'tester', $2)`, id, hostID)
	require.NoError(t, err)
	return id
}

func (f *fixture) finish(t *testing.T, id uuid.UUID, ago string) {
	t.Helper()
	_, err := f.db.Pool.Exec(t.Context(),
		"UPDATE operation SET state = 'succeeded', ended_at = now() - $2::interval WHERE id = $1", id, ago)
	require.NoError(t, err)
}

func serialOf(t *testing.T, a *agent) string {
	t.Helper()
	cert, err := x509.ParseCertificate(a.cert.Certificate[0])
	require.NoError(t, err)
	return pki.SerialText(cert.SerialNumber)
}
