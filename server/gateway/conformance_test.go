package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/pki"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workerpb "go.temporal.io/api/worker/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func codeOf(err error) codes.Code { return status.Code(err) }

func TestWhatAnAgentMayCall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a, b := f.enroll(t, "a"), f.enroll(t, "b")
	c := a.temporal(t)
	ctx := t.Context()

	_, err := c.GetSystemInfo(ctx, &systemInfoReq{})
	require.NoError(t, err)
	ns, err := c.DescribeNamespace(ctx, &namespaceReq{Namespace: "somebody-elses"})
	require.NoError(t, err)
	require.Equal(t, "default", ns.GetNamespaceInfo().GetName(), "the namespace is forced")
	require.True(t, ns.GetNamespaceInfo().GetCapabilities().GetWorkerPollCompleteOnShutdown())
	require.False(t, ns.GetNamespaceInfo().GetCapabilities().GetWorkerCommands())

	run := &commonpb.WorkflowExecution{WorkflowId: "w", RunId: "r"}
	refused := map[string]func() error{
		"poll of another host's queue": func() error {
			_, err := c.PollActivityTaskQueue(ctx, pollRequest(b.queue(), "s"))
			return err
		},
		"poll of the managers' queue": func() error {
			_, err := c.PollActivityTaskQueue(ctx, pollRequest("manager", "s"))
			return err
		},
		"poll without a queue": func() error {
			_, err := c.PollActivityTaskQueue(ctx, &pollReq{Identity: "s"})
			return err
		},
		"poll without an identity": func() error {
			_, err := c.PollActivityTaskQueue(ctx, pollRequest(a.queue(), ""))
			return err
		},
		"workflow poll": func() error {
			_, err := c.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{
				TaskQueue: &taskqueuepb.TaskQueue{Name: a.queue()},
			})
			return err
		},
		"nexus poll": func() error {
			_, err := c.PollNexusTaskQueue(ctx, &workflowservice.PollNexusTaskQueueRequest{})
			return err
		},
		"workflow start": func() error {
			_, err := c.StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{WorkflowId: "w"})
			return err
		},
		"signal": func() error {
			_, err := c.SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{WorkflowExecution: run})
			return err
		},
		"signal with start": func() error {
			_, err := c.SignalWithStartWorkflowExecution(ctx, &workflowservice.SignalWithStartWorkflowExecutionRequest{})
			return err
		},
		"terminate": func() error {
			_, err := c.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{WorkflowExecution: run})
			return err
		},
		"history": func() error {
			_, err := c.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{Execution: run})
			return err
		},
		"list": func() error {
			_, err := c.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{})
			return err
		},
		"register namespace": func() error {
			_, err := c.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: "x"})
			return err
		},
		"completed by id": func() error {
			_, err := c.RespondActivityTaskCompletedById(ctx, &workflowservice.RespondActivityTaskCompletedByIdRequest{WorkflowId: "w"})
			return err
		},
		"failed by id": func() error {
			_, err := c.RespondActivityTaskFailedById(ctx, &workflowservice.RespondActivityTaskFailedByIdRequest{WorkflowId: "w"})
			return err
		},
		"canceled by id": func() error {
			_, err := c.RespondActivityTaskCanceledById(ctx, &workflowservice.RespondActivityTaskCanceledByIdRequest{WorkflowId: "w"})
			return err
		},
		"heartbeat by id": func() error {
			_, err := c.RecordActivityTaskHeartbeatById(ctx, &workflowservice.RecordActivityTaskHeartbeatByIdRequest{WorkflowId: "w"})
			return err
		},
		"start of an activity": func() error {
			_, err := c.StartActivityExecution(ctx, &workflowservice.StartActivityExecutionRequest{})
			return err
		},
		"worker heartbeat of another queue": func() error {
			_, err := c.RecordWorkerHeartbeat(ctx, &workerHeartbeatReq{
				WorkerHeartbeat: []*workerpb.WorkerHeartbeat{{TaskQueue: b.queue()}},
			})
			return err
		},
		"shutdown of another queue's worker": func() error {
			_, err := c.ShutdownWorker(ctx, &shutdownReq{TaskQueue: b.queue(), WorkerInstanceKey: "x"})
			return err
		},
	}
	for name, call := range refused {
		require.Equal(t, codes.PermissionDenied, codeOf(call()), name)
	}
	_, err = grpc_health_v1.NewHealthClient(a.dial(t, f.addr)).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	require.Equal(t, codes.PermissionDenied, codeOf(err), "another service")

	eventually(t, 5*time.Second, "refusals are audited", func() bool {
		where := "result = 'refused' AND target_id = $1 AND detail->>'call' = 'StartWorkflowExecution'"
		return f.auditCount(t, where, a.id.String()) == 1
	})
}

