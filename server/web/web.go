// Package web serves the web app, Temporal's UI behind the manager's sign-in, and the API's reference.
package web

import (
	"bytes"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/server/api"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/webapp"
)

// Mount puts the pages onto the API's handler. temporal is nil where Temporal's UI is not served here.
func Mount(s *api.Server, temporal http.Handler) {
	if temporal != nil {
		s.Raw("/temporal/", "system.temporal", temporal.ServeHTTP)
	}
	mountDocs(s)
	s.Raw("/{path...}", auth.Public, app(webapp.FS()))
}

const notBuilt = `<!doctype html><title>pgdrover</title><p>The web app was not built into this program. Build it with
<code>make build</code>. The API is at <a href="/openapi.json">/openapi.json</a>.`

// app serves files, and the app's one page for every path that is a place in it. Hashed files may be kept for ever.
func app(files fs.FS) http.HandlerFunc {
	server := http.FileServerFS(files)
	return func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if info, err := fs.Stat(files, name); err == nil && !info.IsDir() && name != "index.html" {
			if strings.HasPrefix(name, "assets/") {
				w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			}
			server.ServeHTTP(w, r)
			return
		}
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !read || strings.HasPrefix(name, "assets/") || strings.HasPrefix(name, "api/") {
			api.NotFound(w, r)
			return
		}
		page, err := fs.ReadFile(files, "index.html")
		if err != nil {
			page = []byte(notBuilt)
		}
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "index.html", time.Time{}, bytes.NewReader(page))
	}
}
