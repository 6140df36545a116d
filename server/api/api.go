// Package api is the OpenAPI server: resources by domain, one endpoint for each operation, one funnel for errors.
// Every route is made by route or raw, which want a permission: a route without one does not compile.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/admit"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/server/events"
	"github.com/pgdrover/pgdrover/server/schedule"
)

// Gateway is what the API needs of the agents' gateway.
type Gateway interface {
	// Invite makes a one-time enrolment token: what is shown, and the hash that is kept.
	Invite(hostID uuid.UUID, life time.Duration) (text string, hash []byte, expires time.Time, err error)
	// StoreFacts takes facts that were asked for.
	StoreFacts(ctx context.Context, hostID uuid.UUID, f host.Facts) error
	// Forget ends the connections of a revoked host at once.
	Forget(hostID string)
}

// Config is what the API is made of.
type Config struct {
	DB       *db.DB
	Auth     *auth.Service
	Admit    *admit.Service
	Schedule *schedule.Service
	Events   *events.Hub
	Gateway  Gateway
	Log      *slog.Logger
	Version  string
	// SecureCookies where people come by HTTPS.
	SecureCookies bool
	// TemporalUI is the base URL of Temporal's UI behind /temporal/, empty without one.
	TemporalUI string
	// TemporalReady tells whether Temporal answers, for readiness.
	TemporalReady func(ctx context.Context) error
	// Installs tells that the agent's program is served at /install/, for the one-line install command.
	Installs bool
}

// Server is the API.
type Server struct {
	Config
	api huma.API
	mux *http.ServeMux
}

// New makes the API with all its routes.
func New(c Config) *Server {
	huma.DefaultArrayNullable = false
	huma.NewError = newProblem
	mux := http.NewServeMux()
	s := &Server{Config: c, mux: mux}
	s.api = humago.New(mux, s.humaConfig())
	s.api.UseMiddleware(s.identify)
	s.sessions()
	s.hosts()
	s.instances()
	s.operationTypes()
	s.operations()
	s.schedules()
	s.notifications()
	s.audit()
	s.overview()
	s.stream()
	s.health()
	return s
}

func (s *Server) humaConfig() huma.Config {
	cfg := huma.DefaultConfig("pgdrover", s.Version)
	cfg.Info.Description = "Manages fleets of PostgreSQL. Every change is an operation: a durable workflow that can be " +
		"watched, canceled, dry-run and scheduled."
	cfg.Info.License = &huma.License{Name: "Apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"}
	cfg.OpenAPIPath = "/openapi"
	cfg.DocsPath = ""
	cfg.SchemasPath = ""
	cfg.CreateHooks = nil // no $schema member in answers
	cfg.Servers = []*huma.Server{{URL: "/"}}
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "Access token of POST /api/v1/sessions"},
		"cookie": {Type: "apiKey", In: "cookie", Name: "pgdrover_access", Description: "Set for browsers by POST /api/v1/sessions"},
	}
	for _, t := range []huma.Tag{
		{Name: "access", Description: "Sign-in, sessions, notifications"},
		{Name: "audit", Description: "Who did what"},
		{Name: "host", Description: "Database hosts and their agents"},
		{Name: "instance", Description: "PostgreSQL instances"},
		{Name: "operation", Description: "Everything that changes something"},
		{Name: "schedule", Description: "Operations at set times"},
		{Name: "system", Description: "The manager itself"},
	} {
		cfg.Tags = append(cfg.Tags, &t)
	}
	return cfg
}

// schemaName puts the domain before types of workflows and agents, whose names repeat from domain to domain.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	pkg := t.PkgPath()
	for _, floor := range []string{"/workflows/", "/activities/"} {
		if _, domain, ok := strings.Cut(pkg, floor); ok && domain != "op" && !strings.HasPrefix(name, title(domain)) {
			return title(domain) + name
		}
	}
	return name
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// route registers one endpoint under a permission.
func route[I, O any](s *Server, permission string, o huma.Operation, fn func(context.Context, *I) (*O, error)) {
	declare(&o, permission)
	huma.Register(s.api, o, func(ctx context.Context, in *I) (*O, error) {
		out, err := fn(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, o.OperationID, err)
		}
		return out, nil
	})
}

