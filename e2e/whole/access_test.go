package whole_test

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// from is a client that comes from an address of its own: failures are counted by address too.
func from(address string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
}

func credentials(login, password string) map[string]string {
	return map[string]string{"login": login, "password": password}
}

// TestSignInRefused: a wrong password says no more than that, and too many are slowed down for that login alone.
func TestSignInRefused(t *testing.T) {
	t.Parallel()
	w := shared
	login := w.newAccount(t, "viewer")
	c, path := from("127.0.0.9"), w.URL+"/api/v1/sessions"
	wrong := send(t, c, http.MethodPost, path, "", credentials(login, "wrong")).refused(t, 401, "wrong-credentials")
	nobody := send(t, c, http.MethodPost, path, "", credentials(unique("nobody"), "wrong")).refused(t, 401, "wrong-credentials")
	require.Equal(t, wrong, nobody, "whether there is such an account is not told")
	for range 9 {
		send(t, c, http.MethodPost, path, "", credentials(strings.ToUpper(login), "wrong")).refused(t, 401, "wrong-credentials")
	}
	r := send(t, c, http.MethodPost, path, "", credentials(login, accountPassword))
	p := r.refused(t, 429, "too-many-failures")
	require.Contains(t, p.Detail, "15 minutes")
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	require.NoError(t, err, "Retry-After: %q", r.header.Get("Retry-After"))
	require.Equal(t, 900, seconds)
	// Nobody else is locked out.
	require.Equal(t, 201, send(t, c, http.MethodPost, path, "", credentials(w.newAccount(t, "viewer"), accountPassword)).status)
	require.Equal(t, 11-1, scalar[int](t, w, `SELECT count(*) FROM audit WHERE actor = $1 AND action = 'session-create' AND result = 'refused'`, login))
	for _, body := range []any{"", "{}", map[string]any{"login": login}, map[string]any{"login": login, "password": 1}} {
		r := send(t, c, http.MethodPost, path, "", body)
		require.Contains(t, []int{400, 422}, r.status)
		r.refused(t, r.status, "invalid-input")
	}
	// An address that fails too often is slowed down whatever login it tries.
	c = from("127.0.0.10")
	_, err = w.db.Exec(t.Context(), `INSERT INTO login_failure (key) SELECT 'address:127.0.0.10' FROM generate_series(1, 49)`)
	require.NoError(t, err)
	send(t, c, http.MethodPost, path, "", credentials(unique("guess"), "x")).refused(t, 401, "wrong-credentials")
	send(t, c, http.MethodPost, path, "", credentials(unique("guess"), "x")).refused(t, 429, "too-many-failures")
}

// TestDisabledAccount has no way in, by password or by a session it has.
func TestDisabledAccount(t *testing.T) {
	t.Parallel()
	w := shared
	login := w.newAccount(t, "viewer")
	s := w.signIn(t, login, accountPassword)
	_, err := w.db.Exec(t.Context(), `UPDATE account SET disabled = true WHERE login = $1`, login)
	require.NoError(t, err)
	w.as(t, s.AccessToken, http.MethodGet, "/api/v1/me", nil).refused(t, 401, "not-signed-in")
	send(t, from("127.0.0.11"), http.MethodPost, w.URL+"/api/v1/sessions", "", credentials(login, accountPassword)).refused(t, 401, "wrong-credentials")
	w.refresh(t, s.RefreshToken).refused(t, 401, "session-ended")
}

func (w *world) as(t *testing.T, token, method, path string, body any, header ...string) reply {
	t.Helper()
	return send(t, http.DefaultClient, method, w.URL+path, token, body, header...)
}

func (w *world) refresh(t *testing.T, token string) reply {
	t.Helper()
	return w.as(t, "", http.MethodPost, "/api/v1/sessions/refresh", map[string]string{"refresh_token": token})
}