func TestRefusalsAreAuditedWithoutFlooding(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	c := a.temporal(t)
	for range 50 {
		_, err := c.StartWorkflowExecution(t.Context(), &workflowservice.StartWorkflowExecutionRequest{})
		require.Equal(t, codes.PermissionDenied, codeOf(err))
	}
	_, err := c.ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{})
	require.Equal(t, codes.PermissionDenied, codeOf(err))
	eventually(t, 5*time.Second, "both kinds are audited", func() bool { return f.auditCount(t, "action = 'gateway.call'") == 2 })
}

func TestStrangersAndForeignCertificates(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")

	stranger := &agent{id: a.id, pool: a.pool, addr: f.addr}
	anonymous, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: a.pool, MinVersion: tls.VersionTLS13,
	})))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, anonymous.Close()) })
	c := workflowservice.NewWorkflowServiceClient(anonymous)
	_, err = c.PollActivityTaskQueue(t.Context(), pollRequest(stranger.queue(), "s"))
	require.Equal(t, codes.Unauthenticated, codeOf(err))
	_, err = c.GetSystemInfo(t.Context(), &systemInfoReq{})
	require.Equal(t, codes.Unauthenticated, codeOf(err))
	for _, path := range []string{host.PathRenew, host.PathReports, host.PathSecret, host.PathOutput} {
		status, code := post(t, f.client(nil), f.addr, path, struct{}{}, nil)
		require.Equal(t, http.StatusUnauthorized, status, path)
		require.Equal(t, "certificate-required", code)
	}

	// Another authority's certificate for the very same host: TLS ends the connection.
	other, err := pki.NewAuthority()
	require.NoError(t, err)
	key, csr := newCSR(t)
	cert, err := other.SignAgent(csr, a.id, pki.AgentLife)
	require.NoError(t, err)
	foreign := &agent{id: a.id, pool: a.pool, addr: f.addr, cert: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = foreign.temporal(t).GetSystemInfo(ctx, &systemInfoReq{})
	require.Equal(t, codes.Unavailable, codeOf(err))

	// Signed by the right authority but never entered: as after a restore of an old repository.
	key, csr = newCSR(t)
	cert, err = f.keys.Authority.SignAgent(csr, a.id, pki.AgentLife)
	require.NoError(t, err)
	unknown := &agent{id: a.id, pool: a.pool, addr: f.addr, cert: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	_, err = unknown.temporal(t).GetSystemInfo(t.Context(), &systemInfoReq{})
	require.Equal(t, codes.Unauthenticated, codeOf(err))

	// An expired one ends in TLS as well.
	key, csr = newCSR(t)
	cert, err = f.keys.Authority.SignAgent(csr, a.id, -time.Minute)
	require.NoError(t, err)
	expired := &agent{id: a.id, pool: a.pool, addr: f.addr, cert: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	ctx2, cancel2 := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel2()
	_, err = expired.temporal(t).GetSystemInfo(ctx2, &systemInfoReq{})
	require.Equal(t, codes.Unavailable, codeOf(err))
}

func TestRevokedHostIsCutOffAtOnce(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	held := pollAsync(t.Context(), c, a.queue(), "s")
	eventually(t, 5*time.Second, "the poll is held", func() bool { return fake.polls(a.queue()) == 1 })

	begin := time.Now()
	f.revoke(t, a)
	require.Equal(t, codes.Unauthenticated, codeOf(await(t, held).err), "the held poll ends")
	require.Less(t, time.Since(begin), 3*time.Second)
	_, err := c.GetSystemInfo(t.Context(), &systemInfoReq{})
	require.Equal(t, codes.Unauthenticated, codeOf(err))
	status, code := post(t, a.http, f.addr, host.PathReports, host.ReportsIn{}, nil)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "certificate-revoked", code)
	eventually(t, 5*time.Second, "its poll at Temporal ends", func() bool { return fake.polls(a.queue()) == 0 })
}

// revoke does what the API does, without telling this gateway but by the notification.
func (f *fixture) revoke(t *testing.T, a *agent) {
	t.Helper()
	_, err := f.db.RevokeHost(t.Context(), a.id)
	require.NoError(t, err)
	require.NoError(t, f.db.RevokeCertificates(t.Context(), a.id))
	require.NoError(t, f.db.NotifyEvent(t.Context(), `{"kind":"host","id":"`+a.id.String()+`"}`))
}

func TestRevocationWithoutNotificationTakesSeconds(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	held := pollAsync(t.Context(), a.temporal(t), a.queue(), "s")
	eventually(t, 5*time.Second, "the poll is held", func() bool { return fake.polls(a.queue()) == 1 })
	_, err := f.db.Pool.Exec(t.Context(), "UPDATE host_certificate SET revoked_at = now() WHERE host_id = $1", a.id)
	require.NoError(t, err)
	begin := time.Now()
	require.Equal(t, codes.Unauthenticated, codeOf(await(t, held).err))
	require.Less(t, time.Since(begin), 5*time.Second)
}

func TestTaskTokensBelongToTheirHost(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a, b := f.enroll(t, "a"), f.enroll(t, "b")
	ca, cb := a.temporal(t), b.temporal(t)
	ctx := t.Context()
	polled := pollAsync(ctx, ca, a.queue(), "s")
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
	got := await(t, polled)
	require.NoError(t, got.err)
	token := got.resp.GetTaskToken()

	flipped := append([]byte(nil), token...)
	flipped[len(flipped)-1] ^= 1
	for name, bad := range map[string][]byte{"plain": []byte("token-1"), "empty": nil, "flipped": flipped, "short": token[:20]} {
		_, err := ca.RespondActivityTaskCompleted(ctx, &completedReq{TaskToken: bad})
		require.Equal(t, codes.PermissionDenied, codeOf(err), name)
	}
	_, err := cb.RespondActivityTaskCompleted(ctx, &completedReq{TaskToken: token})
	require.Equal(t, codes.PermissionDenied, codeOf(err), "another host's token")
	_, err = cb.RespondActivityTaskFailed(ctx, &failedReq{TaskToken: token})
	require.Equal(t, codes.PermissionDenied, codeOf(err))
	_, err = cb.RespondActivityTaskCanceled(ctx, &canceledReq{TaskToken: token})
	require.Equal(t, codes.PermissionDenied, codeOf(err))
	_, err = cb.RecordActivityTaskHeartbeat(ctx, &heartbeatReq{TaskToken: token})
	require.Equal(t, codes.PermissionDenied, codeOf(err))

	_, err = ca.RecordActivityTaskHeartbeat(ctx, &heartbeatReq{TaskToken: token, Namespace: "x"})
	require.NoError(t, err)
	_, err = ca.RespondActivityTaskCompleted(ctx, &completedReq{TaskToken: token, Namespace: "x"})
	require.NoError(t, err)
	require.Equal(t, "token-1", string(fake.completed[0].GetTaskToken()))
	require.Equal(t, "default", fake.completed[0].GetNamespace())
	require.Equal(t, "default", fake.beats[0].GetNamespace())
	eventually(t, 5*time.Second, "the forgery is audited", func() bool {
		return f.auditCount(t, "result = 'refused' AND target_id = $1 AND detail->>'reason' = 'forged task token'", b.id.String()) > 0
	})

	// A gateway of the same installation knows the token too.
	second := f.serve(t)
	other := workflowservice.NewWorkflowServiceClient(a.dial(t, second.addr))
	_, err = other.RespondActivityTaskCompleted(ctx, &completedReq{TaskToken: token})
	require.NoError(t, err)
}

func TestAgentsCertificateIsNoServers(t *testing.T) {
	t.Parallel()
	f := newRepository(t)
	key, csr := newCSR(t)
	cert, err := f.keys.Authority.SignAgent(csr, uuid.New(), pki.AgentLife)
	require.NoError(t, err)
	require.NotNil(t, key)
	_, err = cert.Verify(x509.VerifyOptions{
		Roots: f.keys.Authority.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	require.Error(t, err)
}
