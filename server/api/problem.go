package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/auth"
)

// Problem is an RFC 9457 problem document with a stable code.
type Problem struct {
	Type   string         `json:"type" doc:"A URI reference that identifies the problem" example:"/problems/locked"`
	Title  string         `json:"title" doc:"The kind of problem"`
	Status int            `json:"status" doc:"The HTTP status"`
	Detail string         `json:"detail" doc:"What is wrong, and what to do"`
	Code   string         `json:"code" doc:"Stable machine-readable code" example:"locked"`
	Errors []ProblemField `json:"errors,omitempty" doc:"The fields at fault"`

	extra map[string]any
	retry int
}

// ProblemField is one field at fault.
type ProblemField struct {
	Location string `json:"location" doc:"Where, e.g. body.port"`
	Message  string `json:"message"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problem documents.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// MarshalJSON puts the extra members beside the standard ones.
func (p *Problem) MarshalJSON() ([]byte, error) {
	type plain Problem
	b, err := json.Marshal((*plain)(p))
	if err != nil || len(p.extra) == 0 {
		return b, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	maps.Copy(all, p.extra)
	return json.Marshal(all)
}

var statuses = map[errs.Kind]int{
	errs.Internal: http.StatusInternalServerError, errs.Invalid: http.StatusUnprocessableEntity,
	errs.Unauthorized: http.StatusUnauthorized, errs.Denied: http.StatusForbidden, errs.NotFound: http.StatusNotFound,
	errs.Conflict: http.StatusConflict, errs.Stale: http.StatusPreconditionFailed, errs.TooMany: http.StatusTooManyRequests,
	errs.Unavailable: http.StatusServiceUnavailable,
}

func toProblem(e *errs.Error) *Problem {
	p := problemOf(statuses[e.Kind], e.Code, e.Detail)
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, ProblemField{Location: f.Location, Message: f.Message})
	}
	p.extra, p.retry = e.Extra, e.RetryAfterSeconds
	return p
}

func problemOf(status int, code, detail string) *Problem {
	return &Problem{Type: "/problems/" + code, Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

// problem is the funnel: any error becomes a problem document here and nowhere else.
func (s *Server) problem(ctx context.Context, route string, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if e, ok := errs.As(err); ok {
		if e.Kind == errs.Internal {
			s.Log.ErrorContext(ctx, "request failed", "route", route, "error", err)
		}
		return toProblem(e)
	}
	switch {
	case errors.Is(err, db.ErrBadCursor):
		return toProblem(errs.New(errs.Invalid, "invalid-cursor", "The cursor does not belong to this list. Begin at the first page."))
	case db.IsNotFound(err):
		return toProblem(errs.New(errs.NotFound, "not-found", "There is no such object."))
	case errors.Is(err, context.Canceled):
		return problemOf(499, "canceled", "The request was canceled by its sender.")
	case db.IsUnavailable(err), errors.Is(err, context.DeadlineExceeded):
		s.Log.WarnContext(ctx, "the repository is away", "route", route, "error", err)
		p := toProblem(errs.New(errs.Unavailable, "repository-unavailable",
			"The repository database cannot be reached. Try again soon."))
		p.retry = 5
		return p
	}
	s.Log.ErrorContext(ctx, "request failed", "route", route, "error", err)
	return problemOf(http.StatusInternalServerError, "internal", "Something went wrong here; it has been logged.")
}

// newProblem replaces huma's error model, so that validation speaks like everything else.
func newProblem(status int, msg string, details ...error) huma.StatusError {
	for _, d := range details {
		if p, ok := errors.AsType[*Problem](d); ok {
			return p
		}
	}
	code := strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "-")
	if status == http.StatusUnprocessableEntity || status == http.StatusBadRequest {
		code = "invalid-input"
	}
	p := problemOf(status, code, msg)
	for _, d := range details {
		var h huma.ErrorDetailer
		if errors.As(d, &h) {
			e := h.ErrorDetail()
			p.Errors = append(p.Errors, ProblemField{Location: e.Location, Message: e.Message})
		} else if d != nil {
			p.Errors = append(p.Errors, ProblemField{Message: d.Error()})
		}
	}
	if len(p.Errors) > 0 {
		p.Detail = "The request is not valid: " + strings.TrimPrefix(p.Errors[0].Location+": ", ": ") + p.Errors[0].Message + "."
		slices.SortFunc(p.Errors, func(a, b ProblemField) int { return strings.Compare(a.Location, b.Location) })
	}
	return p
}

// GetHeaders adds Retry-After to the answer.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	return h
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	maps.Copy(w.Header(), p.GetHeaders())
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// deny audits a refusal and makes its error.
func (s *Server) deny(ctx context.Context, id auth.Identity, permission, route, remote string) error {
	if err := s.DB.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: id.Login, AccountID: &id.AccountID, RemoteAddress: remote, Action: route, Result: "refused",
		Detail: json.RawMessage(`{}`),
	}); err != nil {
		return err
	}
	return errs.New(errs.Denied, "permission-denied", "You need the permission %s to do this.", permission).
		With("permission", permission)
}

// NotFound answers for paths that no route has.
func NotFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, toProblem(errs.New(errs.NotFound, "no-such-route", "There is nothing at %s %s.", r.Method, r.URL.Path)))
}
