package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/server/gateway/lostpoll"
	"github.com/pgdrover/pgdrover/workflows/op"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxPolls of one host at a time; an agent needs one or two.
	maxPolls = 32
	// remembered ended sessions and poll numbers of a host.
	remembered = 128
)

var (
	errSuperseded = status.Error(codes.FailedPrecondition, "a newer process of this agent has taken over")
	errRevoked    = status.Error(codes.Unauthenticated, "the certificate is revoked")
	errStopping   = status.Error(codes.Unavailable, "the gateway is stopping")
	errLostPoll   = status.Error(codes.Canceled, "the poll was given up")
)

// task is an activity task that Temporal gave to one of our polls.
type task struct {
	resp *pollResp
	// raw is Temporal's own token, resp holds the sealed one.
	raw    []byte
	ref    taskRef
	step   *op.StepRef
	caught time.Time
	// session, poll and holder say to whom it was handed.
	session string
	poll    uint64
	holder  *waiter
}

// limit is how long after it was caught the task is certainly still ours: past it Temporal may have given the step to
// another attempt, and handing this one out would run both.
func (t *task) limit() time.Duration {
	limit := t.resp.GetStartToCloseTimeout().AsDuration()
	if hb := t.resp.GetHeartbeatTimeout().AsDuration(); hb > 0 && (limit <= 0 || hb < limit) {
		limit = hb
	}
	if limit <= 0 {
		return time.Hour
	}
	return limit * 3 / 4
}

// life is when Temporal has given the task up for sure.
func (t *task) life() time.Duration {
	if d := t.resp.GetStartToCloseTimeout().AsDuration(); d > 0 {
		return d
	}
	return 24 * time.Hour
}

// delivery is the end of a waiter: a task, an empty answer or an error.
type delivery struct {
	task  *task
	empty *pollResp
	err   error
}

// waiter is a poll of an agent that is being held.
type waiter struct {
	serial  string
	session string
	poll    uint64
	// worker is the SDK's key of the polling worker: a worker that shuts down gets its polls answered.
	worker string
	ch     chan delivery
	taken  bool
}

// upstreamPoll is a poll we hold at Temporal. It belongs to the host and not to a waiter.
type upstreamPoll struct {
	key     string
	ctx     context.Context //nolint:containedctx // it must exist before the call does, so that the poll can be dropped
	cancel  context.CancelFunc
	done    chan struct{}
	dropped bool
}

// hostState is what one gateway knows of one host's agent. Polls of the agent (waiters) and polls at Temporal are two
// pools: a waiter that goes away leaves its poll parked, and whatever that catches goes to the next waiter.
type hostState struct {
	id  uuid.UUID
	all *hosts

	mu      sync.Mutex
	session string
	retired []string
	// served are polls of this session that were held here, lost those the agent had no answer to.
	served lostpoll.Ranges
	lost   lostpoll.Ranges
	// tell are lost polls that other gateways may know of.
	tell      lostpoll.Ranges
	waiters   []*waiter
	polls     map[*upstreamPoll]struct{}
	ready     []*task
	handed    map[string]*task
	idleSince time.Time
	closed    bool
	// operations whose steps were handed to the host lately.
	operations map[string]time.Time
	presence   presenceState
}

type hosts struct {
	mu        sync.Mutex
	byID      map[uuid.UUID]*hostState
	awayAfter time.Duration
	// background is the life of polls at Temporal; Serve sets it.
	background context.Context //nolint:containedctx // longer than any call
}

func newHosts(awayAfter time.Duration) *hosts {
	return &hosts{byID: map[uuid.UUID]*hostState{}, awayAfter: awayAfter}
}

// get never forgets a host: there are as many as have ever been connected here.
func (hs *hosts) get(id uuid.UUID) *hostState {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h, ok := hs.byID[id]
	if !ok {
		h = &hostState{
			id: id, all: hs, polls: map[*upstreamPoll]struct{}{}, handed: map[string]*task{},
			operations: map[string]time.Time{},
		}
		hs.byID[id] = h
	}
	return h
}

func (hs *hosts) find(id uuid.UUID) *hostState {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.byID[id]
}

func (hs *hosts) all() []*hostState {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	list := make([]*hostState, 0, len(hs.byID))
	for _, h := range hs.byID {
		list = append(list, h)
	}
	return list
}

// entered says what the caller has to do after enter.
type entered struct {
	// orphans were handed to a process that is gone: to be failed at Temporal.
	orphans []*task
	// start is a poll to begin at Temporal.
	start *upstreamPoll
	// announce the session to the other gateways.
	announce bool
}

