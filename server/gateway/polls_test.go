package gateway

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/server/gateway/lostpoll"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestParkedPollHandsItsTaskToTheNextPoll(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)

	ctx, cut := context.WithCancel(t.Context())
	first := pollAsync(ctx, c, a.queue(), "s")
	eventually(t, 5*time.Second, "poll at Temporal", func() bool { return fake.polls(a.queue()) == 1 })
	cut()
	require.Equal(t, codes.Canceled, codeOf(await(t, first).err))
	h := f.hosts.get(a.id)
	eventually(t, 5*time.Second, "the gateway has noticed", func() bool { return h.waiting() == 0 })
	require.Equal(t, 1, fake.polls(a.queue()), "the poll at Temporal stays")

	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
	got := await(t, pollAsync(t.Context(), c, a.queue(), "s"))
	require.NoError(t, got.err)
	require.Equal(t, "token-1", stripSeal(got.resp.GetTaskToken()))
	require.Empty(t, fake.failures())
}

func (h *hostState) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiters)
}

func TestTaskOfAnAgentThatStaysAwayIsFailedAsRetryable(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake, func(c *Config) { c.timing.away = time.Second })
	a := f.enroll(t, "a")
	ctx, cut := context.WithCancel(t.Context())
	first := pollAsync(ctx, a.temporal(t), a.queue(), "s")
	eventually(t, 5*time.Second, "poll at Temporal", func() bool { return fake.polls(a.queue()) == 1 })
	cut()
	await(t, first)
	h := f.hosts.get(a.id)
	eventually(t, 5*time.Second, "the gateway has noticed", func() bool { return h.waiting() == 0 })
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
	eventually(t, 5*time.Second, "the task is failed", func() bool { return len(fake.failures()) == 1 })
	failure := fake.failures()[0]
	require.Equal(t, "token-1", string(failure.GetTaskToken()), "Temporal's own token")
	info := failure.GetFailure().GetApplicationFailureInfo()
	require.Equal(t, FailureAgentAway, info.GetType())
	require.False(t, info.GetNonRetryable())
	require.Equal(t, 100*time.Millisecond, info.GetNextRetryDelay().AsDuration())
}

func TestPollOfAnAgentThatStaysAwayIsDroppedWithoutCancelling(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake, func(c *Config) { c.timing.away = 150 * time.Millisecond })
	eventually(t, 5*time.Second, "Temporal's abilities are known", f.endsPolls.Load)
	a := f.enroll(t, "a")
	ctx, cut := context.WithCancel(t.Context())
	first := pollAsync(ctx, a.temporal(t), a.queue(), "s")
	eventually(t, 5*time.Second, "poll at Temporal", func() bool { return fake.polls(a.queue()) == 1 })
	cut()
	await(t, first)
	eventually(t, 5*time.Second, "poll at Temporal ends", func() bool { return fake.polls(a.queue()) == 0 })
	require.Zero(t, fake.canceled)
}

func TestRestartedAgentFailsWhatItsOldProcessHeld(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	for range 3 {
		polled := pollAsync(t.Context(), c, a.queue(), "old")
		fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
		require.NoError(t, await(t, polled).err)
	}
	answered := pollAsync(t.Context(), c, a.queue(), "old")
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "answered"))
	got := await(t, answered)
	_, err := c.RespondActivityTaskCompleted(t.Context(), &completedReq{TaskToken: got.resp.GetTaskToken()})
	require.NoError(t, err)

	begin := time.Now()
	next := pollAsync(t.Context(), c, a.queue(), "new")
	eventually(t, 5*time.Second, "the old tasks are failed", func() bool { return len(fake.failures()) == 3 })
	require.Less(t, time.Since(begin), time.Second)
	for _, fl := range fake.failures() {
		require.Equal(t, FailureAgentRestarted, fl.GetFailure().GetApplicationFailureInfo().GetType())
		require.False(t, fl.GetFailure().GetApplicationFailureInfo().GetNonRetryable())
		require.NotEqual(t, "token-4", string(fl.GetTaskToken()), "an answered task is left alone")
	}
	_, err = c.PollActivityTaskQueue(t.Context(), pollRequest(a.queue(), "old"))
	require.Equal(t, codes.FailedPrecondition, codeOf(err), "a process that was replaced does not come back")
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
	require.NoError(t, await(t, next).err)
}

func numbered(ctx context.Context, number, lost string) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, lostpoll.MetadataPoll, number)
	if lost != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, lostpoll.MetadataLost, lost)
	}
	return ctx
}

func TestTaskWhoseAnswerWasLostIsHandedOutAgain(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	polled := pollAsync(numbered(t.Context(), "1", ""), c, a.queue(), "s")
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
	first := await(t, polled)
	require.NoError(t, first.err)

	again := await(t, pollAsync(numbered(t.Context(), "2", "1"), c, a.queue(), "s"))
	require.NoError(t, again.err)
	require.Equal(t, first.resp.GetTaskToken(), again.resp.GetTaskToken())
	require.Empty(t, fake.failures())

	// Told once more, nothing happens: the task is the second poll's now.
	held := pollAsync(numbered(t.Context(), "3", "1"), c, a.queue(), "s")
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "y"))
	require.Equal(t, "token-2", stripSeal(await(t, held).resp.GetTaskToken()))
	_, err := c.PollActivityTaskQueue(numbered(t.Context(), "1", ""), pollRequest(a.queue(), "s"))
	require.Equal(t, codes.Canceled, codeOf(err), "a poll that was given up before it arrived")
}

