package gateway

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
)

// The states of a step's row.
const (
	stepCompleted = "completed"
	stepFailed    = "failed"
	stepCanceled  = "canceled"
	stepRetrying  = "retrying"
)

const (
	// maxStepEvents wait for the repository; heartbeats are left out first, at half of it.
	maxStepEvents = 20000
	// progressEvery step at most.
	progressEvery = 500 * time.Millisecond
	maxStepText   = 4000
)

type stepKind int

const (
	stepEventStarted stepKind = iota
	stepEventProgress
	stepEventEnded
)

// stepEvent is something seen of a step, in the order it was seen.
type stepEvent struct {
	kind      stepKind
	operation uuid.UUID
	step      string
	attempt   int32
	at        time.Time
	// of a start
	host  uuid.UUID
	seq   int32
	verb  string
	title string
	undo  bool
	// of progress and end
	progress json.RawMessage
	state    string
	failure  json.RawMessage
}

func (e stepEvent) key() stepKey { return stepKey{e.operation, e.step} }

type stepKey struct {
	operation uuid.UUID
	step      string
}

// stepQueue takes what is seen of steps without ever making an agent wait; stepWriter empties it.
type stepQueue struct {
	now   func() time.Time
	wake  chan struct{}
	limit int

	mu     sync.Mutex
	events []stepEvent
	// shown is when progress of a step was last let through; late is the newest since.
	shown map[stepKey]time.Time
	late  map[stepKey]stepEvent
}

func newStepQueue() *stepQueue {
	return &stepQueue{
		now: time.Now, wake: make(chan struct{}, 1), limit: maxStepEvents,
		shown: map[stepKey]time.Time{}, late: map[stepKey]stepEvent{},
	}
}

// started is called when a task is handed to an agent.
func (s *stepQueue) started(hostID uuid.UUID, t *task) {
	metricHanded.Inc()
	if t.step == nil {
		return
	}
	operation, err := uuid.Parse(t.step.Operation)
	if err != nil {
		return
	}
	s.add(stepEvent{
		kind: stepEventStarted, operation: operation, step: clean(t.step.Step), attempt: t.ref.Attempt, at: s.now(), host: hostID,
		seq: int32(t.step.Seq), verb: clean(t.step.Verb), title: clean(t.step.Title), undo: t.step.Undo,
	})
}

func (s *stepQueue) progress(ref taskRef, details *commonpb.Payloads) {
	operation, err := uuid.Parse(ref.Operation)
	if err != nil || len(details.GetPayloads()) == 0 {
		return
	}
	var p host.Progress
	if err := converter.GetDefaultDataConverter().FromPayloads(details, &p); err != nil {
		return
	}
	p.Note, p.Unit = clean(p.Note), clean(p.Unit)
	raw, err := json.Marshal(p)
	if err != nil {
		return
	}
	s.add(stepEvent{
		kind: stepEventProgress, operation: operation, step: clean(ref.Step), attempt: ref.Attempt, at: s.now(), progress: raw,
	})
}

func (s *stepQueue) ended(ref taskRef, state string, failure *op.Failure) {
	operation, err := uuid.Parse(ref.Operation)
	if err != nil {
		return
	}
	e := stepEvent{
		kind: stepEventEnded, operation: operation, step: clean(ref.Step), attempt: ref.Attempt, at: s.now(), state: state,
	}
	if failure != nil {
		failure.Code, failure.Message, failure.Hint = clean(failure.Code), clean(failure.Message), clean(failure.Hint)
		if e.failure, err = json.Marshal(failure); err != nil {
			return
		}
	}
	s.add(e)
}

func (s *stepQueue) add(e stepEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.kind == stepEventProgress && !s.letThrough(e) {
		return
	}
	if e.kind == stepEventEnded {
		delete(s.late, e.key())
		delete(s.shown, e.key())
	}
	if len(s.events) >= s.limit {
		s.shed()
	}
	s.events = append(s.events, e)
	s.signal()
}

// letThrough holds progress back that comes too soon, keeping the newest, or that there is no room for.
func (s *stepQueue) letThrough(e stepEvent) bool {
	if len(s.events) >= s.limit/2 {
		metricStepLoss.Inc()
		return false
	}
	if e.at.Sub(s.shown[e.key()]) < progressEvery {
		s.late[e.key()] = e
		return false
	}
	if len(s.shown) >= s.limit {
		clear(s.shown)
	}
	s.shown[e.key()] = e.at
	delete(s.late, e.key())
	return true
}

// shed makes room in a full queue: progress goes first, then the oldest. The digest at the operation's end mends gaps.
func (s *stepQueue) shed() {
	before := len(s.events)
	kept := s.events[:0]
	for _, e := range s.events {
		if e.kind != stepEventProgress {
			kept = append(kept, e)
		}
	}
	s.events = kept
	if len(s.events) >= s.limit {
		s.events = append(s.events[:0], s.events[s.limit/10:]...)
	}
	metricStepLoss.Add(before - len(s.events))
}

func (s *stepQueue) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns the next events in order, with progress that has waited long enough at the end.
func (s *stepQueue) take(most int) []stepEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for key, e := range s.late {
		if now.Sub(s.shown[key]) >= progressEvery {
			s.shown[key] = now
			s.events = append(s.events, e)
			delete(s.late, key)
		}
	}
	n := min(most, len(s.events))
	batch := append([]stepEvent(nil), s.events[:n]...)
	s.events = append(s.events[:0], s.events[n:]...)
	if len(s.events) > 0 {
		s.signal()
	}
	return batch
}

// putBack returns a batch that could not be written to the front.
func (s *stepQueue) putBack(batch []stepEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(append([]stepEvent(nil), batch...), s.events...)
	if len(s.events) > s.limit {
		s.shed()
	}
}

func retryState(ref taskRef) string {
	if ref.Last {
		return stepFailed
	}
	return stepRetrying
}

// failedAs reads an agent's failure as people will see it.
func failedAs(ref taskRef, f *failurepb.Failure) (string, *op.Failure) {
	out := &op.Failure{Code: op.CodeInternal, Message: f.GetMessage()}
	if f.GetCanceledFailureInfo() != nil {
		return stepCanceled, nil
	}
	app := f.GetApplicationFailureInfo()
	if app == nil {
		return retryState(ref), out
	}
	if app.GetType() != "" {
		out.Code = app.GetType()
	}
	var detail op.Failure
	if err := converter.GetDefaultDataConverter().FromPayloads(app.GetDetails(), &detail); err == nil && detail.Message != "" {
		*out = detail
	}
	if app.GetNonRetryable() {
		return stepFailed, out
	}
	return retryState(ref), out
}

// clean makes a text from a host fit for the repository.
func clean(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
	if len(s) > maxStepText {
		s = strings.ToValidUTF8(s[:maxStepText], "")
	}
	return s
}
