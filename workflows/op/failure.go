package op

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
)

// Failure is what a person is told when a step or an operation fails.
type Failure struct {
	// Code is stable and machine readable, e.g. "port-in-use".
	Code string `json:"code" doc:"Stable machine-readable code"`
	// Message says what was tried and what came back.
	Message string `json:"message" doc:"What was tried and what came back"`
	// Hint says what to do.
	Hint string `json:"hint,omitempty" doc:"What to do about it"`
	// Step is where it happened.
	Step string `json:"step,omitempty" doc:"The step that failed"`
}

// Codes that more than one room uses; others are free text in kebab-case.
const (
	CodeInternal     = "internal"
	CodeCanceled     = "canceled"
	CodeStaleFence   = "stale-fence"
	CodeForbidden    = "forbidden"
	CodeBusy         = "busy"
	CodeNotFound     = "not-found"
	CodeInvalid      = "invalid"
	CodeDiskFull     = "disk-full"
	CodeHostOffline  = "host-offline"
	CodeTimeout      = "timeout"
	CodeCommandError = "command-failed"
)

// Permanent makes an error that no retry can mend: the step fails at once.
func Permanent(code, message, hint string, args ...any) error {
	f := Failure{Code: code, Message: message, Hint: hint}
	if len(args) > 0 {
		f.Message = fmt.Sprintf(message, args...)
	}
	return temporal.NewNonRetryableApplicationError(f.Message, code, nil, f)
}

// Transient makes an error worth another attempt.
func Transient(code string, cause error) error {
	return temporal.NewApplicationErrorWithCause(cause.Error(), code, cause, Failure{Code: code, Message: cause.Error()})
}

// FailureOf tells a person's view of any error out of a workflow or activity; nil for nil.
func FailureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	if temporal.IsCanceledError(err) {
		return &Failure{Code: CodeCanceled, Message: "The operation was canceled."}
	}
	step := ""
	if ae, ok := errors.AsType[*temporal.ActivityError](err); ok {
		step = ae.ActivityID()
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		f := Failure{Code: app.Type(), Message: app.Message()}
		var d Failure
		if app.HasDetails() && app.Details(&d) == nil && d.Message != "" {
			f = d
		}
		if f.Code == "" {
			f.Code = CodeInternal
		}
		f.Step = step
		return &f
	}
	if to, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		f := &Failure{Code: CodeTimeout, Message: "The step ran out of time: " + to.Error(), Step: step}
		if to.TimeoutType().String() == "ScheduleToStart" {
			f.Code, f.Message = CodeHostOffline, "The agent of the host did not take the task in time."
			f.Hint = "Check that pgdrover-agent runs on the host and can reach the gateway."
		}
		return f
	}
	return &Failure{Code: CodeInternal, Message: err.Error(), Step: step}
}
