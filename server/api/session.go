package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/auth"
)

// Account is the person who is signed in.
type Account struct {
	ID          uuid.UUID `json:"id"`
	Login       string    `json:"login"`
	DisplayName string    `json:"display_name"`
	Role        string    `json:"role" enum:"administrator,viewer"`
	Permissions []string  `json:"permissions" doc:"What the role allows"`
}

// Session is a new session. Tokens are left out where cookies were asked for.
type Session struct {
	Account         Account   `json:"account"`
	AccessToken     string    `json:"access_token,omitempty" doc:"For the header Authorization: Bearer"`
	RefreshToken    string    `json:"refresh_token,omitempty" doc:"For POST /api/v1/sessions/refresh; each is good once"`
	AccessExpiresAt time.Time `json:"access_expires_at"`
	ExpiresAt       time.Time `json:"expires_at"`
}

type sessionOut struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
	Body      Session
}

type emptyOut struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
}

// webClient is how the web app asks for cookies instead of tokens.
const webClient = "web"

func accountOf(id auth.Identity) Account {
	return Account{ID: id.AccountID, Login: id.Login, DisplayName: id.DisplayName, Role: id.Role, Permissions: auth.Of(id.Role)}
}

func (s *Server) sessions() {
	type signIn struct {
		RemoteAddress
		Client    string `header:"X-Pgdrover-Client" enum:"web,api" default:"api" doc:"web: set HttpOnly cookies instead of giving tokens"`
		UserAgent string `header:"User-Agent" doc:"Kept with the session, so that people recognise theirs"`
		Body      struct {
			Login    string `json:"login" minLength:"1" maxLength:"100"`
			Password string `json:"password" minLength:"1" maxLength:"1000" format:"password"`
		}
	}
	route(s, auth.Public, huma.Operation{
		OperationID: "session-create", Method: http.MethodPost, Path: "/api/v1/sessions", Summary: "Sign in", Tags: []string{"access"},
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusUnauthorized, http.StatusTooManyRequests},
	}, func(ctx context.Context, in *signIn) (*sessionOut, error) {
		t, id, err := s.Auth.SignIn(ctx, in.Body.Login, in.Body.Password, in.remote, in.UserAgent)
		if err != nil {
			return nil, err
		}
		return s.opened(t, id, in.Client == webClient), nil
	})

	type refresh struct {
		RemoteAddress
		Cookie string `header:"Cookie" hidden:"true"`
		Body   *struct {
			RefreshToken string `json:"refresh_token,omitempty" maxLength:"200"`
		} `required:"false"`
	}
	route(s, auth.Public, huma.Operation{
		OperationID: "session-refresh", Method: http.MethodPost, Path: "/api/v1/sessions/refresh",
		Summary: "Renew the tokens of a session",
		Tags:    []string{"access"}, Errors: []int{http.StatusUnauthorized},
	}, func(ctx context.Context, in *refresh) (*sessionOut, error) {
		token, web := "", false
		if in.Body != nil {
			token = in.Body.RefreshToken
		}
		if token == "" {
			token, web = auth.RefreshToken(http.Header{"Cookie": {in.Cookie}}), true
		}
		if token == "" {
			return nil, errs.New(errs.Unauthorized, "not-signed-in", "Sign in first.")
		}
		t, err := s.Auth.Refresh(ctx, token, in.remote)
		if err != nil {
			return nil, err
		}
		id, err := s.Auth.Identify(ctx, t.Access)
		if err != nil {
			return nil, err
		}
		return s.opened(t, id, web), nil
	})
	s.ownSession()
}

// ownSession is what people do with the session they have.
func (s *Server) ownSession() {
	type none struct{}
	route(s, auth.Self, huma.Operation{
		OperationID: "session-delete", Method: http.MethodDelete, Path: "/api/v1/sessions/current", Summary: "Sign out",
		Tags:          []string{"access"},
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, _ *none) (*emptyOut, error) {
		id, _ := auth.From(ctx)
		if err := s.Auth.SignOut(ctx, id, remoteOf(ctx)); err != nil {
			return nil, err
		}
		return &emptyOut{SetCookie: auth.Cookies(auth.Tokens{}, s.SecureCookies)}, nil
	})

	type me struct{ Body Account }
	route(s, auth.Self, huma.Operation{
		OperationID: "me", Method: http.MethodGet, Path: "/api/v1/me", Summary: "Who am I", Tags: []string{"access"},
	}, func(ctx context.Context, _ *none) (*me, error) {
		id, _ := auth.From(ctx)
		return &me{Body: accountOf(id)}, nil
	})
}

func (s *Server) opened(t auth.Tokens, id auth.Identity, web bool) *sessionOut {
	out := &sessionOut{Body: Session{Account: accountOf(id), AccessExpiresAt: t.AccessExpiresAt, ExpiresAt: t.ExpiresAt}}
	if web {
		out.SetCookie = auth.Cookies(t, s.SecureCookies)
	} else {
		out.Body.AccessToken, out.Body.RefreshToken = t.Access, t.Refresh
	}
	return out
}

// RemoteAddress is resolved from the request, for routes that come before sign-in.
type RemoteAddress struct{ remote string }

// Resolve implements huma.Resolver.
func (r *RemoteAddress) Resolve(ctx huma.Context) []error {
	r.remote = ctx.RemoteAddr()
	return nil
}
