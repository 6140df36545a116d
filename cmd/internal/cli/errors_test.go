package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExitStatusOfEachProblem(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	for status, exit := range map[int]int{400: 2, 422: 2, 403: 4, 404: 5, 409: 6, 412: 6, 429: 7, 502: 7, 503: 7, 500: 1} {
		path := fmt.Sprintf("/api/v1/operations/01a20718-0000-7000-8000-000000000%03d", status)
		f.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			problemAnswer(w, status, "some-code", "It is wrong.")
		})
		require.Equal(t, exit, s.run("operations", "show", path[len("/api/v1/operations/"):]), status)
		require.Equal(t, "error: It is wrong. (some-code)\n", s.err.String())
		require.Empty(t, s.out.String())
	}
}

func TestFieldsAtFaultAreToldByTheirFlags(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.mux.HandleFunc("POST /api/v1/operations/instance-create", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, recorded(t, "problem-invalid.json"))
	})
	s.In = strings.NewReader("pw")
	require.Equal(t, exitUsage, s.run(append(slices.Clip(create), "--password-stdin")...))
	golden(t, "problem-invalid.txt", s.err.String())
}

func TestTheHolderOfALockIsNamed(t *testing.T) {
	t.Parallel()
	e := problem(http.StatusConflict,
		[]byte(`{"detail":"Locked.","code":"locked","holder":{"operation_id":"`+operationOfCreate+`"}}`))
	require.Equal(t, exitConflict, e.Exit)
	require.Contains(t, e.Hint, "operations follow "+operationOfCreate)
}

func TestWhatIsNoManager(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.mux.HandleFunc("GET /api/v1/overview", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<html>It works!</html>")
	})
	require.Equal(t, exitGeneral, s.run("overview"))
	require.Contains(t, s.err.String(), "not as a manager of pgdrover")
	f.Close()
	require.Equal(t, exitUnavailable, s.run("overview"))
	require.Contains(t, s.err.String(), "cannot be reached")
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, args := range [][]string{
		{"nothing"},
		{"hosts", "nothing"},
		{"hosts", "show"},
		{"hosts", "show", "a", "b"},
		{"hosts", "list", "extra"},
		{"hosts", "list", "--nothing"},
		{"hosts", "list", "-o", "xml"},
		{"operations", "show", "x"},
		{"hosts", "label", "a"},
		{"notifications", "read"},
		{"schedules", "preview"},
	} {
		require.Equal(t, exitUsage, s.run(args...), "%v: %s", args, s.err.String())
		require.Contains(t, s.err.String(), "--help")
	}
	require.Equal(t, exitUsage, s.run("hosts", "lst"))
	require.Contains(t, s.err.String(), "did you mean list")
	require.Equal(t, exitNotSignedIn, s.run("hosts", "list"))
}

func TestListsInEveryFormat(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	require.Zero(t, s.run("hosts", "list"), s.err.String())
	require.Equal(t, []string{"db1", "online", "-", "-", "2", "1m00s", "ago", "site=vienna", hostID},
		strings.Fields(strings.Split(s.out.String(), "\n")[1]))
	require.Zero(t, s.run("hosts", "list", "-o", "name"))
	require.Equal(t, "db1\ndb10\n", s.out.String())
	require.Zero(t, s.run("hosts", "list", "-o", "json"))
	var p page
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &p))
	require.Len(t, p.Items, 2)
	require.Zero(t, s.run("hosts", "list", "-o", "yaml"))
	require.Contains(t, s.out.String(), "items:\n  - id: "+hostID+"\n    name: db1\n")
}

func TestListsReadPageAfterPage(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.mux.HandleFunc("GET /api/v1/operations", func(w http.ResponseWriter, r *http.Request) {
		at := map[string]int{"": 0, "two": 1, "three": 2}[r.URL.Query().Get("cursor")]
		item := strings.Replace(recorded(t, "operation.json"), operationOfCreate, operationOfCreate[:35]+fmt.Sprint(at), 1)
		next := []string{"two", "three", ""}[at]
		jsonAnswer(w, http.StatusOK, fmt.Sprintf(`{"items":[%s],"next_cursor":%q,"total":3}`, item, next))
	})
	require.Zero(t, s.run("operations", "list", "--all", "--state", "failed", "--state", "canceled", "-o", "name"), s.err.String())
	require.Len(t, strings.Fields(s.out.String()), 3)
	require.Contains(t, f.seen("GET", "/api/v1/operations")[0].query, "state=failed%2Ccanceled")
	require.Zero(t, s.run("operations", "list", "--limit", "2"))
	require.Contains(t, s.err.String(), "2 of 3 are shown")
}

func TestAnAmbiguousName(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.json("GET /api/v1/schedules", http.StatusOK, page1(`{"id":"1","name":"n"}`, `{"id":"2","name":"n"}`))
	require.Equal(t, exitUsage, s.run("schedules", "show", "n"))
	require.Equal(t, "error: 2 schedules are named \"n\"; give the id of one (ambiguous)\n  1: n\n  2: n\n", s.err.String())
}

func TestLabelsAreChangedUnlessSomebodyElseDid(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.mux.HandleFunc("GET /api/v1/hosts/"+hostID, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		jsonAnswer(w, http.StatusOK, hostJSON(hostID, "db1"))
	})
	f.json("PATCH /api/v1/hosts/"+hostID, http.StatusOK, hostJSON(hostID, "db1"))
	require.Zero(t, s.run("hosts", "label", "db1", "tier=gold", "site-"), s.err.String())
	sent := f.seen("PATCH", "/api/v1/hosts/"+hostID)[0]
	require.JSONEq(t, `{"name":"db1","labels":{"tier":"gold"}}`, string(sent.body))
	require.Equal(t, `"v1"`, sent.header.Get("If-Match"))
}

func TestNothingMovesTheTerminal(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a[31mb\tc\n", clean("a\x1b[31mb\tc\r\n\u202e"))
	require.Equal(t, "100%", outputLine("10%\r50%\r100%\r"))
}
