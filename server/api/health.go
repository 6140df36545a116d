package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/auth"
)

// health is outside /api: liveness, readiness, the manager's own metrics, the API's document.
func (s *Server) health() {
	s.Raw("GET /healthz", auth.Public, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	s.Raw("GET /readyz", auth.Public, s.ready)
	s.Raw("GET /metrics", auth.Public, func(w http.ResponseWriter, _ *http.Request) {
		st := s.DB.Pool.Stat()
		fmt.Fprintf(w, "pgdrover_repository_connections{state=\"in_use\"} %d\n", st.AcquiredConns())
		fmt.Fprintf(w, "pgdrover_repository_connections{state=\"idle\"} %d\n", st.IdleConns())
		fmt.Fprintf(w, "pgdrover_repository_acquire_wait_seconds_total %g\n", st.AcquireDuration().Seconds())
		metrics.WritePrometheus(w, true)
	})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	parts := map[string]string{"repository": "ok", "temporal": "ok"}
	status := http.StatusOK
	if err := s.DB.Pool.Ping(ctx); err != nil {
		parts["repository"], status = "unavailable", http.StatusServiceUnavailable
	}
	if s.TemporalReady != nil {
		if err := s.TemporalReady(ctx); err != nil {
			parts["temporal"], status = "unavailable", http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": status == http.StatusOK, "parts": parts})
}

// measured counts requests by a bounded set of labels.
func (s *Server) measured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(sw, r)
		kind := "web"
		if strings.HasPrefix(r.URL.Path, "/api/") {
			kind = "api"
		}
		metrics.GetOrCreateCounter(fmt.Sprintf(`pgdrover_http_requests_total{kind=%q,status="%dxx"}`, kind, sw.status/100)).Inc()
		if r.URL.Path != "/api/v1/events" {
			metrics.GetOrCreateHistogram(fmt.Sprintf(`pgdrover_http_request_seconds{kind=%q}`, kind)).UpdateDuration(start)
		}
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// NotReady answers for a manager whose repository or Temporal is not there yet.
func NotReady() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		p := toProblem(errs.New(errs.Unavailable, "not-ready", "The manager waits for its repository and Temporal. Try again soon."))
		p.retry = 2
		writeProblem(w, p)
	})
	return headers(mux)
}
