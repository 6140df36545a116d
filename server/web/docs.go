package web

import (
	"net/http"

	"github.com/pgdrover/pgdrover/server/api"
	"github.com/pgdrover/pgdrover/server/auth"
	swgui "github.com/swaggest/swgui/v5emb"
)

// docsPolicy lets Swagger UI run its one inline script; the page shows the document alone and sends nothing elsewhere.
const docsPolicy = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; " +
	"connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"

// mountDocs serves the API's reference, rendered from the document.
func mountDocs(s *api.Server) {
	ui := swgui.New("pgdrover API", "/openapi.json", "/docs/")
	serve := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		ui.ServeHTTP(w, r)
	}
	s.Raw("GET /docs/", auth.Public, serve)
	s.Raw("GET /docs", auth.Public, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/docs/", http.StatusMovedPermanently)
	})
}
