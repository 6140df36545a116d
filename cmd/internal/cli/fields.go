package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// kind is how a field is given on the command line.
type kind int

const (
	kindString kind = iota
	kindInteger
	kindNumber
	kindBool
	kindSecret // by prompt, environment, standard input or file
	kindRef    // an object, by name or id
	kindList   // repeated
	kindMap    // repeated key=value
	kindJSON   // all else
)

// field is a member of an operation's input, or a parameter of a list, as a flag.
type field struct {
	// Name is the member's, Flag the flag's.
	Name, Flag string
	Kind       kind
	Doc        string
	Enum       []string
	Default    json.RawMessage
	Required   bool
	Advanced   bool
	Example    string
	// Object is the kind of object a kindRef names.
	Object string
	// Element is the kind of a list's items or a map's values.
	Element  kind
	Nullable bool
	// Long texts may come from a file.
	Long bool
}

// fields are those of an object's schema: the required ones first, the advanced ones last.
func (d *document) fields(s *schema) []field {
	s = d.resolve(s)
	var all []field
	for name, p := range s.Properties {
		f := d.field(name, p)
		f.Required = slices.Contains(s.Required, name)
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b field) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.Flag, b.Flag))
	})
	return all
}

func (f field) rank() int {
	switch {
	case f.Required && f.Kind == kindRef:
		return 0
	case f.Required && len(f.Default) == 0:
		return 1
	case f.Advanced:
		return 3
	}
	return 2
}

// longText is the length from which a text is offered to come from a file.
const longText = 10000

func (d *document) field(name string, s *schema) field {
	s = d.resolve(s)
	f := field{
		Name: name, Flag: strings.ReplaceAll(name, "_", "-"), Doc: s.Description, Default: s.Default, Advanced: s.Advanced == "true",
		Nullable: s.Type.nullable(), Long: s.Widget != "" || s.MaxLength >= longText,
	}
	for _, v := range s.Enum {
		f.Enum = append(f.Enum, fmt.Sprint(v))
	}
	if len(s.Examples) > 0 {
		f.Example = fmt.Sprint(s.Examples[0])
	}
	f.Kind = d.kind(s)
	if object, ok := strings.CutSuffix(name, "_id"); ok && s.Format == "uuid" && d.listOf(object) != "" {
		f.Kind, f.Object, f.Flag = kindRef, object, strings.ReplaceAll(object, "_", "-")
	}
	switch f.Kind {
	case kindList:
		item := d.resolve(s.Items)
		f.Element, f.Nullable = d.kind(item), item.Type.nullable()
		for _, v := range item.Enum {
			f.Enum = append(f.Enum, fmt.Sprint(v))
		}
	case kindMap:
		var value schema
		_ = json.Unmarshal(s.Additional, &value) // kind looked at it already
		f.Element = d.kind(d.resolve(&value))
	default:
	}
	return f
}

func (d *document) kind(s *schema) kind {
	switch s.Type.name() {
	case "string":
		if s.Format == "password" {
			return kindSecret
		}
		return kindString
	case "integer":
		return kindInteger
	case "number":
		return kindNumber
	case "boolean":
		return kindBool
	case "array":
		if d.kind(d.resolve(s.Items)).simple() {
			return kindList
		}
	case "object":
		var value schema
		if len(s.Properties) == 0 && json.Unmarshal(s.Additional, &value) == nil && d.kind(d.resolve(&value)).simple() {
			return kindMap
		}
	}
	return kindJSON
}

func (k kind) simple() bool {
	return k == kindString || k == kindInteger || k == kindNumber || k == kindBool
}

// parameters are a list's filters as fields; those of paging are not for people.
func (d *document) parameters(e endpoint) []field {
	var all []field
	for _, p := range e.Parameters {
		if p.In != "query" || p.Name == "cursor" || p.Name == "limit" {
			continue
		}
		f := d.field(p.Name, p.Schema)
		f.Doc = cmp.Or(f.Doc, p.Description)
		if p.Name == "q" {
			f.Flag = "search"
		}
		all = append(all, f)
	}
	return all
}
