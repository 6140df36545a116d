// Package op is the operation framework. An operation is declared once with Define: its spec and its
// workflow function. Endpoint, schema, permission, audit, locks, pages, form, CLI command, schedule and dry
// run are derived from that by the other floors. Code here is deterministic: it runs inside workflows.
//
// Callers: workflows/<domain> define operations, worker registers them, server/admit admits them,
// server/api mounts them.
package op

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"time"

	"go.temporal.io/sdk/workflow"
)

// TargetKind is the kind of object an operation works on; In has a field `<kind>_id` of that object.
type TargetKind string

// The kinds of objects.
const (
	TargetNone     TargetKind = "none"
	TargetHost     TargetKind = "host"
	TargetInstance TargetKind = "instance"
)

// Risk tells people and approval rules what an operation can do to a running service.
type Risk string

// The risks, rising.
const (
	RiskRead    Risk = "read"
	RiskChange  Risk = "change"
	RiskDisrupt Risk = "disrupt"
	RiskDestroy Risk = "destroy"
)

// CancelRule says when a person may cancel.
type CancelRule string

// The cancel rules.
const (
	// CancelAnytime until the point of no return, if the operation has one.
	CancelAnytime CancelRule = "anytime"
	// CancelNever refuses: the operation is too short or cannot be undone.
	CancelNever CancelRule = "never"
)

// LockMode is exclusive or shared.
type LockMode string

// The lock modes.
const (
	Exclusive LockMode = "exclusive"
	Shared    LockMode = "shared"
)

// Lock is one object an operation must hold while it lives.
type Lock struct {
	// Kind and ID name the object: instance, host, host-port, host-directory, instance-name.
	Kind string   `json:"kind"`
	ID   string   `json:"id"`
	Mode LockMode `json:"mode"`
}

// Key is how locks, fences and agents name the object.
func (l Lock) Key() string { return l.Kind + ":" + l.ID }

// FieldError is one thing wrong with an input.
type FieldError struct {
	// Field is the JSON name, dotted for nested ones.
	Field   string
	Message string
}

func (e FieldError) Error() string { return e.Field + ": " + e.Message }

// Spec declares everything about an operation but its body.
type Spec[In any] struct {
	// Name is kebab-case, without dots, and never changes: it is the workflow type, the route and the schema's name.
	Name string
	// Title is the name people read, e.g. "Restart instance".
	Title string
	// Doc says in a paragraph what it does, what stops, and what it needs.
	Doc string
	// Group is the domain, e.g. "instance".
	Group  string
	Target TargetKind
	// Unmanaged operations also take instances that were only discovered.
	Unmanaged bool
	// Creates names the kind of object the operation makes; its id is allocated at admission.
	Creates TargetKind
	// Permission that the caller needs, e.g. "instance.operate".
	Permission string
	Risk       Risk
	// Locks to take; nil means the target exclusively. They are taken together or not at all.
	Locks func(in In) []Lock
	// Needs are the agent verbs without which it cannot run.
	Needs []string
	// Defaults fills what the caller left out; nil if the struct tags suffice.
	Defaults func(in *In)
	// Check refuses inputs beyond what the schema says. Pure.
	Check func(in In) []FieldError
	// Deadline after which a person is told that it is late; it kills nothing.
	Deadline    time.Duration
	Cancel      CancelRule
	Schedulable bool
	// Undo says in a sentence what is undone when it fails or is canceled.
	Undo string
	// From is the status an instance has before the operation makes sense, running if empty; tests prepare it.
	From string
}

// Info is a Spec without its types, for registries, pages and the OpenAPI document.
type Info struct {
	Name, Title, Doc, Group string
	Target, Creates         TargetKind
	Unmanaged               bool
	Permission              string
	Risk                    Risk
	Needs                   []string
	Deadline                time.Duration
	Cancel                  CancelRule
	Schedulable             bool
	Undo                    string
	From                    string
}

