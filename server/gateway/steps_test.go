package gateway

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
)

func payloads(t *testing.T, v any) *commonpb.Payloads {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayloads(v)
	require.NoError(t, err)
	return p
}

func (f *fixture) step(t *testing.T, operation uuid.UUID, step string) gen.ListStepsRow {
	t.Helper()
	rows, err := f.db.ListSteps(t.Context(), operation)
	require.NoError(t, err)
	for _, r := range rows {
		if r.Step == step {
			return r
		}
	}
	return gen.ListStepsRow{}
}

func (f *fixture) awaitStep(t *testing.T, operation uuid.UUID, step, state string) gen.ListStepsRow {
	t.Helper()
	eventually(t, 5*time.Second, "step "+step+" is "+state, func() bool { return f.step(t, operation, step).State == state })
	return f.step(t, operation, step)
}

// take polls for a task and gives it.
func take(t *testing.T, fake *fakeTemporal, c workflowservice.WorkflowServiceClient, a *agent, task *pollResp) []byte {
	t.Helper()
	polled := pollAsync(t.Context(), c, a.queue(), "s")
	fake.give(t, a.queue(), task)
	got := await(t, polled)
	require.NoError(t, got.err)
	return got.resp.GetTaskToken()
}

func TestStepIsSeenFromBeginToEnd(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	o := f.operation(t, &a.id)
	events := f.events(t)
	token := take(t, fake, c, a, fake.task(t, o, "01-command-run"))
	row := f.awaitStep(t, o, "01-command-run", "running")
	require.Equal(t, "Do 01-command-run", row.Title)
	require.Equal(t, "command-run", row.Verb)
	require.Equal(t, a.id, *row.HostID)
	require.EqualValues(t, 1, row.Attempt)
	require.NotNil(t, row.StartedAt)
	e := events.next(t, "step")
	require.Equal(t, "01-command-run", e.ID)
	require.Equal(t, o.String(), e.Parent)

	// Many heartbeats, few writes, the last one wins.
	for i := range 50 {
		_, err := c.RecordActivityTaskHeartbeat(t.Context(), &heartbeatReq{
			TaskToken: token, Details: payloads(t, host.Progress{Done: int64(i), Total: 49, Unit: "files", Note: "a\x00b"}),
		})
		require.NoError(t, err)
	}
	eventually(t, 5*time.Second, "progress", func() bool {
		var p host.Progress
		return json.Unmarshal(f.step(t, o, "01-command-run").Progress, &p) == nil && p.Done == 49 && p.Note == "ab"
	})
	_, err := c.RespondActivityTaskCompleted(t.Context(), &completedReq{TaskToken: token})
	require.NoError(t, err)
	row = f.awaitStep(t, o, "01-command-run", "completed")
	require.NotNil(t, row.EndedAt)
	require.Equal(t, "seen", row.Source)
	require.Less(t, events.count("step"), 10)
}

func TestStepThatFails(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	o := f.operation(t, &a.id)
	fail := func(token []byte, info *failurepb.ApplicationFailureInfo) {
		t.Helper()
		_, err := c.RespondActivityTaskFailed(t.Context(), &failedReq{
			TaskToken: token, Failure: &failurepb.Failure{
				Message: "plain message", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: info},
			},
		})
		require.NoError(t, err)
	}
	failure := func(step string) op.Failure {
		var v op.Failure
		require.NoError(t, json.Unmarshal(f.step(t, o, step).Failure, &v))
		return v
	}
	fail(take(t, fake, c, a, fake.task(t, o, "s1")), &failurepb.ApplicationFailureInfo{Type: "disk-full"})
	f.awaitStep(t, o, "s1", "retrying")
	require.Equal(t, op.Failure{Code: "disk-full", Message: "plain message"}, failure("s1"))
	require.Nil(t, f.step(t, o, "s1").EndedAt)

	// The next attempt runs, and fails for good.
	second := fake.task(t, o, "s1")
	second.Attempt = 2
	token := take(t, fake, c, a, second)
	row := f.awaitStep(t, o, "s1", "running")
	require.EqualValues(t, 2, row.Attempt)
	require.Nil(t, row.Failure)
	fail(token, &failurepb.ApplicationFailureInfo{
		Type: "x", NonRetryable: true,
		Details: payloads(t, op.Failure{Code: "port-in-use", Message: "Port 5432 is in use.", Hint: "Take another."}),
	})
	f.awaitStep(t, o, "s1", "failed")
	require.Equal(t, op.Failure{Code: "port-in-use", Message: "Port 5432 is in use.", Hint: "Take another."}, failure("s1"))

	token = take(t, fake, c, a, fake.task(t, o, "s2"))
	_, err := c.RespondActivityTaskFailed(t.Context(), &failedReq{TaskToken: token, Failure: &failurepb.Failure{
		FailureInfo: &failurepb.Failure_CanceledFailureInfo{CanceledFailureInfo: &failurepb.CanceledFailureInfo{}},
	}})
	require.NoError(t, err)
	f.awaitStep(t, o, "s2", "canceled")
}