// TestRefresh: tokens rotate, an old one ends the session, and so does signing out.
func TestRefresh(t *testing.T) {
	t.Parallel()
	w := shared
	login := w.newAccount(t, "viewer")
	first := w.signIn(t, login, accountPassword)
	other := w.signIn(t, login, accountPassword)
	r := w.refresh(t, first.RefreshToken)
	require.Equal(t, 200, r.status, "%s", r.body)
	second := decode[tokens](t, r)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	w.as(t, first.AccessToken, http.MethodGet, "/api/v1/me", nil).refused(t, 401, "not-signed-in")
	require.Equal(t, 200, w.as(t, second.AccessToken, http.MethodGet, "/api/v1/me", nil).status)

	// Two tabs may refresh at once; later than that an old token was stolen.
	_, err := w.db.Exec(t.Context(), `UPDATE session SET used_at = now() - interval '1 minute' WHERE account_id = (SELECT id FROM account WHERE login = $1)`, login)
	require.NoError(t, err)
	p := w.refresh(t, first.RefreshToken).refused(t, 401, "session-ended")
	require.Contains(t, p.Detail, "Sign in again")
	w.as(t, second.AccessToken, http.MethodGet, "/api/v1/me", nil).refused(t, 401, "not-signed-in")
	w.refresh(t, second.RefreshToken).refused(t, 401, "session-ended")
	require.Equal(t, 1, scalar[int](t, w, `SELECT count(*) FROM audit a JOIN account c ON c.id = a.account_id
		WHERE c.login = $1 AND a.action = 'session-token-reuse' AND a.result = 'refused'`, login))
	require.Equal(t, 200, w.as(t, other.AccessToken, http.MethodGet, "/api/v1/me", nil).status, "another session of the person")

	require.Equal(t, 204, w.as(t, other.AccessToken, http.MethodDelete, "/api/v1/sessions/current", nil).status)
	w.as(t, other.AccessToken, http.MethodGet, "/api/v1/me", nil).refused(t, 401, "not-signed-in")
	w.refresh(t, other.RefreshToken).refused(t, 401, "session-ended")
	w.refresh(t, "nonsense").refused(t, 401, "session-ended")
	w.as(t, "", http.MethodPost, "/api/v1/sessions/refresh", nil).refused(t, 401, "not-signed-in")
}

// TestCookies: the browser's tokens are out of reach of scripts and of other origins.
func TestCookies(t *testing.T) {
	t.Parallel()
	w := shared
	login := w.newAccount(t, "viewer")
	r := w.as(t, "", http.MethodPost, "/api/v1/sessions", credentials(login, accountPassword), "X-Pgdrover-Client", "web")
	require.Equal(t, 201, r.status, "%s", r.body)
	require.NotContains(t, string(r.body), "token")
	cookies := (&http.Response{Header: r.header}).Cookies()
	require.Len(t, cookies, 2)
	var header []string
	for _, c := range cookies {
		require.True(t, c.HttpOnly, c.Name)
		require.Equal(t, http.SameSiteStrictMode, c.SameSite, c.Name)
		require.Empty(t, c.Domain, c.Name)
		header = append(header, c.Name+"="+c.Value)
	}
	require.Equal(t, "/", cookies[0].Path)
	require.Equal(t, "/api/v1/sessions", cookies[1].Path)
	cookie := strings.Join(header, "; ")
	require.Equal(t, 200, w.as(t, "", http.MethodGet, "/api/v1/me", nil, "Cookie", cookie).status)

	read := map[string]any{"all": true}
	for _, foreign := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		w.as(t, "", http.MethodPost, "/api/v1/notifications/read", read, append(foreign, "Cookie", cookie)...).refused(t, 403, "cross-origin")
		w.as(t, "", http.MethodPost, "/api/v1/sessions", credentials(login, accountPassword), append(foreign, "X-Pgdrover-Client", "web")...).
			refused(t, 403, "cross-origin")
	}
	for _, own := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", w.URL}, nil} {
		r := w.as(t, "", http.MethodPost, "/api/v1/notifications/read", read, append(own, "Cookie", cookie)...)
		require.Equal(t, 204, r.status, "%s", r.body)
	}
	// Refreshed and signed out by cookies alone.
	r = w.as(t, "", http.MethodPost, "/api/v1/sessions/refresh", nil, "Cookie", cookie)
	require.Equal(t, 200, r.status, "%s", r.body)
	renewed := (&http.Response{Header: r.header}).Cookies()
	require.Len(t, renewed, 2)
	cookie = renewed[0].Name + "=" + renewed[0].Value
	r = w.as(t, "", http.MethodDelete, "/api/v1/sessions/current", nil, "Cookie", cookie)
	require.Equal(t, 204, r.status)
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		require.Negative(t, c.MaxAge, "%s is taken away", c.Name)
	}
	w.as(t, "", http.MethodGet, "/api/v1/me", nil, "Cookie", cookie).refused(t, 401, "not-signed-in")
}

