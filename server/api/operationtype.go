package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/server/admit"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// OperationType is what pages and programs need to know of an operation to offer it.
type OperationType struct {
	Name         string          `json:"name"`
	Title        string          `json:"title"`
	Doc          string          `json:"doc"`
	Group        string          `json:"group"`
	Target       string          `json:"target" enum:"none,host,instance"`
	Creates      string          `json:"creates,omitempty"`
	Unmanaged    bool            `json:"unmanaged" doc:"Also for instances that were only discovered"`
	Permission   string          `json:"permission"`
	Allowed      bool            `json:"allowed" doc:"You may ask for it"`
	Risk         string          `json:"risk" enum:"read,change,disrupt,destroy"`
	Cancel       string          `json:"cancel" enum:"anytime,never"`
	Schedulable  bool            `json:"schedulable"`
	Undo         string          `json:"undo,omitempty"`
	InputSchema  json.RawMessage `json:"input_schema" doc:"JSON Schema of the input, with x-group, x-advanced and x-widget as hints for forms"`
	OutputSchema json.RawMessage `json:"output_schema" doc:"JSON Schema of the result"`
}

type operationIn struct {
	DryRun         bool            `query:"dry_run" doc:"Only say what it would do"`
	OnConflict     string          `query:"on_conflict" enum:"refuse,wait" default:"refuse" doc:"When another operation holds the object"`
	IdempotencyKey string          `header:"Idempotency-Key" maxLength:"200" doc:"Makes a repeated request the same operation"`
	Prefer         string          `header:"Prefer" maxLength:"100" doc:"wait=N: answer with the ended operation if it ends within N seconds (at most 60)"`
	Body           json.RawMessage `required:"true"`
}

// operationTypes mounts one endpoint for each operation, made from its declaration.
func (s *Server) operationTypes() {
	types := make([]OperationType, 0, len(workflows.All))
	for _, o := range workflows.All {
		s.mount(o)
		info := o.Info()
		types = append(types, OperationType{
			Name: info.Name, Title: info.Title, Doc: info.Doc, Group: info.Group, Target: string(info.Target),
			Creates:   string(info.Creates),
			Unmanaged: info.Unmanaged, Permission: info.Permission, Risk: string(info.Risk), Cancel: string(info.Cancel),
			Schedulable: info.Schedulable, Undo: info.Undo, InputSchema: standalone(o.InputType()),
			OutputSchema: standalone(o.OutputType()),
		})
	}
	type none struct{}
	type out struct{ Body Page[OperationType] }
	route(s, "operation.read", huma.Operation{
		OperationID: "operation-type-list", Method: http.MethodGet, Path: "/api/v1/operation-types",
		Summary: "List what operations there are",
		Tags:    []string{"operation"},
	}, func(ctx context.Context, _ *none) (*out, error) {
		id, _ := auth.From(ctx)
		p := Page[OperationType]{Items: make([]OperationType, len(types)), Total: int64(len(types))}
		for i, t := range types {
			t.Allowed = auth.Allows(id.Role, t.Permission)
			p.Items[i] = t
		}
		return &out{Body: p}, nil
	})
}

// standalone is a type's schema with nothing to look up elsewhere.
func standalone(t reflect.Type) json.RawMessage {
	r := huma.NewMapRegistry("#/$defs/", schemaName)
	sc := r.Schema(t, false, t.Name())
	annotate(sc, t)
	defs := maps.Clone(r.Map())
	maps.DeleteFunc(defs, func(_ string, d *huma.Schema) bool { return d == sc })
	if len(defs) > 0 {
		sc.Extensions = map[string]any{"$defs": defs}
	}
	raw, err := json.Marshal(sc)
	if err != nil {
		panic("schema of " + t.Name() + ": " + err.Error())
	}
	return raw
}

// annotate carries the x- tags of fields into the schema, as hints for forms.
func annotate(sc *huma.Schema, t reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := sc.Properties[name]
		if p == nil {
			continue
		}
		for _, tag := range []string{"x-group", "x-advanced", "x-widget"} {
			if v, ok := f.Tag.Lookup(tag); ok {
				if p.Extensions == nil {
					p.Extensions = map[string]any{}
				}
				p.Extensions[tag] = v
			}
		}
		if f.Type == reflect.TypeFor[op.Secret]() {
			p.WriteOnly = true
		}
	}
}

func (s *Server) mount(o op.Operation) {
	info := o.Info()
	registry := s.api.OpenAPI().Components.Schemas
	body := registry.Schema(o.InputType(), true, "")
	if sc := registry.SchemaFromRef(body.Ref); sc != nil {
		annotate(sc, o.InputType())
	}
	hop := huma.Operation{
		OperationID: info.Name, Method: http.MethodPost, Path: "/api/v1/operations/" + info.Name, Summary: info.Title,
		Description: info.Doc,
		Tags:        []string{"operation", info.Group}, DefaultStatus: http.StatusAccepted, MaxBodyBytes: 1 << 20,
		Errors: []int{http.StatusNotFound, http.StatusConflict},
		RequestBody: &huma.RequestBody{
			Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: body}},
		},
		Extensions: map[string]any{
			"x-operation-permission": info.Permission, "x-target": info.Target, "x-risk": info.Risk, "x-schedulable": info.Schedulable,
		},
		Responses: map[string]*huma.Response{"200": {
			Description: "The ended operation, where Prefer: wait was given and it ended in time",
			Content: map[string]*huma.MediaType{"application/json": {
				Schema: registry.Schema(reflect.TypeFor[Operation](), true, ""),
			}},
		}},
	}
	// The permission of the operation itself is checked, and its refusal audited, at admission.
	route(s, deferred, hop, func(ctx context.Context, in *operationIn) (*operationOut, error) {
		row, err := s.Admit.Admit(ctx, admit.Request{
			Name: info.Name, Input: in.Body, Actor: actor(ctx), IdempotencyKey: in.IdempotencyKey, DryRun: in.DryRun,
			WaitForLocks: in.OnConflict == "wait",
		})
		if err != nil {
			return nil, err
		}
		if wait := waitOf(in.Prefer); wait > 0 {
			return s.await(ctx, row.ID, wait)
		}
		return s.operationByID(ctx, row.ID, http.StatusAccepted)
	})
}

// waitOf reads RFC 7240's wait preference.
func waitOf(prefer string) time.Duration {
	for part := range strings.SplitSeq(prefer, ",") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(part), "wait="); ok {
			n, err := strconv.Atoi(v)
			if err == nil && n > 0 {
				return min(time.Duration(n)*time.Second, time.Minute)
			}
		}
	}
	return 0
}

// await answers when the operation has ended or the time is over, whichever is first.
func (s *Server) await(ctx context.Context, id uuid.UUID, wait time.Duration) (*operationOut, error) {
	sub := s.Events.Subscribe()
	defer sub.Close()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	// Events may be lost while the repository was away; look from time to time all the same.
	poll := time.NewTicker(2 * time.Second)
	defer poll.Stop()
	for {
		out, err := s.operationByID(ctx, id, http.StatusAccepted)
		if err != nil {
			return nil, err
		}
		if op.State(out.Body.State).Final() {
			out.Status, out.RetryAfter = http.StatusOK, "wait"
			return out, nil
		}
		if ended, err := awaitEvent(ctx, sub.C, id.String(), timer.C, poll.C); ended || err != nil {
			return out, err
		}
	}
}