func TestStepOfARestartedAgentIsRetrying(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	o := f.operation(t, &a.id)
	take(t, fake, c, a, fake.task(t, o, "s"))
	f.awaitStep(t, o, "s", "running")
	pollAsync(t.Context(), c, a.queue(), "restarted")
	row := f.awaitStep(t, o, "s", "retrying")
	require.Contains(t, string(row.Failure), FailureAgentRestarted)
}

func TestRowsOfTheDigestAreLeftAlone(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	o := f.operation(t, &a.id)
	token := take(t, fake, c, a, fake.task(t, o, "s"))
	f.awaitStep(t, o, "s", "running")
	require.NoError(t, f.db.DigestStep(t.Context(), gen.DigestStepParams{
		OperationID: o, Step: "s", Seq: 1, Verb: "v", Title: "t", State: "failed",
	}))
	require.Equal(t, "digest", f.step(t, o, "s").Source)
	_, err := c.RespondActivityTaskCompleted(t.Context(), &completedReq{TaskToken: token})
	require.NoError(t, err)
	f.finish(t, o, "0 s")
	take(t, fake, c, a, fake.task(t, o, "late"))
	// Another operation's step, seen later, proves that the earlier ones were dealt with.
	o2 := f.operation(t, &a.id)
	take(t, fake, c, a, fake.task(t, o2, "after"))
	f.awaitStep(t, o2, "after", "running")
	require.Equal(t, "failed", f.step(t, o, "s").State)
	require.Empty(t, f.step(t, o, "late").Step, "a finished operation gets no new step")
}

func TestOutputOfAStepWhoseRowIsNotWrittenYet(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	o := f.operation(t, nil)
	chunk := host.OutputChunk{Operation: o.String(), Step: "s", Run: 1, Data: []byte("x")}
	status, _ := post(t, a.http, f.addr, host.PathOutput, chunk, nil)
	require.Equal(t, 403, status)
	take(t, fake, a.temporal(t), a, fake.task(t, o, "s"))
	status, _ = post(t, a.http, f.addr, host.PathOutput, chunk, nil)
	require.Equal(t, 204, status)
}

func TestStepsWaitForTheRepository(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	o := f.operation(t, &a.id)
	_, err := c.GetSystemInfo(t.Context(), &systemInfoReq{})
	require.NoError(t, err)
	lock, err := f.db.Pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), "LOCK TABLE operation_step IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	begin := time.Now()
	token := take(t, fake, c, a, fake.task(t, o, "s"))
	_, err = c.RespondActivityTaskCompleted(t.Context(), &completedReq{TaskToken: token})
	require.NoError(t, err)
	require.Less(t, time.Since(begin), 2*time.Second, "no agent waits for the repository")
	require.NoError(t, lock.Rollback(t.Context()))
	f.awaitStep(t, o, "s", "completed")
}

func TestQueueOfStepsIsBounded(t *testing.T) {
	t.Parallel()
	q := newStepQueue()
	q.limit = 100
	o := uuid.New()
	ref := func(i int) taskRef { return taskRef{Operation: o.String(), Step: uuid.NewString(), Attempt: int32(i)} }
	for i := range 1000 {
		q.progress(ref(i), payloads(t, host.Progress{Done: 1}))
	}
	require.LessOrEqual(t, len(q.events), 50, "heartbeats take half of the room at most")
	for i := range 100 {
		q.ended(ref(i), stepCompleted, nil)
	}
	require.LessOrEqual(t, len(q.events), 100)
	for _, e := range q.events {
		require.Equal(t, stepEventEnded, e.kind, "heartbeats go first")
	}
	for i := range 500 {
		q.ended(ref(i), stepCompleted, nil)
	}
	require.LessOrEqual(t, len(q.events), 100)
	last := q.events[len(q.events)-1]
	require.EqualValues(t, 499, last.attempt, "the newest are kept")
	batch := q.take(10)
	require.Len(t, batch, 10)
	q.putBack(batch)
	require.Equal(t, batch, q.take(10))
}

func TestProgressIsThrottledAndTheNewestKept(t *testing.T) {
	t.Parallel()
	q := newStepQueue()
	now := time.Now()
	q.now = func() time.Time { return now }
	ref := taskRef{Operation: uuid.NewString(), Step: "s", Attempt: 1}
	for i := range 5 {
		q.progress(ref, payloads(t, host.Progress{Done: int64(i)}))
	}
	first := q.take(10)
	require.Len(t, first, 1)
	require.JSONEq(t, `{"done":0}`, string(first[0].progress))
	require.Empty(t, q.take(10))
	now = now.Add(progressEvery)
	second := q.take(10)
	require.Len(t, second, 1)
	require.JSONEq(t, `{"done":4}`, string(second[0].progress))
	q.progress(ref, payloads(t, "no progress"))
	require.Empty(t, q.take(10))
}