// enter admits a poll of the agent: it gets a task that is ready, or waits.
func (h *hostState) enter(w *waiter, lost lostpoll.Ranges, now time.Time) (entered, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out entered
	if h.closed {
		return out, errStopping
	}
	if slices.Contains(h.retired, w.session) {
		return out, errSuperseded
	}
	h.idleSince = time.Time{}
	if h.session != w.session {
		out.announce = true
		out.orphans = h.takeOver(w.session)
	}
	for _, t := range h.giveUp(w.session, lost, now) {
		h.offer(t, now)
	}
	h.noteLost(lost)
	if w.poll != 0 && h.lost.Contains(w.poll) {
		return out, errLostPoll
	}
	if len(h.waiters) >= maxPolls {
		return out, status.Error(codes.ResourceExhausted, "too many polls at a time")
	}
	if w.poll != 0 {
		h.served = h.served.Add(lostpoll.Range{From: w.poll, To: w.poll})
	}
	h.idleSince = time.Time{}
	if t := h.nextReady(now); t != nil {
		h.hand(w, t, now)
		return out, nil
	}
	h.waiters = append(h.waiters, w)
	if len(h.polls) < len(h.waiters) {
		out.start = h.newPoll()
	}
	return out, nil
}

func (h *hostState) newPoll() *upstreamPoll {
	p := &upstreamPoll{key: uuid.NewString(), done: make(chan struct{})}
	p.ctx, p.cancel = context.WithTimeout(h.all.background, upstreamPollTime)
	h.polls[p] = struct{}{}
	return p
}

// takeOver makes session the living one. What the one before had not answered yet died with it.
func (h *hostState) takeOver(session string) []*task {
	if h.session != "" {
		h.retired = remember(h.retired, h.session)
	}
	h.session = session
	h.served, h.lost, h.tell = nil, nil, nil
	var orphans []*task
	for token, t := range h.handed {
		if t.session != session {
			orphans = append(orphans, t)
			delete(h.handed, token)
		}
	}
	for _, w := range slices.Clone(h.waiters) {
		if w.session != session {
			h.end(w, delivery{err: errSuperseded}, time.Time{})
		}
	}
	return orphans
}

// giveUp takes back the tasks of polls whose answer never reached the agent.
func (h *hostState) giveUp(session string, lost lostpoll.Ranges, now time.Time) (found []*task) {
	if len(lost) == 0 {
		return nil
	}
	for _, w := range slices.Clone(h.waiters) {
		if w.session == session && lost.Contains(w.poll) {
			h.end(w, delivery{err: errLostPoll}, now)
		}
	}
	for token, t := range h.handed {
		if t.session != session || !lost.Contains(t.poll) {
			continue
		}
		delete(h.handed, token)
		if now.Sub(t.caught) < t.limit() {
			metricRehanded.Inc()
			found = append(found, t)
		}
	}
	return found
}

// noteLost remembers lost polls: one may still arrive, and one that was never here may have been at another gateway.
func (h *hostState) noteLost(lost lostpoll.Ranges) {
	for _, r := range lost {
		if h.lost.Covers(r) {
			continue
		}
		h.lost = h.lost.Add(r)
		if !h.served.Covers(r) {
			h.tell = h.tell.Add(r)
		}
	}
}

// toTell takes what other gateways should hear of.
func (h *hostState) toTell() (session string, lost lostpoll.Ranges) {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost, h.tell = h.tell, nil
	return h.session, lost
}

// leave takes a waiter out whose agent went away. A task that reached it at the same moment goes to the next one.
// What cannot be kept is returned, to be failed.
func (h *hostState) leave(w *waiter, now time.Time) *task {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !w.taken {
		h.remove(w, now)
		return nil
	}
	select {
	case d := <-w.ch:
		return h.takeBack(w, d.task, now)
	default:
		return nil
	}
}

// giveBack is leave for a waiter that has read its delivery but cannot answer any more.
func (h *hostState) giveBack(w *waiter, t *task, now time.Time) *task {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.takeBack(w, t, now)
}

func (h *hostState) takeBack(w *waiter, t *task, now time.Time) *task {
	if t == nil {
		return nil
	}
	if _, out := h.handed[string(t.raw)]; !out || t.holder != w {
		// It was given up by the agent itself, orphaned or handed to another already.
		return nil
	}
	delete(h.handed, string(t.raw))
	return h.offer(t, now)
}