func TestLostTaskThatMayHaveRunOutOfTimeIsNotHandedOutAgain(t *testing.T) {
	t.Parallel()
	h := newHosts(time.Second).get(uuid.New())
	now := time.Now()
	old := &task{raw: []byte("x"), caught: now.Add(-16 * time.Second), session: "s", poll: 1, resp: &pollResp{
		StartToCloseTimeout: durationpb.New(24 * time.Hour), HeartbeatTimeout: durationpb.New(20 * time.Second),
	}}
	h.session = "s"
	h.handed["x"] = old
	require.Empty(t, h.giveUp("s", lostpoll.Ranges{{From: 1, To: 1}}, now))
	require.Empty(t, h.handed)
}

// An agent on a bad link cuts its poll again and again. Every task must arrive, and arrive once.
func TestAgentThatCutsItsPollsLosesNoTask(t *testing.T) {
	t.Parallel()
	const tasks = 300
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t, grpc.WithUnaryInterceptor(lostpoll.ClientInterceptor()))
	given := make(chan struct{})
	go func() {
		defer close(given)
		for range tasks {
			fake.queue(a.queue()) <- fake.task(t, uuid.Nil, "x")
		}
	}()
	seen := map[string]int{}
	cuts := 0
	for len(seen) < tasks {
		require.NoError(t, t.Context().Err())
		patience := time.Duration(rand.IntN(900)) * time.Microsecond
		if cuts%10 == 9 {
			patience = 5 * time.Second // on a slow machine none would ever arrive
			cuts++
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if rand.IntN(2) == 0 {
			// A cut without the deadline that the gateway would see coming.
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(patience, cancel)
		}
		resp, err := c.PollActivityTaskQueue(ctx, pollRequest(a.queue(), "s"))
		cancel()
		if err != nil {
			cuts++
			continue
		}
		if len(resp.GetTaskToken()) > 0 {
			seen[stripSeal(resp.GetTaskToken())]++
		}
	}
	await(t, given)
	for token, n := range seen {
		require.Equal(t, 1, n, token)
	}
	require.Empty(t, fake.failures())
	t.Logf("%d tasks, %d cut polls", tasks, cuts)
}

func TestAgentMovesToAnotherGateway(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	second := f.serve(t)
	a := f.enroll(t, "a")
	c1 := a.temporal(t)
	c2 := workflowservice.NewWorkflowServiceClient(a.dial(t, second.addr))

	polled := pollAsync(numbered(t.Context(), "1", ""), c1, a.queue(), "s")
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "kept"))
	require.NoError(t, await(t, polled).err)
	polled = pollAsync(numbered(t.Context(), "2", ""), c1, a.queue(), "s")
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "lost"))
	require.NoError(t, await(t, polled).err)

	// The same process, now at the second gateway, never got the answer of poll 2.
	ctx, cancel := context.WithCancel(t.Context())
	held := pollAsync(numbered(ctx, "3", "2"), c2, a.queue(), "s")
	eventually(t, 5*time.Second, "the first gateway fails the lost task", func() bool { return len(fake.failures()) == 1 })
	require.Equal(t, "token-2", string(fake.failures()[0].GetTaskToken()))
	cancel()
	await(t, held)

	// A new process at the second gateway: the first one fails the rest.
	held = pollAsync(numbered(t.Context(), "1", ""), c2, a.queue(), "restarted")
	eventually(t, 5*time.Second, "the first gateway fails the rest", func() bool { return len(fake.failures()) == 2 })
	require.Equal(t, "token-1", string(fake.failures()[1].GetTaskToken()))
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
	require.NoError(t, await(t, held).err)
}

func TestWorkerThatShutsDownGetsItsPollsAnswered(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	eventually(t, 5*time.Second, "Temporal's abilities are known", f.endsPolls.Load)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	held := pollAsync(t.Context(), c, a.queue(), "s")
	eventually(t, 5*time.Second, "poll at Temporal", func() bool { return fake.polls(a.queue()) == 1 })
	_, err := c.ShutdownWorker(t.Context(), &shutdownReq{TaskQueue: a.queue(), WorkerInstanceKey: "worker-s"})
	require.NoError(t, err)
	got := await(t, held)
	require.NoError(t, got.err)
	require.Empty(t, got.resp.GetTaskToken())
	eventually(t, 5*time.Second, "poll at Temporal ends", func() bool { return fake.polls(a.queue()) == 0 })
}

func TestStoppingGatewayLosesNoTask(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	eventually(t, 5*time.Second, "Temporal's abilities are known", f.endsPolls.Load)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	held := pollAsync(t.Context(), c, a.queue(), "s")
	eventually(t, 5*time.Second, "poll at Temporal", func() bool { return fake.polls(a.queue()) == 1 })
	f.stop()
	require.Equal(t, codes.Unavailable, codeOf(await(t, held).err))
	require.Zero(t, fake.canceled, "the poll was ended by Temporal, not cut")
}

func TestTooManyPollsAreRefused(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	a := f.enroll(t, "a")
	c := a.temporal(t)
	for i := range maxPolls {
		pollAsync(t.Context(), c, a.queue(), "s")
		eventually(t, 5*time.Second, strconv.Itoa(i), func() bool { return fake.polls(a.queue()) == i+1 })
	}
	_, err := c.PollActivityTaskQueue(t.Context(), pollRequest(a.queue(), "s"))
	require.Equal(t, codes.ResourceExhausted, codeOf(err))
}
