package embedtemporal_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgdrover/pgdrover/internal/embedpostgres"
	"github.com/pgdrover/pgdrover/internal/embedpostgres/pgtest"
	"github.com/pgdrover/pgdrover/internal/embedtemporal"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const queue = "test"

func echo(_ context.Context, s string) (string, error) { return s, nil }

func echoFlow(ctx workflow.Context, s string) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	var out string
	err := workflow.ExecuteActivity(ctx, echo, s).Get(ctx, &out)
	return out, err
}

func config(pg *embedpostgres.Cluster) embedtemporal.Config {
	return embedtemporal.Config{
		Host: "127.0.0.1", Port: pg.Port, User: embedpostgres.Superuser, Password: pg.Password,
		SearchAttributes: map[string]enumspb.IndexedValueType{
			"PgdroverTarget":    enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
			"PgdroverActor":     enumspb.INDEXED_VALUE_TYPE_KEYWORD,
			"PgdroverOperation": enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		},
		UI: true, UIPublicPath: "/temporal",
	}
}

func start(tb testing.TB, cfg embedtemporal.Config) *embedtemporal.Server {
	tb.Helper()
	begin := time.Now()
	s, err := embedtemporal.Start(tb.Context(), cfg)
	require.NoError(tb, err)
	tb.Logf("start took %s", time.Since(begin).Round(time.Millisecond))
	return s
}

func stop(tb testing.TB, s *embedtemporal.Server) {
	tb.Helper()
	begin := time.Now()
	require.NoError(tb, s.Stop(context.WithoutCancel(tb.Context())))
	tb.Logf("stop took %s", time.Since(begin).Round(time.Millisecond))
}

func dial(tb testing.TB, s *embedtemporal.Server) client.Client {
	tb.Helper()
	c, err := client.DialContext(tb.Context(), client.Options{
		HostPort: s.FrontendAddress(), Namespace: s.Namespace(),
		ConnectionOptions: client.ConnectionOptions{TLS: s.ClientTLS()},
		Logger:            sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(tb, err)
	return c
}

func work(tb testing.TB, c client.Client) (stop func()) {
	tb.Helper()
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflow(echoFlow)
	w.RegisterActivity(echo)
	require.NoError(tb, w.Start())
	return w.Stop
}

func run(tb testing.TB, c client.Client, id string) string {
	tb.Helper()
	flow, err := c.ExecuteWorkflow(tb.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue}, echoFlow, "hello")
	require.NoError(tb, err)
	var out string
	require.NoError(tb, flow.Get(tb.Context(), &out))
	return out
}

func TestHistorySurvivesRestart(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	var logged lockedBuffer
	cfg := config(pg)
	cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))

	s := start(t, cfg)
	c := dial(t, s)
	stopWorker := work(t, c)
	require.Equal(t, "hello", run(t, c, "first"))
	stopWorker()
	c.Close()
	stop(t, s)

	// A newer release may bring another attribute and another retention.
	cfg.SearchAttributes["PgdroverNew"] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	cfg.RetentionDays = 3
	s = start(t, cfg)
	defer stop(t, s)
	c = dial(t, s)
	defer c.Close()
	var out string
	require.NoError(t, c.GetWorkflow(t.Context(), "first", "").Get(t.Context(), &out))
	require.Equal(t, "hello", out)
	var types []string
	for events := c.GetWorkflowHistory(t.Context(), "first", "", false, 0); events.HasNext(); {
		event, err := events.Next()
		require.NoError(t, err)
		types = append(types, event.GetEventType().String())
	}
	require.Contains(t, types, "ActivityTaskCompleted")
	require.Equal(t, "WorkflowExecutionCompleted", types[len(types)-1])

	attributes, err := c.OperatorService().ListSearchAttributes(t.Context(),
		&operatorservice.ListSearchAttributesRequest{Namespace: s.Namespace()})
	require.NoError(t, err)
	require.Equal(t, cfg.SearchAttributes, attributes.GetCustomAttributes())
	ns, err := c.WorkflowService().DescribeNamespace(t.Context(),
		&workflowservice.DescribeNamespaceRequest{Namespace: s.Namespace()})
	require.NoError(t, err)
	require.Equal(t, 72*time.Hour, ns.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration())

	// It works on, and starts and a clean stop leave no noise in the log.
	defer work(t, c)()
	require.Equal(t, "hello", run(t, c, "second"))
	require.NotContains(t, logged.String(), "level=WARN")
	require.NotContains(t, logged.String(), "level=ERROR")
}

