package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// document is what the command line reads of the OpenAPI document.
type document struct {
	Paths      map[string]map[string]endpoint `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

type endpoint struct {
	OperationID string      `json:"operationId"`
	Summary     string      `json:"summary"`
	Description string      `json:"description"`
	Tags        []string    `json:"tags"`
	Parameters  []parameter `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema *schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
	Target      string `json:"x-target"`
	Risk        string `json:"x-risk"`
	Permission  string `json:"x-operation-permission"`
	Schedulable bool   `json:"x-schedulable"`
}

type parameter struct {
	Name        string  `json:"name"`
	In          string  `json:"in"`
	Description string  `json:"description"`
	Schema      *schema `json:"schema"`
}

type schema struct {
	Ref         string             `json:"$ref"`
	Type        types              `json:"type"`
	Format      string             `json:"format"`
	Description string             `json:"description"`
	Enum        []any              `json:"enum"`
	Default     json.RawMessage    `json:"default"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Items       *schema            `json:"items"`
	Additional  json.RawMessage    `json:"additionalProperties"`
	Examples    []any              `json:"examples"`
	Advanced    string             `json:"x-advanced"`
	Widget      string             `json:"x-widget"`
	MaxLength   int                `json:"maxLength"`
}

// types is a schema's type: one name, or several of which "null" may be one.
type types []string

func (t *types) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = types{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// name is the type itself, empty where there is none or more than one.
func (t types) name() string {
	rest := slices.DeleteFunc(slices.Clone(t), func(s string) bool { return s == "null" })
	if len(rest) != 1 {
		return ""
	}
	return rest[0]
}

func (t types) nullable() bool { return slices.Contains(t, "null") }

const operationsPath = "/api/v1/operations/"

func parseDocument(b []byte) (*document, error) {
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	return &d, nil
}

// resolve follows references within the document.
func (d *document) resolve(s *schema) *schema {
	for range 10 {
		if s == nil || s.Ref == "" {
			break
		}
		target := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
		if target == nil {
			break
		}
		if s.Description != "" {
			described := *target
			described.Description = s.Description
			target = &described
		}
		s = target
	}
	if s == nil {
		return &schema{}
	}
	return s
}

// operation is one operation type.
type operation struct {
	endpoint
	Name, Group, Verb string
	Fields            []field
}

// operations lists the operation types by name.
func (d *document) operations() []operation {
	var all []operation
	for path, methods := range d.Paths {
		name, ok := strings.CutPrefix(path, operationsPath)
		post, isPost := methods["post"]
		if !ok || !isPost || strings.ContainsAny(name, "/{") {
			continue
		}
		o := operation{endpoint: post, Name: name}
		o.Group, o.Verb = d.place(o)
		o.Fields = d.fields(post.RequestBody.Content["application/json"].Schema)
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// place splits an operation's name into group and verb: instance-create is "instances create".
func (d *document) place(o operation) (group, verb string) {
	for _, t := range o.Tags {
		if v, ok := strings.CutPrefix(o.Name, t+"-"); ok && t != "operation" {
			return t, v
		}
	}
	group, verb, _ = strings.Cut(o.Name, "-")
	return group, verb
}

// find gives an operation by its name.
func (d *document) find(name string) (operation, bool) {
	all := d.operations()
	i := slices.IndexFunc(all, func(o operation) bool { return o.Name == name })
	if i < 0 {
		return operation{}, false
	}
	return all[i], true
}

// endpoint gives an endpoint by its operation id.
func (d *document) endpoint(id string) (path string, e endpoint) {
	for path, methods := range d.Paths {
		for _, e := range methods {
			if e.OperationID == id {
				return path, e
			}
		}
	}
	return "", endpoint{}
}

// listOf is the path where objects of a kind are found by name, empty where there is none.
func (d *document) listOf(kind string) string {
	path := "/api/v1/" + plural(kind)
	if _, ok := d.Paths[path]["get"]; !ok {
		return ""
	}
	return path
}

// searchable tells whether a list takes a text to look for.
func (d *document) searchable(path string) bool {
	return slices.ContainsFunc(d.Paths[path]["get"].Parameters, func(p parameter) bool { return p.Name == "q" })
}
