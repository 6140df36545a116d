// Package house_test keeps the plan of the house: who may link and import whom, how large files get, that operations
// and routes are complete and their names stay. Lint sees one package at a time; what needs the whole view is here.
package house_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/pgdrover/pgdrover"

var update = flag.Bool("update", false, "write the golden files anew")

// root is the module's folder, seen from this one.
var root = filepath.Join("..", "..")

func goList(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	require.NoError(t, cmd.Run(), "go list %v: %s", args, problem.String())
	return out.String()
}

// within tells whether a package is one of the listed or below it.
func within(pkg string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool { return pkg == p || strings.HasPrefix(pkg, p+"/") })
}

// What a program links is what it can be attacked by, and what its host must hold in memory.
func TestWhatProgramsLink(t *testing.T) {
	t.Parallel()
	for program, rule := range map[string]struct{ never, but []string }{
		"pgdrover-agent": {
			never: []string{
				module + "/db", module + "/server", module + "/worker/manager", module + "/activities/managerimpl", module + "/webapp",
				module + "/workflows", "github.com/danielgtaylor/huma", "github.com/pressly/goose", "go.temporal.io/server",
				"github.com/temporalio/ui-server", module + "/internal/embedtemporal", module + "/internal/embedpostgres",
			},
			// The framework's names and the words spoken with the gateway about lost polls: contracts, both small.
			but: []string{module + "/workflows/op", module + "/server/gateway/lostpoll"},
		},
		"pgdrover": {
			never: []string{
				"go.temporal.io/server", "github.com/temporalio/ui-server", module + "/internal/embedtemporal",
				module + "/internal/embedpostgres", module + "/activities/hostimpl", module + "/worker/agent",
			},
		},
		"pgdrover-standalone": {never: []string{module + "/activities/hostimpl", module + "/worker/agent"}},
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			for pkg := range strings.FieldsSeq(goList(t, "-deps", "./cmd/"+program)) {
				// A major version is part of the module's path: huma/v2.
				require.False(t, within(pkg, rule.never) && !within(pkg, rule.but), "%s links %s", program, pkg)
			}
		})
	}
}

// A workflow is replayed: nothing it imports by itself may touch the world.
func TestWorkflowsImportNothingThatActs(t *testing.T) {
	t.Parallel()
	never := []string{
		"net", "os", "syscall", "math/rand", "crypto/rand", "database/sql", "github.com/jackc/pgx", module + "/db", module + "/server",
		module + "/worker", module + "/cmd", module + "/activities/hostimpl", module + "/activities/managerimpl",
	}
	pure := []string{"net/netip", "net/url"} // parsing addresses
	for _, p := range packages(t, "./workflows/...", "./activities/host", "./activities/manager") {
		for _, i := range p.Imports {
			require.False(t, within(i, never) && !within(i, pure), "%s imports %s", p.ImportPath, i)
		}
	}
}

type listed struct {
	ImportPath, Dir                     string
	Imports                             []string
	GoFiles, TestGoFiles, XTestGoFiles  []string
	IgnoredGoFiles, InvalidGoFiles, Cgo []string
}

func packages(t *testing.T, patterns ...string) []listed {
	t.Helper()
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(goList(t, append([]string{"-e", "-json"}, patterns...)...))); dec.More(); {
		var p listed
		require.NoError(t, dec.Decode(&p))
		// npm packages may carry Go files, which are no packages of ours.
		if !strings.Contains(p.Dir, "/node_modules/") {
			all = append(all, p)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// Files that people wrote stay small enough to be read.
func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	count := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // others build here meanwhile: what vanished is not looked at
		}
		if d.IsDir() && (d.Name() == "node_modules" || (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2)) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || generated(text) {
			return nil //nolint:nilerr // as above
		}
		count++
		require.Less(t, bytes.Count(text, []byte("\n")), 500, "%s is too long: split it", path)
		return nil
	}))
	require.Positive(t, count)
}

// generated knows the header that Go's tools agree on.
func generated(text []byte) bool {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("// Code generated ")) && bytes.HasSuffix(bytes.TrimSpace(line), []byte(" DO NOT EDIT.")) {
			return true
		}
		if bytes.HasPrefix(line, []byte("package ")) {
			return false
		}
	}
	return false
}

// Every package says what it is for.
func TestPackagesHaveComments(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t, "./...") {
		said, written := false, 0
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles, p.IgnoredGoFiles) {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			require.NoError(t, err)
			if generated(text) {
				continue
			}
			written++
			f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.PackageClauseOnly|parser.ParseComments)
			require.NoError(t, err)
			said = said || documented(f)
		}
		require.True(t, said || written == 0, "package %s has no package comment", p.ImportPath)
	}
}

func documented(f *ast.File) bool { return f.Doc != nil && len(strings.Fields(f.Doc.Text())) > 3 }

// golden compares with a file that a person changes on purpose: go test ./internal/house -update.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "%s differs; if that is meant: go test ./internal/house -update", file)
}
