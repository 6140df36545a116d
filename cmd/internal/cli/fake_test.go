package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/api"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

const (
	operationOfCreate = "01a20718-fc9d-76fb-897f-1fd608cf0ae8"
	operationOfFailed = "01a20719-0dcf-7a82-8762-e283f679272f"
	hostID            = "01a20718-04a0-7bd7-b8f7-c0878cd124d5"
)

// recordedAt is just after the recorded operations ended.
var recordedAt = time.Date(2026, 11, 23, 6, 31, 0, 0, time.UTC)

// fake is a manager that answers with what a real one answered.
type fake struct {
	*httptest.Server
	mux *http.ServeMux

	mu       sync.Mutex
	requests []request
	// token is the one that is good now; refresh tokens are good once.
	token, refresh string
	refreshes      int
}

type request struct {
	method, path, query string
	header              http.Header
	body                []byte
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{mux: http.NewServeMux(), token: "access-1", refresh: "refresh-1"}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	f.mux.HandleFunc("POST /api/v1/sessions", f.session)
	f.mux.HandleFunc("POST /api/v1/sessions/refresh", f.renew)
	f.json("GET /api/v1/me", http.StatusOK,
		`{"id":"1","login":"ann","display_name":"Ann","role":"viewer","permissions":["host.read"]}`)
	f.json("GET /api/v1/hosts", http.StatusOK, page1(hostJSON(hostID, "db1"),
		hostJSON("01a20718-04a0-7bd7-b8f7-c0878cd124d6", "db10")))
	f.file(t, "GET /api/v1/instances", "instances.json")
	return f
}

func page1(items ...string) string {
	b, _ := json.Marshal(map[string]any{"items": rawAll(items), "total": len(items)})
	return string(b)
}

func rawAll(items []string) []json.RawMessage {
	all := []json.RawMessage{}
	for _, i := range items {
		all = append(all, json.RawMessage(i))
	}
	return all
}

func hostJSON(id, name string) string {
	return fmt.Sprintf(`{"id":%q,"name":%q,"labels":{"site":"vienna"},"state":"enrolled","online":true,`+
		`"capabilities":[],"instance_count":2,"created_at":"2026-11-23T06:00:00Z","seen_at":"2026-11-23T06:30:00Z"}`, id, name)
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	f.requests = append(f.requests, request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone(), body})
	good := r.Header.Get("Authorization") == "Bearer "+f.token || r.Method+r.URL.Path == "POST/api/v1/sessions" ||
		r.URL.Path == "/api/v1/sessions/refresh"
	f.mu.Unlock()
	if !good {
		problemAnswer(w, http.StatusUnauthorized, "not-signed-in", "Sign in first.")
		return
	}
	f.mux.ServeHTTP(w, r)
}

func problemAnswer(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "/problems/" + code, "status": status, "code": code, "detail": detail})
}

func jsonAnswer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (f *fake) json(pattern string, status int, body string) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { jsonAnswer(w, status, body) })
}

func (f *fake) file(t *testing.T, pattern, name string) {
	f.json(pattern, http.StatusOK, recorded(t, name))
}

func recorded(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(b)
}

func (f *fake) session(w http.ResponseWriter, r *http.Request) {
	var in struct{ Login, Password string }
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Password != "right-Secret" {
		problemAnswer(w, http.StatusUnauthorized, "wrong-credentials", "Login or password is wrong.")
		return
	}
	f.tokens(w, http.StatusCreated)
}

func (f *fake) renew(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RefreshToken string `json:"refresh_token"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	f.mu.Lock()
	if good := in.RefreshToken == f.refresh; !good {
		f.mu.Unlock()
		problemAnswer(w, http.StatusUnauthorized, "not-signed-in", "Sign in first.")
		return
	}
	f.refreshes++
	f.token, f.refresh = fmt.Sprintf("access-%d", f.refreshes+1), fmt.Sprintf("refresh-%d", f.refreshes+1)
	f.mu.Unlock()
	f.tokens(w, http.StatusOK)
}

func (f *fake) tokens(w http.ResponseWriter, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, _ := json.Marshal(map[string]any{
		"account":      map[string]any{"id": "1", "login": "ann", "display_name": "Ann", "role": "viewer", "permissions": []string{}},
		"access_token": f.token, "refresh_token": f.refresh,
		"access_expires_at": recordedAt.Add(15 * time.Minute), "expires_at": recordedAt.Add(time.Hour),
	})
	jsonAnswer(w, status, string(b))
}

// seen lists the requests of a method and path.
func (f *fake) seen(method, path string) []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []request
	for _, r := range f.requests {
		if r.method == method && r.path == path {
			out = append(out, r)
		}
	}
	return out
}

// shell runs commands as a person would, and keeps what they see.
type shell struct {
	*CLI
	t        *testing.T
	out, err bytes.Buffer
	env      map[string]string
	term     *fakeTerminal
}

type fakeTerminal struct {
	answers []string
	width   int
}

func (f *fakeTerminal) Interactive() bool { return f.answers != nil }
func (f *fakeTerminal) Width() int        { return f.width }

func (f *fakeTerminal) ReadPassword() (string, error) {
	if len(f.answers) == 0 {
		return "", io.EOF
	}
	a := f.answers[0]
	f.answers = f.answers[1:]
	return a, nil
}

func newShell(t *testing.T) *shell {
	t.Helper()
	s := &shell{t: t, env: map[string]string{}, term: &fakeTerminal{}}
	s.CLI = &CLI{
		In: bytes.NewReader(nil), Out: &s.out, Err: &s.err, Env: func(k string) string { return s.env[k] }, Terminal: s.term,
		ConfigDir: filepath.Join(t.TempDir(), "pgdrover"), Transport: http.DefaultTransport,
		Now: func() time.Time { return recordedAt }, Version: "test", Document: api.Document,
		Pace: Pace{
			Poll: 50 * time.Millisecond, Gap: time.Millisecond, Frame: time.Millisecond, Retry: time.Millisecond,
			RetryMax: time.Millisecond, Quiet: time.Minute, Request: time.Minute,
		},
	}
	return s
}

// signedIn is a shell with a session at the fake.
func signedIn(t *testing.T, f *fake) *shell {
	t.Helper()
	s := newShell(t)
	require.NoError(t, sessions{s.ConfigDir}.save(session{
		Server: f.URL, Login: "ann", AccessToken: "access-1", RefreshToken: "refresh-1",
		AccessExpiresAt: recordedAt.Add(15 * time.Minute), ExpiresAt: recordedAt.Add(time.Hour),
	}))
	return s
}

func (s *shell) root() *cobra.Command {
	root := &cobra.Command{Use: "pgdrover", Short: "Manages fleets of PostgreSQL"}
	require.NoError(s.t, s.Add(root))
	return root
}

func (s *shell) run(args ...string) int {
	s.t.Helper()
	s.out.Reset()
	s.err.Reset()
	return s.Run(s.t.Context(), s.root(), args)
}
