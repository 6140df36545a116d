package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/internal/apiclient"
	"github.com/stretchr/testify/require"
)

// play serves a recorded operation as it was at successive looks: each look at the operation is one scene.
type play struct {
	mu     sync.Mutex
	scene  int
	scenes []scene
	steps  []json.RawMessage
	op     map[string]json.RawMessage
	output string
	// events are written to the stream as they are given.
	events chan string
}

// scene is how far the operation was; a broken one answers with a failure.
type scene struct {
	steps   int
	running bool
	state   string
	broken  int
}

func (f *fake) play(t *testing.T, op, steps string, scenes ...scene) *play {
	t.Helper()
	p := &play{scenes: scenes, scene: -1, output: recorded(t, "output.json"), events: make(chan string, 10)}
	require.NoError(t, json.Unmarshal([]byte(recorded(t, op)), &p.op))
	var list struct{ Items []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(recorded(t, steps)), &list))
	p.steps = list.Items
	var id string
	require.NoError(t, json.Unmarshal(p.op["id"], &id))
	path := "/api/v1/operations/" + id
	f.mux.HandleFunc("GET "+path, p.operation)
	f.mux.HandleFunc("GET "+path+"/steps", p.stepsNow)
	f.mux.HandleFunc("GET "+path+"/output", p.outputNow)
	f.mux.HandleFunc("GET /api/v1/events", p.stream)
	return p
}

func (p *play) operation(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scene = min(p.scene+1, len(p.scenes)-1)
	s := p.scenes[p.scene]
	if s.broken != 0 {
		problemAnswer(w, s.broken, "repository-unavailable", "The repository database cannot be reached. Try again soon.")
		return
	}
	now := map[string]json.RawMessage{}
	maps.Copy(now, p.op)
	if s.state != "" {
		now["state"] = json.RawMessage(`"` + s.state + `"`)
		delete(now, "ended_at")
		delete(now, "failure")
	}
	b, _ := json.Marshal(now)
	jsonAnswer(w, http.StatusOK, string(b))
}

func (p *play) stepsNow(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.scenes[p.scene]
	steps := append([]json.RawMessage{}, p.steps[:s.steps]...)
	if s.running {
		var last map[string]any
		_ = json.Unmarshal(steps[s.steps-1], &last)
		last["state"] = "running"
		last["progress"] = map[string]any{"done": 50 * s.steps, "total": 1000, "unit": "bytes"}
		delete(last, "ended_at")
		steps[s.steps-1], _ = json.Marshal(last)
	}
	b, _ := json.Marshal(map[string]any{"items": steps, "total": len(steps)})
	jsonAnswer(w, http.StatusOK, string(b))
}

// outputNow answers as the manager does: chunks that begin at the offset or later.
func (p *play) outputNow(w http.ResponseWriter, r *http.Request) {
	var all struct {
		Chunks     []apiclient.OutputChunk `json:"chunks"`
		NextOffset int64                   `json:"next_offset"`
	}
	_ = json.Unmarshal([]byte(p.output), &all)
	var from int64
	_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &from)
	kept := []apiclient.OutputChunk{}
	for _, c := range all.Chunks {
		if c.Step == r.URL.Query().Get("step") && c.Offset >= from {
			kept = append(kept, c)
		}
	}
	next := all.NextOffset
	if len(kept) == 0 {
		next = from
	}
	b, _ := json.Marshal(map[string]any{"chunks": kept, "next_offset": next})
	jsonAnswer(w, http.StatusOK, string(b))
}

func (p *play) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", e)
			_ = rc.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func TestFollowInLines(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.play(t, "operation.json", "steps.json",
		scene{state: "accepted"}, scene{steps: 2, running: true, state: "running"}, scene{steps: 6, running: true, state: "running"},
		scene{steps: 7, state: "running"}, scene{steps: 10})
	require.Zero(t, s.run("operations", "follow", operationOfCreate), s.err.String())
	golden(t, "follow-lines.txt", s.err.String()+"---\n"+s.out.String())
}

func TestFollowSurvivesTheManagersRestart(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.play(t, "operation.json", "steps.json", scene{steps: 2, state: "running"}, scene{broken: 503}, scene{broken: 502},
		scene{broken: 503}, scene{steps: 10})
	require.Zero(t, s.run("operations", "follow", operationOfCreate), s.err.String())
	require.Equal(t, 1, strings.Count(s.err.String(), "the manager does not answer"))
	require.Equal(t, 1, strings.Count(s.err.String(), "the manager is back"))
	require.Equal(t, 1, strings.Count(s.err.String(), "Check that port 5533 is free"), "what was shown is not shown again")
}

