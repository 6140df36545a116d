package house_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pgdrover/pgdrover/server/api"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/stretchr/testify/require"
)

// document is the OpenAPI document as far as the tests look at it.
type document struct {
	Paths      map[string]map[string]route
	Components struct{ Schemas map[string]schema }
}

type route struct {
	OperationID string              `json:"operationId"`
	Permission  string              `json:"x-permission"`
	OfOperation string              `json:"x-operation-permission"`
	Security    []map[string][]any  `json:"security"`
	Responses   map[string]struct{} `json:"responses"`
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	} `json:"requestBody"`
}

type schema struct {
	Ref                 string `json:"$ref"`
	Description         string
	Properties          map[string]schema
	Items               *schema
	OneOf, AnyOf, AllOf []schema
	// AdditionalProperties is a schema or a boolean.
	AdditionalProperties json.RawMessage
}

func read(t *testing.T) document {
	t.Helper()
	raw, err := api.Document()
	require.NoError(t, err)
	var d document
	require.NoError(t, json.Unmarshal(raw, &d))
	require.NotEmpty(t, d.Paths)
	return d
}

// routes by method and path.
func (d document) routes() map[string]route {
	out := map[string]route{}
	for path, item := range d.Paths {
		for method, r := range item {
			out[strings.ToUpper(method)+" "+path] = r
		}
	}
	return out
}

