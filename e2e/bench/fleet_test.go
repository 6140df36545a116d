package bench_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/pgdrover/pgdrover/internal/pki"
	"github.com/pgdrover/pgdrover/internal/secret"
	"github.com/pgdrover/pgdrover/server/gateway"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

const fleetSize = 1000

// fleetEnv makes a copy of this program the fleet's agents; it names the file that says who they are.
const fleetEnv = "PGDROVER_BENCH_FLEET"

type fleet struct {
	Gateway   string
	Authority string
	Agents    []member
}

type member struct {
	ID               uuid.UUID
	Certificate, Key []byte
}

// The manager with many agents connected: each holds a poll on a TLS connection of its own, as real ones do.
func BenchmarkFleet(b *testing.B) {
	t := theBed(b)
	d, err := db.Open(b.Context(), db.Config{URL: t.Repository.DSN("pgdrover")})
	require.NoError(b, err)
	defer d.Close()
	file := filepath.Join(base, "fleet.json")
	raw, err := json.Marshal(enlist(b, t, d))
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(file, raw, 0o600))
	report(b, "manager without the fleet, resident", "MB", memory(b, t.Manager.PID())*1.048576, 0)

	self, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.CommandContext(b.Context(), self)
	cmd.Env = append(os.Environ(), fleetEnv+"="+file)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(b, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	require.NoError(b, system.Until(b.Context(), 3*time.Minute, "the fleet is online", func() error {
		var n int
		if err := d.Pool.QueryRow(b.Context(), "SELECT count(*) FROM host WHERE online AND name LIKE 'fleet-%'").Scan(&n); err != nil {
			return err
		}
		if n < fleetSize {
			return fmt.Errorf("%d are", n)
		}
		return nil
	}))
	// Longer than a poll is held: each is renewed once.
	most, temporal, begin := 0.0, 0.0, time.Now()
	before := cpu(b, t.Manager.PID())
	watch(75*time.Second, func() {
		most, temporal = max(most, memory(b, t.Manager.PID())), max(temporal, memory(b, t.Temporal.PID()))
	})
	used := (cpu(b, t.Manager.PID()) - before).Seconds() / time.Since(begin).Seconds() * 100
	var online int
	require.NoError(b, d.Pool.QueryRow(b.Context(), "SELECT count(*) FROM host WHERE online AND name LIKE 'fleet-%'").Scan(&online))
	require.Equal(b, fleetSize, online, "all must have stayed: %s", said.String())
	report(b, fmt.Sprintf("manager with %d agents, resident", fleetSize), "MB", most*1.048576, 1000)
	report(b, "  of a core", "%", used, 0)
	report(b, "  Temporal beside it, resident", "MB", temporal*1.048576, 0)
	samples := times(b, 5, 50, func() {
		require.NoError(b, t.client.Post(b.Context(), "/api/v1/hosts/"+t.hostID+"/refresh-facts", nil, nil))
	})
	report(b, "  live read beside them, p99", "ms", percentile(samples, 0.99), 100)
}

// enlist records hosts with certificates as enrolment would, without a thousand tokens.
func enlist(b *testing.B, t *bed, d *db.DB) fleet {
	b.Helper()
	key, err := base64.StdEncoding.DecodeString(masterKey)
	require.NoError(b, err)
	sealer, err := secret.New(1, map[int][]byte{1: key})
	require.NoError(b, err)
	keys, err := gateway.LoadKeys(b.Context(), d, sealer)
	require.NoError(b, err)
	f := fleet{Gateway: gatewayOf(b, t), Authority: keys.Authority.CertificatePEM(), Agents: make([]member, fleetSize)}
	for i := range f.Agents {
		m := &f.Agents[i]
		m.ID = uuid.Must(uuid.NewV7())
		cert := m.certify(b, keys.Authority)
		require.NoError(b, d.InTx(b.Context(), func(ctx context.Context, q *gen.Queries) error {
			if _, err := q.InsertHost(ctx, m.ID, fmt.Sprintf("fleet-%d", i), []byte(`{}`)); err != nil {
				return err
			}
			if _, err := q.EnrollHost(ctx, "fleet-machine-"+m.ID.String(), "bench", m.ID); err != nil {
				return err
			}
			return q.InsertCertificate(ctx, gen.InsertCertificateParams{
				Serial: pki.SerialText(cert.SerialNumber), HostID: m.ID, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter,
			})
		}))
	}
	return f
}

func (m *member) certify(b *testing.B, a *pki.Authority) *x509.Certificate {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(b, err)
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	cert, err := a.SignAgent(string(request), m.ID, pki.AgentLife)
	require.NoError(b, err)
	m.Certificate = cert.Raw
	m.Key, err = x509.MarshalPKCS8PrivateKey(key)
	require.NoError(b, err)
	return cert
}

// gatewayOf reads the gateway's address out of an enrolment token, as an agent would.
func gatewayOf(b *testing.B, t *bed) string {
	b.Helper()
	var e struct{ Token string }
	require.NoError(b, t.client.Post(b.Context(), "/api/v1/hosts", map[string]any{"name": "fleet-invited"}, &e))
	raw, err := base64.RawURLEncoding.DecodeString(e.Token)
	require.NoError(b, err)
	var token host.EnrollmentToken
	require.NoError(b, json.Unmarshal(raw, &token))
	return token.Gateway
}

// fleetMain is the life of the fleet's process; it does not return in it.
func fleetMain() {
	file := os.Getenv(fleetEnv)
	if file == "" {
		return
	}
	if err := runFleet(context.Background(), file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runFleet(ctx context.Context, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var f fleet
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, m := range f.Agents {
		all.Go(func() { m.live(ctx, f) })
	}
	all.Wait()
	return nil
}

// live holds one poll after the other. An agent of the fleet has no verbs: a task would never come.
func (m *member) live(ctx context.Context, f fleet) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(f.Authority))
	key, err := x509.ParsePKCS8PrivateKey(m.Key)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	conn, err := grpc.NewClient(f.Gateway, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{{
			Certificate: [][]byte{m.Certificate},
			PrivateKey:  key,
		}},
	})))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer conn.Close()
	c := workflowservice.NewWorkflowServiceClient(conn)
	worker := uuid.NewString()
	for ctx.Err() == nil {
		pctx, cancel := context.WithTimeout(ctx, 70*time.Second)
		_, err := c.PollActivityTaskQueue(pctx, &workflowservice.PollActivityTaskQueueRequest{
			Namespace: "pgdrover", Identity: "fleet-" + m.ID.String(), WorkerInstanceKey: worker,
			TaskQueue: &taskqueuepb.TaskQueue{Name: op.AgentQueue(m.ID.String()), Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		})
		cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, m.ID, err)
			pause(ctx)
		}
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}