// Operation is a defined operation with its types erased.
type Operation interface {
	Info() Info
	// InputType and OutputType are struct types; schemas are made from them.
	InputType() reflect.Type
	OutputType() reflect.Type
	// Prepare decodes an input strictly, applies defaults and checks it. The returned value is a pointer to In.
	Prepare(raw json.RawMessage) (any, []FieldError, error)
	// Locks of a prepared input.
	Locks(in any) []Lock
	// TargetID of a prepared input, empty for TargetNone.
	TargetID(in any) string
	// Workflow is the function to register under Info().Name.
	Workflow() func(workflow.Context, Envelope) (Outcome, error)
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)

// Define declares an operation. It panics on a spec that breaks a rule: that is a programmer's error.
func Define[In, Out any](spec Spec[In], run func(ctx workflow.Context, in In) (Out, error)) Operation {
	if !nameRule.MatchString(spec.Name) {
		panic(fmt.Sprintf("operation name %q is not kebab-case", spec.Name))
	}
	if spec.Title == "" || spec.Doc == "" || spec.Permission == "" || spec.Risk == "" || spec.Target == "" || spec.Group == "" {
		panic(fmt.Sprintf("operation %s: title, doc, group, target, permission and risk are required", spec.Name))
	}
	if spec.Cancel == "" {
		spec.Cancel = CancelAnytime
	}
	d := &definition[In, Out]{spec: spec, run: run}
	if spec.Target != TargetNone {
		d.targetField = fieldByJSON(reflect.TypeFor[In](), string(spec.Target)+"_id")
		if d.targetField == nil {
			panic(fmt.Sprintf("operation %s: input has no field %s_id", spec.Name, spec.Target))
		}
	}
	return d
}

type definition[In, Out any] struct {
	spec        Spec[In]
	run         func(workflow.Context, In) (Out, error)
	targetField []int
}

func (d *definition[In, Out]) Info() Info {
	s := d.spec
	return Info{
		Name: s.Name, Title: s.Title, Doc: s.Doc, Group: s.Group, Target: s.Target, Creates: s.Creates, Unmanaged: s.Unmanaged,
		Permission: s.Permission, Risk: s.Risk, Needs: s.Needs, Deadline: s.Deadline, Cancel: s.Cancel,
		Schedulable: s.Schedulable, Undo: s.Undo, From: s.From,
	}
}

func (d *definition[In, Out]) InputType() reflect.Type  { return reflect.TypeFor[In]() }
func (d *definition[In, Out]) OutputType() reflect.Type { return reflect.TypeFor[Out]() }

func (d *definition[In, Out]) Prepare(raw json.RawMessage) (any, []FieldError, error) {
	in := new(In)
	if err := ApplyDefaults(in); err != nil {
		return nil, nil, fmt.Errorf("defaults of %s: %w", d.spec.Name, err)
	}
	if err := decodeStrict(raw, in); err != nil {
		return nil, []FieldError{{Field: "body", Message: err.Error()}}, nil //nolint:nilerr // the caller's fault, told as such
	}
	if d.spec.Defaults != nil {
		d.spec.Defaults(in)
	}
	if d.spec.Check != nil {
		if fe := d.spec.Check(*in); len(fe) > 0 {
			return nil, fe, nil
		}
	}
	return in, nil, nil
}

func (d *definition[In, Out]) Locks(in any) []Lock {
	if d.spec.Locks != nil {
		return d.spec.Locks(*in.(*In))
	}
	if d.spec.Target == TargetNone {
		return nil
	}
	return []Lock{{Kind: string(d.spec.Target), ID: d.TargetID(in), Mode: Exclusive}}
}

func (d *definition[In, Out]) TargetID(in any) string {
	if d.targetField == nil {
		return ""
	}
	return reflect.ValueOf(in).Elem().FieldByIndex(d.targetField).String()
}
