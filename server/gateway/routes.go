package gateway

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/errs"
)

// The bodies an agent may send, in bytes.
const (
	maxSmallBody  = 64 << 10
	maxReportBody = 16 << 20
	maxOutputBody = 2 << 20

	// requestTime bounds a request as a whole, its body included.
	requestTime = 30 * time.Second
)

func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+host.PathEnroll, g.plain(g.enroll))
	mux.Handle("POST "+host.PathRenew, g.known(g.renew))
	mux.Handle("POST "+host.PathReports, g.known(g.reports))
	mux.Handle("GET "+host.PathConfig, g.known(g.agentConfig))
	mux.Handle("POST "+host.PathSecret, g.known(g.secret))
	mux.Handle("POST "+host.PathOutput, g.known(g.output))
	mux.Handle("/", g.plain(func(_ http.ResponseWriter, r *http.Request) error {
		return errs.New(errs.NotFound, "not-found", "The gateway has no %s %s.", r.Method, r.URL.Path)
	}))
	return mux
}

// plain serves those who have no certificate yet.
func (g *Gateway) plain(fn func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				g.log.Error("panic in an agent's request", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				g.writeProblem(w, r, errInternal)
			}
		}()
		control := http.NewResponseController(w)
		deadline := time.Now().Add(requestTime)
		// Not every kind of connection can do it; the others are bound by the pings.
		_ = control.SetReadDeadline(deadline)
		_ = control.SetWriteDeadline(deadline)
		if err := fn(w, r); err != nil {
			g.writeProblem(w, r, err)
		}
	})
}

// known serves agents with a good certificate.
func (g *Gateway) known(fn func(http.ResponseWriter, *http.Request, caller) error) http.Handler {
	return g.plain(func(w http.ResponseWriter, r *http.Request) error {
		c, err := g.identities.caller(r.Context(), r.TLS, hostOf(r.RemoteAddr))
		if err != nil {
			if asError(err).Kind == errs.Unauthorized {
				g.refuse(refusal{caller: c, what: r.Method + " " + r.URL.Path, reason: asError(err).Code})
			}
			return err
		}
		g.presence.seen(g.hosts.get(c.hostID), connOf(r.Context()), c.serial)
		return fn(w, r, c)
	})
}
