package whole_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

func listenOn(port int) (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
}

// reply is an answer as it came.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// problem is an RFC 9457 document as clients are promised it.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Errors                    []struct{ Location, Message string }
	Holder                    *struct {
		OperationID string `json:"operation_id"`
		Title       string
		Actor       string
		State       string
	}
}

// send makes a request; body is JSON text, or a value to be written as JSON.
func send(t *testing.T, c *http.Client, method, url, token string, body any, header ...string) reply {
	t.Helper()
	r, err := trySend(t.Context(), c, method, url, token, body, header...)
	require.NoError(t, err, "%s %s", method, url)
	return r
}

func trySend(ctx context.Context, c *http.Client, method, url, token string, body any, header ...string) (reply, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, in)
	if err != nil {
		return reply{}, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: raw}, err
}

// signIn opens a session of its own.
func (w *world) signIn(t *testing.T, login, password string) tokens {
	t.Helper()
	r := send(t, http.DefaultClient, http.MethodPost, w.URL+"/api/v1/sessions", "", map[string]string{"login": login, "password": password})
	require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
	return decode[tokens](t, r)
}

type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
}

func decode[T any](t *testing.T, r reply) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal(r.body, &v), "%s", r.body)
	return v
}

// do is a request of the administrator.
func (w *world) do(t *testing.T, method, path string, body any, header ...string) reply {
	t.Helper()
	return send(t, http.DefaultClient, method, w.URL+path, w.admin(t), body, header...)
}

func (w *world) admin(t *testing.T) string {
	t.Helper()
	w.adminOnce.Do(func() { w.adminToken = w.signIn(t, "admin", system.AdminPassword).AccessToken })
	return w.adminToken
}

// get reads a resource that must be there.
func get[T any](t *testing.T, w *world, path string) T {
	t.Helper()
	r := w.do(t, http.MethodGet, path, nil)
	require.Equal(t, http.StatusOK, r.status, "GET %s: %s", path, r.body)
	return decode[T](t, r)
}

// refused wants a problem document of that status and code, in the promised shape, that tells a person something.
func (r reply) refused(t *testing.T, status int, code string) problem {
	t.Helper()
	require.Equal(t, status, r.status, "%s", r.body)
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
	p := decode[problem](t, r)
	require.Equal(t, code, p.Code, "%s", r.body)
	require.Equal(t, status, p.Status)
	require.Equal(t, "/problems/"+code, p.Type)
	require.Equal(t, http.StatusText(status), p.Title)
	require.Greater(t, len(p.Detail), 10, "a sentence: %q", p.Detail)
	for _, e := range p.Errors {
		require.NotEmpty(t, e.Message)
		require.NotEmpty(t, e.Location, "%s", r.body)
	}
	return p
}

// at wants a field to be named, and returns what is said of it.
func (p problem) at(t *testing.T, location string) string {
	t.Helper()
	var all []string
	for _, e := range p.Errors {
		if e.Location == location {
			return e.Message
		}
		all = append(all, e.Location)
	}
	require.Failf(t, "field not named", "wanted %s among %v: %s", location, all, p.Detail)
	return ""
}

// operation is what a test looks at.
type operation struct {
	ID              string
	Name            string
	State           string
	WaitingFor      string `json:"waiting_for"`
	TargetID        string `json:"target_id"`
	ObjectID        string `json:"object_id"`
	DryRun          bool   `json:"dry_run"`
	Undone          string
	ScheduleID      string `json:"schedule_id"`
	RetryOf         string `json:"retry_of"`
	CancelRequested bool   `json:"cancel_requested"`
	Result          json.RawMessage
	Failure         *failure
	Plan            []struct{ Verb, Does, Title string }
	AcceptedAt      time.Time  `json:"accepted_at"`
	StartedAt       *time.Time `json:"started_at"`
	EndedAt         *time.Time `json:"ended_at"`
}

type failure struct{ Code, Message, Hint, Step string }

func (o operation) ended() bool {
	return o.State == "succeeded" || o.State == "failed" || o.State == "canceled"
}

// ask asks for an operation; query is part of name, e.g. "instance-stop?dry_run=true".
func (w *world) ask(t *testing.T, name string, in any, header ...string) reply {
	t.Helper()
	return w.do(t, http.MethodPost, "/api/v1/operations/"+name, in, header...)
}

// start is ask for one that must be accepted.
func (w *world) start(t *testing.T, name string, in any, header ...string) operation {
	t.Helper()
	r := w.ask(t, name, in, header...)
	require.Equal(t, http.StatusAccepted, r.status, "%s: %s", name, r.body)
	o := decode[operation](t, r)
	require.Equal(t, "/api/v1/operations/"+o.ID, r.header.Get("Location"))
	return o
}

func (w *world) operation(t *testing.T, id string) operation {
	t.Helper()
	return get[operation](t, w, "/api/v1/operations/"+id)
}

// until waits until an operation is as wanted.
func (w *world) until(t *testing.T, id, what string, ok func(operation) bool) operation {
	t.Helper()
	var o operation
	require.NoError(t, system.Until(t.Context(), limit, "operation is "+what, func() error {
		if o = w.operation(t, id); !ok(o) {
			return fmt.Errorf("it is %s %s %+v", o.State, o.WaitingFor, o.Failure)
		}
		return nil
	}))
	return o
}

func (w *world) await(t *testing.T, id string) operation {
	t.Helper()
	return w.until(t, id, "ended", operation.ended)
}

// run asks for an operation, waits for its end and wants it to be as given.
func (w *world) run(t *testing.T, state, name string, in any) operation {
	t.Helper()
	o := w.await(t, w.start(t, name, in).ID)
	require.Equal(t, state, o.State, "%s: %+v", name, o.Failure)
	return o
}

func (w *world) steps(t *testing.T, id string) []system.Step {
	t.Helper()
	return get[struct{ Items []system.Step }](t, w, "/api/v1/operations/"+id+"/steps").Items
}
