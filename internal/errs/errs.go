// Package errs is the vocabulary of errors that reach people: a kind, a stable code, a sentence, what to do.
// Rooms make them, one funnel (server/api) turns them into RFC 9457 problem documents. Causes are wrapped and
// logged, never shown.
package errs

import (
	"errors"
	"fmt"
)

// Kind decides the HTTP status.
type Kind int

// The kinds.
const (
	Internal     Kind = iota // 500
	Invalid                  // 422
	Unauthorized             // 401
	Denied                   // 403
	NotFound                 // 404
	Conflict                 // 409
	Stale                    // 412
	TooMany                  // 429
	Unavailable              // 503
)

// Field is one thing wrong with an input.
type Field struct {
	// Location as in the request, e.g. body.port.
	Location string
	Message  string
}

// Error is an error for a person.
type Error struct {
	Kind   Kind
	Code   string
	Detail string
	Fields []Field
	// Extra members of the problem document, e.g. the holder of a lock.
	Extra map[string]any
	// RetryAfterSeconds is sent as Retry-After where it is not 0.
	RetryAfterSeconds int
	cause             error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.cause)
	}
	return e.Code + ": " + e.Detail
}

func (e *Error) Unwrap() error { return e.cause }

// New makes an error of a kind.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// With adds a member to the problem document.
func (e *Error) With(key string, value any) *Error {
	if e.Extra == nil {
		e.Extra = map[string]any{}
	}
	e.Extra[key] = value
	return e
}

// Because keeps the cause for the log.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// At names a field at fault.
func (e *Error) At(location, message string) *Error {
	e.Fields = append(e.Fields, Field{Location: location, Message: message})
	return e
}

// As finds an Error in a chain.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
