package auth

import (
	"context"
	"net/http"
	"strings"
)

// The cookies of browsers. They are HttpOnly and SameSite=Strict; http.CrossOriginProtection refuses what another
// origin sends with them.
const (
	accessCookie  = "pgdrover_access"
	refreshCookie = "pgdrover_refresh"
)

type identityKey struct{}

// WithIdentity puts the person into a request's context.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From is the person of a request's context.
func From(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// AccessToken finds the access token of a request: a bearer token, else the cookie.
func AccessToken(header http.Header) string {
	if t, ok := strings.CutPrefix(header.Get("Authorization"), "Bearer "); ok {
		return t
	}
	return cookie(header, accessCookie)
}

// RefreshToken finds the refresh cookie.
func RefreshToken(header http.Header) string { return cookie(header, refreshCookie) }

func cookie(header http.Header, name string) string {
	r := http.Request{Header: header}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// Cookies carries tokens to a browser; empty tokens take the cookies away.
func Cookies(t Tokens, secure bool) []http.Cookie {
	access := http.Cookie{ //nolint:gosec // Secure where people come by HTTPS
		Name: accessCookie, Value: t.Access, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure,
	}
	refresh := http.Cookie{ //nolint:gosec // as above
		Name: refreshCookie, Value: t.Refresh, Path: "/api/v1/sessions", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: secure,
	}
	if t.Access == "" {
		access.MaxAge, refresh.MaxAge = -1, -1
	} else {
		access.Expires, refresh.Expires = t.AccessExpiresAt, t.ExpiresAt
	}
	return []http.Cookie{access, refresh}
}
