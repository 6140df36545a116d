package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/server/events"
)

// awaitEvent waits until the operation may have ended; ended means that the time is over.
func awaitEvent(ctx context.Context, c <-chan db.Event, id string, over, poll <-chan time.Time) (ended bool, err error) {
	for {
		select {
		case e := <-c:
			if e.Kind == events.Resync || (e.Kind == "operation" && e.ID == id && e.State != "") {
				return false, nil
			}
		case <-poll:
			return false, nil
		case <-over:
			return true, nil
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}

// keepAlive between two comments on a silent stream, and how often the session is looked at again.
const keepAlive = 15 * time.Second

// stream is the server-sent events: what changed, to be fetched anew. It is a plain handler: it must flush and
// have no write deadline.
func (s *Server) stream() {
	s.Raw("GET /api/v1/events", auth.Self, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.SetWriteDeadline(time.Time{}); err != nil {
			writeProblem(w, toProblem(errs.New(errs.Internal, "internal", "This connection cannot stream.")))
			return
		}
		id, _ := auth.From(r.Context())
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no")
		sub := s.Events.Subscribe()
		defer sub.Close()
		if _, err := w.Write([]byte("retry: 1000\n\n")); err != nil {
			return
		}
		_ = rc.Flush()
		s.pump(w, r, rc, sub, id)
	})
}

func (s *Server) pump(w http.ResponseWriter, r *http.Request, rc *http.ResponseController, sub *events.Subscription,
	id auth.Identity,
) {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		var line []byte
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			// An ended session must not go on seeing what happens; an access token that ran out is renewed by the
			// page, whose next stream carries the new one.
			if _, err := s.person(r.Context(), r.Header); err != nil && !db.IsUnavailable(err) {
				return
			}
			line = []byte(": alive\n\n")
		case e := <-sub.C:
			if !visible(e, id) {
				continue
			}
			b, err := json.Marshal(e)
			if err != nil {
				continue
			}
			line = append(append([]byte("data: "), b...), '\n', '\n')
		}
		if _, err := w.Write(line); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
	}
}

// readOf is the permission that seeing an event of a kind needs.
var readOf = map[string]string{
	"host": "host.read", "instance": "instance.read", "operation": "operation.read", "step": "operation.read",
	"output":   "operation.read",
	"schedule": "schedule.read", events.Resync: auth.Self,
}

func visible(e db.Event, id auth.Identity) bool {
	if e.Kind == "notification" {
		return e.Parent == id.AccountID.String()
	}
	p, ok := readOf[e.Kind]
	return ok && auth.Allows(id.Role, p)
}
