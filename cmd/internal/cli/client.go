package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/internal/apiclient"
)

const defaultServer = "http://localhost:8080"

// client speaks to one manager as one person.
type client struct {
	*apiclient.Client
	http   *http.Client
	server string
	cli    *CLI
}

// serverURL checks an address a person gave; only the origin counts.
func serverURL(text string) (string, error) {
	if !strings.Contains(text, "://") {
		// Nothing leaves this machine unencrypted unless asked for.
		if loopback("http://" + text) {
			text = "http://" + text
		} else {
			text = "https://" + text
		}
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return "", &Error{
			Exit: exitUsage, Detail: fmt.Sprintf("%q is no address of a manager; give one like https://pgdrover.example.com", text),
		}
	}
	return u.Scheme + "://" + u.Host, nil
}

// loopback tells whether what is sent there leaves this machine.
func loopback(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

// connect makes a client of the token in the environment, or of the session.
func (c *CLI) connect() (*client, error) {
	s, err := sessions{c.ConfigDir}.load()
	if err != nil {
		return nil, err
	}
	server := c.Env("PGDROVER_SERVER")
	if server == "" && s != nil {
		server = s.Server
	}
	if server == "" {
		server = defaultServer
	}
	if server, err = serverURL(server); err != nil {
		return nil, err
	}
	a := &authorizer{cli: c, server: server, base: c.Transport, fixed: c.Env("PGDROVER_TOKEN")}
	if a.fixed == "" {
		if s == nil {
			return nil, notSignedIn("nobody is signed in")
		}
		// Tokens go to the manager that gave them and to no other.
		if s.Server != server {
			return nil, notSignedIn("the session is of " + s.Server + ", not of " + server)
		}
		a.session = s
	}
	return c.client(server, a)
}

func notSignedIn(detail string) *Error {
	return &Error{
		Exit: exitNotSignedIn, Code: "not-signed-in", Detail: detail,
		Hint: "Sign in with: pgdrover login (scripts: set PGDROVER_TOKEN)",
	}
}

func (c *CLI) client(server string, t http.RoundTripper) (*client, error) {
	hc := &http.Client{
		Transport: t,
		// The API never redirects; a proxy that does would take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	generated, err := apiclient.NewClient(server, apiclient.WithHTTPClient(hc), apiclient.WithRequestEditorFn(c.identify))
	if err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", server, err)
	}
	return &client{Client: generated, http: hc, server: server, cli: c}, nil
}

func (c *CLI) identify(_ context.Context, r *http.Request) error {
	r.Header.Set("User-Agent", "pgdrover/"+c.Version)
	return nil
}

// authorizer adds the token to requests and refreshes it when it runs out.
type authorizer struct {
	cli    *CLI
	server string
	base   http.RoundTripper
	// fixed is a token from the environment, which nothing refreshes.
	fixed string

	mu      sync.Mutex
	session *session
}

func (a *authorizer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := a.token(r.Context(), "")
	if err != nil {
		return nil, err
	}
	resp, err := a.send(r, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || a.fixed != "" {
		return resp, err
	}
	again := r.Clone(r.Context())
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return resp, nil
		}
		if again.Body, err = r.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the refusal is the answer then
		}
	}
	// A request that was refused for its token was not carried out, whatever its method.
	fresh, err := a.token(r.Context(), token)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	return a.send(again, fresh)
}

func (a *authorizer) send(r *http.Request, token string) (*http.Response, error) {
	if r.URL.Scheme+"://"+r.URL.Host != a.server {
		return nil, fmt.Errorf("refused to send the token to %s", r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return a.base.RoundTrip(r)
}

// early is how long before its end a token is renewed: the request takes time and clocks differ.
const early = 30 * time.Second

// token gives a good access token; rejected is one the manager just refused.
func (a *authorizer) token(ctx context.Context, rejected string) (string, error) {
	if a.fixed != "" {
		return a.fixed, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.good(a.session, rejected) {
		return a.session.AccessToken, nil
	}
	store := sessions{a.cli.ConfigDir}
	unlock, err := store.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	// Another process may have refreshed it, or signed out, while this one waited for the lock.
	s, err := store.load()
	if err != nil {
		return "", err
	}
	if s == nil || s.Server != a.server {
		return "", notSignedIn("the session was ended meanwhile")
	}
	if !a.good(s, rejected) {
		if err := a.refresh(ctx, s); err != nil {
			return "", err
		}
		if err := store.save(*s); err != nil {
			return "", err
		}
	}
	a.session = s
	return s.AccessToken, nil
}

func (a *authorizer) good(s *session, rejected string) bool {
	return s != nil && s.AccessToken != rejected && a.cli.Now().Add(early).Before(s.AccessExpiresAt)
}

func (a *authorizer) refresh(ctx context.Context, s *session) error {
	plain, err := a.cli.client(a.server, a.base)
	if err != nil {
		return err
	}
	// Ctrl-C must not lose the answer: the old refresh token is spent by then.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cli.Pace.Request)
	defer cancel()
	body := apiclient.SessionRefreshJSONRequestBody{RefreshToken: &s.RefreshToken}
	got, _, err := decode[apiclient.Session](plain.SessionRefresh(ctx, body)) //nolint:bodyclose // decode closes it
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusUnauthorized {
		return notSignedIn("your session at " + a.server + " has ended")
	}
	if err != nil {
		return fmt.Errorf("refresh the session: %w", err)
	}
	return s.take(got)
}

// take keeps the tokens of an answer.
func (s *session) take(got apiclient.Session) error {
	if got.AccessToken == nil || got.RefreshToken == nil {
		return errors.New("the manager gave no tokens")
	}
	s.AccessToken, s.RefreshToken = *got.AccessToken, *got.RefreshToken
	s.AccessExpiresAt, s.ExpiresAt, s.Login = got.AccessExpiresAt, got.ExpiresAt, got.Account.Login
	return nil
}

// maxAnswer bounds an answer: an operation's record is far smaller.
const maxAnswer = 64 << 20

// raw reads an answer's body; a failure becomes an error for a person.
func raw(resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, problem(resp.StatusCode, body)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); len(body) > 0 && kind != "application/json" {
		return nil, &Error{
			Exit: exitGeneral, Detail: fmt.Sprintf("%s answers, but not as a manager of pgdrover", resp.Request.URL.Host),
		}
	}
	return body, nil
}

// decode reads an answer of the generated client.
func decode[T any](resp *http.Response, err error) (T, []byte, error) {
	var v T
	body, err := raw(resp, err)
	if err != nil || len(body) == 0 {
		return v, body, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, body, fmt.Errorf("read the answer: %w", err)
	}
	return v, body, nil
}

// get reads any path of the API, for what the document describes and no generated method is named after.
func (c *client) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.send(ctx, http.MethodGet, path, query, nil, nil)
}

func (c *client) send(
	ctx context.Context, method, path string, query url.Values, header http.Header, body []byte,
) ([]byte, error) {
	u := c.server + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	ctx, cancel := context.WithTimeout(ctx, c.cli.Pace.Request)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, reader)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	maps.Copy(req.Header, header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := c.cli.identify(ctx, req); err != nil {
		return nil, err
	}
	return raw(c.http.Do(req))
}