// offer gives a task to the longest waiter, or keeps it for the next. It is returned where nobody may come any more.
func (h *hostState) offer(t *task, now time.Time) *task {
	if len(h.waiters) > 0 {
		h.hand(h.waiters[0], t, now)
		return nil
	}
	if h.closed || h.away(now) {
		return t
	}
	h.ready = append(h.ready, t)
	return nil
}

func (h *hostState) nextReady(now time.Time) *task {
	for len(h.ready) > 0 {
		t := h.ready[0]
		h.ready = h.ready[1:]
		if now.Sub(t.caught) < t.limit() {
			return t
		}
	}
	return nil
}

func (h *hostState) hand(w *waiter, t *task, now time.Time) {
	t.session, t.poll, t.holder = w.session, w.poll, w
	h.handed[string(t.raw)] = t
	if t.ref.Operation != "" {
		h.operations[t.ref.Operation] = now
	}
	h.end(w, delivery{task: t}, now)
}

func (h *hostState) end(w *waiter, d delivery, now time.Time) {
	h.remove(w, now)
	w.taken = true
	w.ch <- d
}

func (h *hostState) remove(w *waiter, now time.Time) {
	if i := slices.Index(h.waiters, w); i >= 0 {
		h.waiters = slices.Delete(h.waiters, i, i+1)
	}
	if len(h.waiters) == 0 {
		h.idleSince = now
	}
}

// away tells that the agent has not polled for long enough that its tasks should not wait for it.
func (h *hostState) away(now time.Time) bool {
	return len(h.waiters) == 0 && !h.idleSince.IsZero() && now.Sub(h.idleSince) > h.all.awayAfter
}

// elsewhere hears from another gateway that the agent polls there: what it does not know of is returned, to be failed.
func (h *hostState) elsewhere(session string, lost lostpoll.Ranges, now time.Time) []*task {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == "" || slices.Contains(h.retired, session) {
		return nil
	}
	var orphans []*task
	if h.session != session {
		orphans = h.takeOver(session)
	}
	orphans = append(orphans, h.giveUp(session, lost, now)...)
	if len(h.waiters) == 0 && h.idleSince.IsZero() {
		h.idleSince = now
	}
	return orphans
}

// finished takes the answer of a poll at Temporal. A task that nobody can take is returned, to be failed.
func (h *hostState) finished(p *upstreamPoll, t *task, empty *pollResp, err error, now time.Time) *task {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.polls, p)
	if t != nil {
		return h.offer(t, now)
	}
	if !p.dropped && len(h.waiters) > len(h.polls) {
		h.end(h.waiters[0], delivery{empty: empty, err: err}, now)
	}
	return nil
}

// answered forgets a task that has its answer.
func (h *hostState) answered(raw []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.handed, string(raw))
}

// tick drops what was kept for an agent that stays away: polls to end and tasks to fail.
func (h *hostState) tick(now time.Time) (drop []*upstreamPoll, fail []*task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for token, t := range h.handed {
		if now.Sub(t.caught) > t.life() {
			delete(h.handed, token)
		}
	}
	for id, at := range h.operations {
		if now.Sub(at) > 25*time.Hour {
			delete(h.operations, id)
		}
	}
	if !h.away(now) {
		return nil, nil
	}
	return h.dropAll()
}

func (h *hostState) dropAll() (drop []*upstreamPoll, fail []*task) {
	for p := range h.polls {
		p.dropped = true
		drop = append(drop, p)
		delete(h.polls, p)
	}
	fail, h.ready = h.ready, nil
	return drop, fail
}

// cut is dropAll for a host that lost its right to be here.
func (h *hostState) cut() (drop []*upstreamPoll, fail []*task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropAll()
}

// close ends all for good, when the gateway stops: waiters stay until their polls have ended.
func (h *hostState) close() (drop []*upstreamPoll, fail []*task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return h.dropAll()
}

// dismiss ends the waiters that match.
func (h *hostState) dismiss(match func(*waiter) bool, d delivery, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range slices.Clone(h.waiters) {
		if match(w) {
			h.end(w, d, now)
		}
	}
}

// surplus takes out polls that no waiter is behind, after a worker has shut down.
func (h *hostState) surplus() (drop []*upstreamPoll) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.polls {
		if len(h.polls) <= len(h.waiters) {
			break
		}
		p.dropped = true
		drop = append(drop, p)
		delete(h.polls, p)
	}
	return drop
}

func remember[T any](list []T, v T) []T {
	if len(list) >= remembered {
		list = slices.Delete(list, 0, len(list)-remembered+1)
	}
	return append(list, v)
}
