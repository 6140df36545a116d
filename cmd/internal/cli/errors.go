package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses, for scripts.
const (
	exitGeneral     = 1
	exitUsage       = 2
	exitNotSignedIn = 3
	exitDenied      = 4
	exitNotFound    = 5
	exitConflict    = 6
	exitUnavailable = 7
	exitInterrupted = 130
)

// Error is an error with an exit status.
type Error struct {
	Exit int
	// Code is the stable code of a problem document, empty for errors of our own.
	Code   string
	Detail string
	Fields []Field
	// Hint says what to do.
	Hint string
	// Status is the HTTP status, 0 for errors of our own.
	Status int
	// Quiet is set where everything was told already.
	Quiet bool
	// Extra are further members of the problem document.
	Extra map[string]json.RawMessage
}

// Field is one field at fault.
type Field struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

func (e *Error) Error() string {
	if e.Code != "" {
		return e.Detail + " (" + e.Code + ")"
	}
	return e.Detail
}

func usageError(cmd *cobra.Command, format string, args ...any) *Error {
	return &Error{Exit: exitUsage, Detail: fmt.Sprintf(format, args...), Hint: "See " + cmd.CommandPath() + " --help"}
}

// Fail prints an error and returns the exit status; nil is success.
func (c *CLI) Fail(err error) int {
	if err == nil {
		return 0
	}
	e := asError(err)
	if e.Quiet {
		return e.Exit
	}
	fmt.Fprintln(c.Err, "error: "+clean(e.Error()))
	for _, f := range e.Fields {
		if f.Location == "" {
			fmt.Fprintln(c.Err, "  "+clean(f.Message))
			continue
		}
		fmt.Fprintln(c.Err, "  "+clean(f.Location)+": "+clean(f.Message))
	}
	if e.Hint != "" {
		fmt.Fprintln(c.Err, clean(e.Hint))
	}
	return e.Exit
}

func asError(err error) *Error {
	var e *Error
	var network net.Error
	var address *url.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Exit: exitInterrupted, Detail: "interrupted"}
	case errors.As(err, &address):
		where := address.URL
		if u, perr := url.Parse(address.URL); perr == nil {
			where = u.Scheme + "://" + u.Host
		}
		return &Error{
			Exit: exitUnavailable, Detail: fmt.Sprintf("the manager at %s cannot be reached: %v", where, address.Err),
			Hint: "Is it running, and is the address right? PGDROVER_SERVER or pgdrover login --server set it.",
		}
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Exit: exitUnavailable, Detail: "the connection to the manager broke: " + err.Error()}
	case strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "unknown flag"):
		return &Error{Exit: exitUsage, Detail: strings.TrimSpace(err.Error()), Hint: "See pgdrover --help"}
	}
	return &Error{Exit: exitGeneral, Detail: err.Error()}
}

var exits = map[int]int{
	http.StatusBadRequest: exitUsage, http.StatusUnprocessableEntity: exitUsage, http.StatusRequestEntityTooLarge: exitUsage,
	http.StatusUnauthorized: exitNotSignedIn, http.StatusForbidden: exitDenied, http.StatusNotFound: exitNotFound,
	http.StatusConflict: exitConflict, http.StatusPreconditionFailed: exitConflict, http.StatusTooManyRequests: exitUnavailable,
	http.StatusBadGateway: exitUnavailable, http.StatusServiceUnavailable: exitUnavailable,
	http.StatusGatewayTimeout: exitUnavailable,
}

// problem reads a problem document; anything else that answered with a failure is told by its status.
func problem(status int, body []byte) *Error {
	e := &Error{Exit: exitGeneral, Status: status}
	if exit, ok := exits[status]; ok {
		e.Exit = exit
	}
	var p struct {
		Detail string  `json:"detail"`
		Code   string  `json:"code"`
		Errors []Field `json:"errors"`
	}
	if err := json.Unmarshal(body, &p); err != nil || p.Detail == "" {
		e.Detail = fmt.Sprintf("the server answered %d %s", status, http.StatusText(status))
		return e
	}
	_ = json.Unmarshal(body, &e.Extra)
	e.Detail, e.Code, e.Fields = p.Detail, p.Code, p.Errors
	if general := "The request is not valid"; len(e.Fields) > 0 && strings.HasPrefix(e.Detail, general+": ") {
		// The rest is the first field's message, which has a line of its own.
		e.Detail = general + "."
	}
	for i, f := range e.Fields {
		e.Fields[i].Location = strings.TrimPrefix(strings.TrimPrefix(f.Location, "body."), "query.")
	}
	switch status {
	case http.StatusUnauthorized:
		e.Hint = "Sign in with: pgdrover login"
	case http.StatusConflict:
		e.Hint = holderHint(e.Extra["holder"])
	}
	return e
}

// holderHint tells how to look at the operation that holds a lock.
func holderHint(raw json.RawMessage) string {
	var holder map[string]any
	if json.Unmarshal(raw, &holder) != nil {
		return ""
	}
	for _, key := range []string{"operation_id", "id"} {
		if id, ok := holder[key].(string); ok {
			return "See pgdrover operations follow " + id + ", or queue behind it with --on-conflict wait"
		}
	}
	return ""
}

// transient tells whether the same request may succeed soon: the manager restarts, its repository is away.
func transient(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Exit == exitUnavailable
	}
	return !errors.Is(err, context.Canceled) && asError(err).Exit == exitUnavailable
}
