package whole_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type event struct{ Kind, ID, Parent string }

// stream is an open stream of server-sent events; c is closed when the server ends it.
type stream struct {
	c chan event
}

// listen opens a stream and waits until it is open.
func listen(t *testing.T, url, token string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/events", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	in := bufio.NewReader(resp.Body)
	first, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "retry: 1000\n", first)
	s := &stream{c: make(chan event, 10000)}
	go func() {
		defer close(s.c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			var e event
			if data, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
				s.c <- e
			}
		}
	}()
	return s
}

// await returns all events up to the one that is wanted.
func (s *stream) await(t *testing.T, what string, ok func(event) bool) []event {
	t.Helper()
	var seen []event
	over := time.After(limit)
	for {
		select {
		case e, open := <-s.c:
			require.True(t, open, "the stream ended before %s", what)
			seen = append(seen, e)
			if ok(e) {
				return seen
			}
		case <-over:
			require.Failf(t, "never came", "%s; seen %v", what, seen)
		}
	}
}

// TestEvents: changes of operations and their steps come by themselves; what is another person's does not.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := shared
	login := w.newAccount(t, "viewer")
	viewer := w.signIn(t, login, accountPassword)
	mine, theirs := listen(t, w.URL, w.admin(t)), listen(t, w.URL, viewer.AccessToken)
	o := w.start(t, "host-command", map[string]any{"host_id": w.id, "program": "/usr/bin/echo", "args": []string{"seen"}})
	admin := scalar[string](t, w, `SELECT id::text FROM account WHERE login = 'admin'`)
	notification := func(e event) bool { return e.Kind == "notification" && e.Parent == admin }
	require.Equal(t, "succeeded", w.await(t, o.ID).State)
	note := scalar[string](t, w, `SELECT id::text FROM notification WHERE operation_id = $1`, o.ID)
	seen := mine.await(t, "the administrator's notification", func(e event) bool { return notification(e) && e.ID == note })
	has := func(list []event, kind string, ok func(event) bool) bool {
		for _, e := range list {
			if e.Kind == kind && ok(e) {
				return true
			}
		}
		return false
	}
	ofIt := func(e event) bool { return e.ID == o.ID || e.Parent == o.ID }
	require.True(t, has(seen, "operation", ofIt))
	require.True(t, has(seen, "step", ofIt))

	// Events keep their order: when the viewer has seen a later one, the notification did not come to him.
	later := w.start(t, "host-command?dry_run=true", map[string]any{"host_id": w.id, "program": "/usr/bin/echo"})
	seen = theirs.await(t, "a later operation", func(e event) bool { return e.Kind == "operation" && e.ID == later.ID })
	require.True(t, has(seen, "operation", ofIt), "he sees operations")
	require.True(t, has(seen, "step", ofIt))
	require.False(t, has(seen, "notification", func(event) bool { return true }), "%v", seen)
}

// TestStreamEnds: with the session ends what it may see.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	w := shared
	session := w.signIn(t, w.newAccount(t, "viewer"), accountPassword)
	s := listen(t, w.URL, session.AccessToken)
	r := send(t, http.DefaultClient, http.MethodDelete, w.URL+"/api/v1/sessions/current", session.AccessToken, nil)
	require.Equal(t, http.StatusNoContent, r.status)
	over := time.After(limit)
	for {
		select {
		case _, open := <-s.c:
			if !open {
				return
			}
		case <-over:
			require.Fail(t, "the stream goes on without a session")
		}
	}
}