// apiRoute is one operation of the OpenAPI document.
type apiRoute struct {
	method, path, id, permission string
	body                         any
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Format     string
	Enum       []any
	Examples   []any
	Required   []string
	Properties map[string]*schema
	Minimum    float64
}

// routes reads the document that the manager serves, with an input for each that its schema takes.
func (w *world) routes(t *testing.T) []apiRoute {
	t.Helper()
	r := send(t, http.DefaultClient, http.MethodGet, w.URL+"/openapi.json", w.admin(t), nil)
	require.Equal(t, 200, r.status, "%s", r.body)
	doc := decode[struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Permission  string `json:"x-permission"`
			Deferred    string `json:"x-operation-permission"`
			RequestBody *struct {
				Content map[string]struct{ Schema *schema }
			} `json:"requestBody"`
		}
		Components struct{ Schemas map[string]*schema }
	}](t, r)
	var sample func(s *schema) any
	sample = func(s *schema) any {
		if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
			return sample(doc.Components.Schemas[name])
		}
		if len(s.Enum) > 0 {
			return s.Enum[0]
		}
		if len(s.Examples) > 0 {
			return s.Examples[0]
		}
		switch s.Type {
		case "object":
			out := map[string]any{}
			for _, name := range s.Required {
				out[name] = sample(s.Properties[name])
			}
			return out
		case "integer", "number":
			return max(s.Minimum, 1)
		case "boolean":
			return false
		case "array":
			return []any{}
		}
		if s.Format == "uuid" {
			return uuid.NewString()
		}
		return "/a"
	}
	var out []apiRoute
	for path, methods := range doc.Paths {
		for method, o := range methods {
			a := apiRoute{method: strings.ToUpper(method), path: strings.ReplaceAll(path, "{id}", uuid.NewString()), id: o.OperationID, permission: o.Permission}
			if o.Deferred != "" {
				a.permission = o.Deferred
			}
			require.NotEmpty(t, a.permission, a.id)
			require.NotContains(t, a.path, "{", a.id)
			if o.RequestBody != nil {
				for _, c := range o.RequestBody.Content {
					a.body = sample(c.Schema)
				}
			}
			if m, ok := a.body.(map[string]any); ok && m["name"] == "/a" {
				m["name"] = "a"
			}
			out = append(out, a)
		}
	}
	require.Greater(t, len(out), 40)
	return out
}

// TestUnauthenticated: no route but the public ones says anything to a stranger.
func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	w := shared
	public := []string{}
	for _, a := range w.routes(t) {
		if a.permission == "public" {
			public = append(public, a.id)
			continue
		}
		for _, token := range []string{"", "nonsense"} {
			w.as(t, token, a.method, a.path, a.body).refused(t, 401, "not-signed-in")
		}
	}
	slices.Sort(public)
	require.Equal(t, []string{"session-create", "session-refresh"}, public)
	w.as(t, "", http.MethodGet, "/api/v1/events", nil).refused(t, 401, "not-signed-in")
	w.as(t, "", http.MethodGet, "/api/v1/nothing", nil).refused(t, 404, "no-such-route")
}