func TestFollowWakesAtAnEvent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	s.Pace.Poll = time.Hour
	p := f.play(t, "operation.json", "steps.json", scene{steps: 2, state: "running"},
		scene{steps: 3, state: "running"}, scene{steps: 10})
	go func() {
		for range 3 {
			p.events <- `{"kind":"step","id":"x","parent":"` + operationOfCreate + `"}`
		}
	}()
	// The looks may swallow events that came close together; the stream's end begins a new one, which is an event too.
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case p.events <- `{"kind":"resync","id":""}`:
			case <-done:
				return
			}
		}
	}()
	require.Zero(t, s.run("operations", "follow", operationOfCreate), s.err.String())
}

func TestFollowOnATerminal(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	s.term.width = 60
	s.env["LANG"], s.env["NO_COLOR"] = "C", "1"
	f.play(t, "operation.json", "steps.json", scene{steps: 6, running: true, state: "running"}, scene{steps: 10})
	require.Zero(t, s.run("operations", "follow", operationOfCreate), s.err.String())
	text := s.err.String()
	require.Contains(t, text, "#######................. 300 B of 1000 B, 30%")
	require.Contains(t, text, "  + Record the state")
	require.Contains(t, text, "\x1b[2A\x1b[J", "moving lines are taken away")
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "  |") {
			require.LessOrEqual(t, len(line), 59)
		}
	}
}

func TestTheExitStatusIsTheOperations(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.play(t, "operation-failed.json", "steps-failed.json", scene{steps: 1, state: "running"}, scene{steps: 2})
	require.Equal(t, exitGeneral, s.run("operations", "follow", operationOfFailed))
	golden(t, "follow-failed.txt", s.err.String()+"---\n"+s.out.String())
	require.Equal(t, exitGeneral, s.run("operations", "follow", operationOfFailed, "-o", "json"))
	require.True(t, json.Valid(s.out.Bytes()))
}

func TestInterruptDetaches(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	f.play(t, "operation.json", "steps.json", scene{steps: 2, state: "running"})
	inner := s.Transport
	looks := 0
	s.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/steps") {
			if looks++; looks == 2 {
				cancel()
			}
		}
		return inner.RoundTrip(r)
	})
	require.Equal(t, exitInterrupted, s.Run(ctx, s.root(), []string{"operations", "follow", operationOfCreate}))
	require.Contains(t, s.err.String(), "pgdrover operations cancel "+operationOfCreate)
	require.Empty(t, f.seen("POST", "/api/v1/operations/"+operationOfCreate+"/cancel"))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestALostAnswerIsAskedForAgainWithTheSameKey(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.json("POST /api/v1/operations/instance-restart", http.StatusAccepted, recorded(t, "operation.json"))
	inner, lost := s.Transport, false
	s.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := inner.RoundTrip(r)
		if err == nil && r.Method == http.MethodPost && !lost {
			lost = true
			_ = resp.Body.Close()
			return nil, errors.New("read: connection reset by peer")
		}
		return resp, err
	})
	require.Zero(t, s.run("instances", "restart", "a", "--no-follow"), s.err.String())
	sent := f.seen("POST", "/api/v1/operations/instance-restart")
	require.Len(t, sent, 2)
	require.NotEmpty(t, sent[0].header.Get("Idempotency-Key"))
	require.Equal(t, sent[0].header.Get("Idempotency-Key"), sent[1].header.Get("Idempotency-Key"))
}

func TestRateAndTimeLeft(t *testing.T) {
	t.Parallel()
	begin := recordedAt
	at := func(done int64) apiclient.Step {
		return apiclient.Step{Progress: map[string]any{"done": done, "total": 100 << 20, "unit": "bytes"}}
	}
	o := &seen{}
	require.Equal(t, "0 B of 100 MB, 0%", o.measure(at(0), begin))
	require.Equal(t, "50.0 MB of 100 MB, 50%, 5.0 MB/s, about 10s left", o.measure(at(50<<20), begin.Add(10*time.Second)))
	percent := apiclient.Step{Progress: map[string]any{"done": 40, "total": 100, "unit": "percent"}}
	require.Equal(t, "40%", (&seen{}).measure(percent, begin))
	require.Empty(t, (&seen{}).measure(apiclient.Step{}, begin))
}