// Names of operations are in histories, schedules, scripts and audit records: they stay. Renaming one shows here.
func TestOperationsAreDeclared(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var lines []string
	for _, o := range workflows.All {
		i := o.Info()
		require.False(t, seen[i.Name], "%s is listed twice", i.Name)
		seen[i.Name] = true
		require.Contains(t, auth.Permissions, i.Permission, "permission of %s is unknown", i.Name)
		require.Greater(t, len(strings.Fields(i.Doc)), 4, "doc of %s says too little", i.Name)
		require.True(t, strings.HasSuffix(i.Doc, "."), "doc of %s is no sentence", i.Name)
		require.Positive(t, i.Deadline, "%s has no deadline: nobody would be told that it hangs", i.Name)
		lines = append(lines, fmt.Sprintf("%s target=%s creates=%s permission=%s risk=%s", i.Name, i.Target, or(string(i.Creates), "-"),
			i.Permission, i.Risk))
	}
	slices.Sort(lines)
	golden(t, "operations.txt", strings.Join(lines, "\n")+"\n")
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Forms, the command line and the document are made of the inputs: each field must say what it is.
func TestInputsAreDocumented(t *testing.T) {
	t.Parallel()
	for _, o := range workflows.All {
		requireDocs(t, o.Info().Name, o.InputType())
	}
}

func requireDocs(t *testing.T, where string, typ reflect.Type) {
	t.Helper()
	for _, f := range reflect.VisibleFields(typ) {
		if f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := where + "." + name
		require.NotEmpty(t, name, "field %s of %s has no JSON name", f.Name, where)
		require.NotEmpty(t, f.Tag.Get("doc"), "%s has no doc", at)
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && strings.HasPrefix(inner.PkgPath(), module) {
			requireDocs(t, at, inner)
		}
	}
}

// Derived forms and generated clients do not take a choice of types inside of an input.
func TestInputsHaveNoNestedUnions(t *testing.T) {
	t.Parallel()
	d := read(t)
	for _, o := range workflows.All {
		r := d.Paths["/api/v1/operations/"+o.Info().Name]["post"]
		body := d.resolve(t, r.RequestBody.Content["application/json"].Schema)
		for name, p := range body.Properties {
			d.requireNoUnion(t, o.Info().Name+"."+name, p, 0)
		}
	}
}

func (d document) resolve(t *testing.T, s schema) schema {
	t.Helper()
	if s.Ref == "" {
		return s
	}
	found, ok := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	require.True(t, ok, "%s is not in the document", s.Ref)
	return found
}

func (d document) requireNoUnion(t *testing.T, at string, s schema, depth int) {
	t.Helper()
	require.Less(t, depth, 20, "%s: the schema contains itself", at)
	s = d.resolve(t, s)
	require.Empty(t, slices.Concat(s.OneOf, s.AnyOf, s.AllOf), "%s is a union", at)
	for name, p := range s.Properties {
		d.requireNoUnion(t, at+"."+name, p, depth+1)
	}
	if s.Items != nil {
		d.requireNoUnion(t, at+"[]", *s.Items, depth+1)
	}
	var values schema
	if json.Unmarshal(s.AdditionalProperties, &values) == nil {
		d.requireNoUnion(t, at+"{}", values, depth+1)
	}
}

// An operation in the list can be asked for, and nothing else can.
func TestEveryOperationHasAnEndpoint(t *testing.T) {
	t.Parallel()
	d := read(t)
	for _, o := range workflows.All {
		i := o.Info()
		r, ok := d.Paths["/api/v1/operations/"+i.Name]["post"]
		require.True(t, ok, "%s has no endpoint", i.Name)
		require.Equal(t, i.Name, r.OperationID)
		require.Equal(t, i.Permission, r.OfOperation)
	}
	for name, r := range d.routes() {
		if r.Permission == "operation" {
			require.NotNil(t, workflows.ByName(r.OperationID), "%s is for no operation", name)
		}
	}
}

// Who may do what, route by route; the file shows a reviewer what a change opens.
func TestPermissionMatrix(t *testing.T) {
	t.Parallel()
	var lines []string
	for name, r := range read(t).routes() {
		p := r.Permission
		if p == "operation" {
			p = r.OfOperation
		}
		known := append([]string{auth.Public, auth.Self}, auth.Permissions...)
		require.Contains(t, known, p, "%s has no known permission", name)
		require.Equal(t, p == auth.Public, len(r.Security) == 0, "%s: security and permission differ", name)
		require.Equal(t, p == auth.Public, !has(r, http.StatusForbidden), "%s: answer 403 and permission differ", name)
		who := []string{}
		if p == auth.Public {
			who = append(who, "anyone")
		}
		for _, role := range []string{auth.RoleAdministrator, auth.RoleViewer} {
			if p != auth.Public && auth.Allows(role, p) {
				who = append(who, role)
			}
		}
		require.NotEmpty(t, who, "%s is for nobody", name)
		method, path, _ := strings.Cut(name, " ")
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", path, method, p, strings.Join(who, " ")))
	}
	slices.Sort(lines)
	golden(t, "permissions.txt", strings.Join(lines, "\n")+"\n")
}

func has(r route, status int) bool {
	_, ok := r.Responses[fmt.Sprint(status)]
	return ok
}

// A permission that nothing asks for protects nothing: it is a typing error or a left-over.
func TestPermissionsAreUsed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{"system.temporal": true} // Temporal's UI, which is no documented route
	for _, r := range read(t).routes() {
		used[r.Permission], used[r.OfOperation] = true, true
	}
	for _, p := range auth.Permissions {
		require.True(t, used[p], "permission %s is used by no route", p)
	}
}

// The committed document is what the web app, the command line and other people's programs are made of.
func TestDocumentIsFresh(t *testing.T) {
	t.Parallel()
	made, err := api.Document()
	require.NoError(t, err)
	kept, err := os.ReadFile(filepath.Join(root, "api", "openapi.json"))
	require.NoError(t, err)
	require.Equal(t, string(kept), string(made), "api/openapi.json is not what the code makes: run \"make gen\"")
}

// The Go code of the queries is what sqlc makes of them.
func TestQueriesAreFresh(t *testing.T) {
	t.Parallel()
	sqlc, err := filepath.Abs(filepath.Join(root, "bin", "tools", "sqlc"))
	require.NoError(t, err)
	if _, err := os.Stat(sqlc); err != nil {
		t.Skip("sqlc is not built; \"make fresh\" builds it and looks")
	}
	cmd := exec.CommandContext(t.Context(), sqlc, "diff")
	cmd.Dir = filepath.Join(root, "db")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "db/gen is not what sqlc makes: run \"make gen\"\n%s", out)
}