func declare(o *huma.Operation, permission string) {
	if permission == "" {
		panic("route " + o.OperationID + " has no permission")
	}
	if o.Extensions == nil {
		o.Extensions = map[string]any{}
	}
	o.Extensions["x-permission"] = permission
	if o.Metadata == nil {
		o.Metadata = map[string]any{}
	}
	o.Metadata["permission"] = permission
	o.Errors = append(o.Errors, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	// An empty list says that none is needed; no list would say nothing.
	o.Security = []map[string][]string{}
	if permission != auth.Public {
		o.Security = []map[string][]string{{"bearer": {}}, {"cookie": {}}}
		o.Errors = append(o.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	if o.Description == "" {
		o.Description = o.Summary + "."
	}
}

// identify finds the person and checks the route's permission, before the input is even looked at.
func (s *Server) identify(ctx huma.Context, next func(huma.Context)) {
	permission, _ := ctx.Operation().Metadata["permission"].(string)
	if permission == auth.Public {
		next(ctx)
		return
	}
	header := http.Header{"Authorization": {ctx.Header("Authorization")}, "Cookie": {ctx.Header("Cookie")}}
	id, err := s.person(ctx.Context(), header)
	if err == nil && permission != deferred && !auth.Allows(id.Role, permission) {
		err = s.deny(ctx.Context(), id, permission, ctx.Operation().OperationID, remote(ctx))
	}
	if err != nil {
		p := s.problem(ctx.Context(), ctx.Operation().OperationID, err)
		for name, values := range p.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
		_ = huma.WriteErr(s.api, ctx, p.GetStatus(), "", p)
		return
	}
	ctx = huma.WithContext(ctx, auth.WithIdentity(ctx.Context(), id))
	ctx = huma.WithValue(ctx, remoteKey{}, remote(ctx))
	ctx = huma.WithValue(ctx, baseKey{}, BaseURL(ctx.TLS() != nil, ctx.Host()))
	next(ctx)
}

// deferred marks routes whose permission depends on the operation and is checked at admission.
const deferred = "operation"

func (s *Server) person(ctx context.Context, header http.Header) (auth.Identity, error) {
	token := auth.AccessToken(header)
	if token == "" {
		return auth.Identity{}, errs.New(errs.Unauthorized, "not-signed-in", "Sign in first.")
	}
	return s.Auth.Identify(ctx, token)
}

type remoteKey struct{}

type baseKey struct{}

var hostName = regexp.MustCompile(`^[A-Za-z0-9.:\[\]_-]{1,255}$`)

// BaseURL is how the sender of a request reached this manager; empty where the Host header is no host.
func BaseURL(secure bool, host string) string {
	if !hostName.MatchString(host) {
		return ""
	}
	if secure {
		return "https://" + host
	}
	return "http://" + host
}

func remote(ctx huma.Context) string { return ctx.RemoteAddr() }

func remoteOf(ctx context.Context) string {
	r, _ := ctx.Value(remoteKey{}).(string)
	return r
}

func actor(ctx context.Context) admit.Actor {
	id, _ := auth.From(ctx)
	return admit.Actor{
		AccountID: &id.AccountID, Login: id.Login, RemoteAddress: remoteOf(ctx),
		Allowed: func(p string) bool { return auth.Allows(id.Role, p) },
	}
}

// Handler is the whole HTTP side of the API, with limits and protection against other origins.
func (s *Server) Handler() http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, toProblem(errs.New(errs.Denied, "cross-origin", "The request came from another origin.")))
	}))
	return s.measured(headers(protection.Handler(s.mux)))
}

// Raw mounts a plain handler under a permission: streams, proxies.
func (s *Server) Raw(pattern, permission string, h http.HandlerFunc) {
	if permission == "" {
		panic("route " + pattern + " has no permission")
	}
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if permission != auth.Public {
			id, err := s.person(r.Context(), r.Header)
			if err == nil && !auth.Allows(id.Role, permission) {
				err = s.deny(r.Context(), id, permission, pattern, r.RemoteAddr)
			}
			if err != nil {
				writeProblem(w, s.problem(r.Context(), pattern, err))
				return
			}
			r = r.WithContext(auth.WithIdentity(r.Context(), id))
		}
		h(w, r)
	})
}

// OpenAPI is the document.
func (s *Server) OpenAPI() *huma.OpenAPI { return s.api.OpenAPI() }

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		if !strings.HasPrefix(r.URL.Path, "/temporal") {
			h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "+
				"script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'")
		}
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// dbTimeout is the floor for work on the repository: a browser that turns away must not cost a connection.
const dbTimeout = 5 * time.Second