func TestWorkSurvivesACrashOfPostgreSQL(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	supervised := make(chan struct{})
	go func() {
		defer close(supervised)
		pg.Supervise(ctx)
	}()
	defer func() {
		cancel()
		<-supervised
	}()
	s := start(t, config(pg))
	defer stop(t, s)
	c := dial(t, s)
	defer c.Close()
	defer work(t, c)()
	require.Equal(t, "hello", run(t, c, "before"))

	require.NoError(t, pg.Kill9(t.Context()))
	begin := time.Now()
	require.Eventually(t, func() bool {
		_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "after", TaskQueue: queue}, echoFlow, "again")
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	var out string
	require.NoError(t, c.GetWorkflow(t.Context(), "after", "").Get(t.Context(), &out))
	require.Equal(t, "again", out)
	t.Logf("first workflow done %s after the crash", time.Since(begin).Round(time.Millisecond))
}

func TestOnlyOurCertificateOpensTheFrontend(t *testing.T) {
	t.Parallel()
	s := start(t, config(pgtest.Start(t)))
	defer stop(t, s)

	conn, err := grpc.NewClient(s.FrontendAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = workflowservice.NewWorkflowServiceClient(conn).GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{})
	require.Error(t, err)

	withoutCert := s.ClientTLS()
	withoutCert.Certificates = nil
	_, err = client.DialContext(t.Context(), client.Options{
		HostPort: s.FrontendAddress(), ConnectionOptions: client.ConnectionOptions{TLS: withoutCert},
		Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.ErrorContains(t, err, "certificate required")
}

func TestUIShowsDataOnlyThroughItsHandler(t *testing.T) {
	t.Parallel()
	s := start(t, config(pgtest.Start(t)))
	defer stop(t, s)

	const api = "/temporal/api/v1/namespaces/pgdrover"
	status, body := get(t, "http://"+s.UIAddress()+api, http.MethodGet)
	require.Equal(t, http.StatusForbidden, status, body)

	front := httptest.NewServer(s.UIHandler())
	defer front.Close()
	status, body = get(t, front.URL+api, http.MethodGet)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"name": "pgdrover"`)
	status, body = get(t, front.URL+"/temporal/", http.MethodGet)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `base: "/temporal"`)
	status, body = get(t, front.URL+api+"/workflows/x/terminate", http.MethodPost)
	require.GreaterOrEqual(t, status, 400, body)

	host, _, err := net.SplitHostPort(s.UIAddress())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
}

func TestSecondServerOnOneDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	s := start(t, config(pg))
	defer stop(t, s)
	_, err := embedtemporal.Start(t.Context(), config(pg))
	require.ErrorContains(t, err, "another process runs Temporal on this database")
}

func TestForeignDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	require.NoError(t, pg.CreateDatabase(t.Context(), "temporal"))
	conn, err := pgx.Connect(t.Context(), pg.DSN("temporal"))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE precious (n int)")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	_, err = embedtemporal.Start(t.Context(), config(pg))
	require.ErrorContains(t, err, "holds tables but no Temporal schema")
}

func TestEmptyDatabaseMadeByAnAdministrator(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	for _, name := range []string{"temporal", "temporal_visibility"} {
		require.NoError(t, pg.CreateDatabase(t.Context(), name))
	}
	cfg := config(pg)
	cfg.UI = false
	s := start(t, cfg)
	require.Empty(t, s.UIAddress())
	stop(t, s)
}

func TestConfigReportsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := embedtemporal.Start(t.Context(), embedtemporal.Config{
		Database: "x", VisibilityDatabase: "x", UIPublicPath: "temporal", RetentionDays: -1,
	})
	for _, part := range []string{"host and user", "port 0", "must differ", "UI path", "negative"} {
		require.ErrorContains(t, err, part)
	}
}

// BenchmarkNoopOperation is a workflow with one activity, one after another, on a PostgreSQL that syncs to disk.
func BenchmarkNoopOperation(b *testing.B) {
	pg := pgtest.Start(b, func(cfg *embedpostgres.Config) { cfg.FastUnsafe = false })
	s := start(b, config(pg))
	defer stop(b, s)
	c := dial(b, s)
	defer c.Close()
	defer work(b, c)()
	run(b, c, "warm-up")

	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		run(b, c, "noop-"+begin.Format(time.RFC3339Nano))
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
}

func get(tb testing.TB, url, method string) (int, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, strings.NewReader(""))
	require.NoError(tb, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(tb, err)
	return resp.StatusCode, string(body)
}

// lockedBuffer collects what several goroutines log.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
