package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/errs"
)

// problem is an RFC 9457 problem document, as the API's.
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail"`
	Code   string         `json:"code"`
	Errors []problemField `json:"errors,omitempty"`
}

type problemField struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

var statuses = map[errs.Kind]int{
	errs.Internal: http.StatusInternalServerError, errs.Invalid: http.StatusUnprocessableEntity,
	errs.Unauthorized: http.StatusUnauthorized, errs.Denied: http.StatusForbidden, errs.NotFound: http.StatusNotFound,
	errs.Conflict: http.StatusConflict, errs.Stale: http.StatusPreconditionFailed, errs.TooMany: http.StatusTooManyRequests,
	errs.Unavailable: http.StatusServiceUnavailable,
}

var (
	errInternal = errs.New(errs.Internal, "internal", "Something went wrong in the gateway; it has been logged.")
	errTooLarge = errs.New(errs.Invalid, "too-large", "The request's body is too large.")
)

func unavailable(cause error) *errs.Error {
	return errs.New(errs.Unavailable, "repository-unavailable", "The repository cannot be reached. Try again soon.").Because(cause)
}

// asError finds the error for a person in any error.
func asError(err error) *errs.Error {
	if e, ok := errs.As(err); ok {
		return e
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return errTooLarge
	case db.IsUnavailable(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable(err)
	}
	return errInternal
}

func (g *Gateway) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	if e.Kind == errs.Internal {
		g.log.ErrorContext(r.Context(), "agent's request failed", "path", r.URL.Path, "error", err)
	}
	if e.Kind == errs.Unavailable {
		w.Header().Set("Retry-After", "2")
	}
	if e.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfterSeconds))
	}
	status := statuses[e.Kind]
	if e.Code == errTooLarge.Code {
		status = http.StatusRequestEntityTooLarge
	}
	p := problem{Type: "/problems/" + e.Code, Title: http.StatusText(status), Status: status, Detail: e.Detail, Code: e.Code}
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, problemField{Location: f.Location, Message: f.Message})
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p) //nolint:errchkjson // the peer went away
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // the peer went away
}

// readJSON refuses bodies beyond limit and what is no JSON. Unknown fields pass: an agent may be newer than we.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	err := dec.Decode(v)
	if err == nil {
		return nil
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return errTooLarge
	}
	return errs.New(errs.Invalid, "invalid-input", "The request is not valid JSON of the expected form: %v.", err)
}