// TestViewer: who may only look is refused everything else, and the refusal is audited.
func TestViewer(t *testing.T) {
	t.Parallel()
	w := shared
	login := w.newAccount(t, "viewer")
	token := w.signIn(t, login, accountPassword).AccessToken
	me := decode[struct{ Permissions []string }](t, w.as(t, token, http.MethodGet, "/api/v1/me", nil))
	require.Contains(t, me.Permissions, "instance.read")
	hosts := scalar[string](t, w, `SELECT string_agg(id::text || state, ',' ORDER BY id) FROM host WHERE id = $1`, w.id)
	refused, allowed := 0, 0
	for _, a := range w.routes(t) {
		switch {
		case a.permission == "public" || a.permission == "self":
			continue
		case slices.Contains(me.Permissions, a.permission):
			r := w.as(t, token, a.method, a.path, a.body)
			// The preview's sample has no times.
			require.Contains(t, []int{200, 202, 404, 422}, r.status, "%s: %s", a.id, r.body)
			harmless := []string{"schedule-preview", "host-refresh-facts"}
			require.True(t, a.method == http.MethodGet || slices.Contains(harmless, a.id), "%s changes something", a.id)
			allowed++
		default:
			if path := strings.Split(a.path, "/"); strings.HasPrefix(a.path, "/api/v1/hosts/") && len(path) > 4 {
				// With a host that exists it makes no difference.
				path[4] = w.id
				a.path = strings.Join(path, "/")
			}
			p := w.as(t, token, a.method, a.path, a.body).refused(t, 403, "permission-denied")
			require.Contains(t, p.Detail, a.permission, a.id)
			require.Equal(t, 1, scalar[int](t, w, `SELECT count(*) FROM audit WHERE actor = $1 AND action = $2 AND result = 'refused'`, login, a.id), a.id)
			refused++
		}
	}
	require.Greater(t, refused, 25)
	require.Greater(t, allowed, 12)
	require.Zero(t, scalar[int](t, w, `SELECT count(*) FROM operation WHERE actor = $1`, login))
	require.Equal(t, hosts, scalar[string](t, w, `SELECT string_agg(id::text || state, ',' ORDER BY id) FROM host WHERE id = $1`, w.id))
}

// TestAudit: what was accepted, what it came to and what was refused, with the person and the address.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := shared
	login := w.newAccount(t, "administrator")
	token := w.signIn(t, login, accountPassword).AccessToken
	for _, program := range []string{"/usr/bin/true", "/usr/bin/false"} {
		r := w.as(t, token, http.MethodPost, "/api/v1/operations/host-command", map[string]any{"host_id": w.id, "program": program}, "Prefer", "wait=60")
		require.Equal(t, 200, r.status, "%s", r.body)
	}
	name := unique("audited")
	r := w.as(t, token, http.MethodPost, "/api/v1/hosts", map[string]any{"name": name})
	require.Equal(t, 201, r.status, "%s", r.body)
	id := decode[enrollment](t, r).Host.ID
	require.Equal(t, 204, w.as(t, token, http.MethodDelete, "/api/v1/hosts/"+id, nil).status)
	w.as(t, token, http.MethodDelete, "/api/v1/hosts/"+w.id, nil).refused(t, 409, "host-enrolled")

	type record struct {
		Action, Result, Actor string
		RemoteAddress         string `json:"remote_address"`
		TargetName            string `json:"target_name"`
		Detail                json.RawMessage
	}
	list := decode[struct{ Items []record }](t, w.as(t, token, http.MethodGet, "/api/v1/audit?sort=at&limit=100&actor="+login, nil)).Items
	var got []string
	for _, a := range list {
		got = append(got, a.Action+" "+a.Result)
		if a.Result == "accepted" || a.Action == "host-add" || a.Action == "session-create" {
			require.Contains(t, a.RemoteAddress, "127.0.0.1", a.Action)
		}
	}
	require.Equal(t, []string{
		"session-create done", "host-command accepted", "host-command done", "host-command accepted", "host-command failed",
		"host-add done", "host-delete done",
	}, got)
	require.Equal(t, name, list[5].TargetName)
	require.Contains(t, string(list[3].Detail), "/usr/bin/false")
}
