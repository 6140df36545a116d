package cli

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoginKeepsTheSessionToItsOwner(t *testing.T) {
	t.Parallel()
	f, s := newFake(t), newShell(t)
	s.In = strings.NewReader("right-Secret\n")
	require.Zero(t, s.run("login", "--server", f.URL, "--login", "ann", "--password-stdin"), s.err.String())
	info, err := os.Stat(sessions{s.ConfigDir}.file())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	dir, err := os.Stat(s.ConfigDir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), dir.Mode().Perm())
	kept, err := os.ReadFile(sessions{s.ConfigDir}.file())
	require.NoError(t, err)
	require.NotContains(t, string(kept), "right-Secret")
	require.Zero(t, s.run("whoami", "-o", "name"), s.err.String())
	require.Equal(t, "account/ann\n", s.out.String())
}

func TestLoginWaysOfThePassword(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for name, prepare := range map[string]func(*shell){
		"environment": func(s *shell) { s.env["PGDROVER_PASSWORD"] = "right-Secret" },
		"prompt":      func(s *shell) { s.term.answers = []string{"right-Secret"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			prepare(s)
			require.Zero(t, s.run("login", "--server", f.URL, "--login", "ann"), s.err.String())
			require.NotContains(t, s.err.String(), "right-Secret")
		})
	}
	s := newShell(t)
	require.Equal(t, exitUsage, s.run("login", "--server", f.URL, "--login", "ann"), "no terminal and no password")
	require.Equal(t, exitUsage, s.run("login", "--password", "right-Secret"), "there is no such flag")
	s.env["PGDROVER_PASSWORD"] = "wrong"
	require.Equal(t, exitNotSignedIn, s.run("login", "--server", f.URL, "--login", "ann"))
	require.Equal(t, "error: Login or password is wrong. (wrong-credentials)\n", s.err.String())
}

func TestAnExpiredTokenIsRefreshedAndKept(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	s.Now = func() time.Time { return recordedAt.Add(15 * time.Minute) }
	require.NoError(t, os.Chmod(sessions{s.ConfigDir}.file(), 0o644), "widened by a copy")
	require.Zero(t, s.run("whoami"), s.err.String())
	kept, err := sessions{s.ConfigDir}.load()
	require.NoError(t, err)
	require.Equal(t, "access-2", kept.AccessToken)
	require.Equal(t, "refresh-2", kept.RefreshToken)
	info, err := os.Stat(sessions{s.ConfigDir}.file())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestARefusedTokenIsRefreshedOnceByAllProcesses(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	first := signedIn(t, f)
	f.token = "access-revoked-the-old-one"
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s := newShell(t)
			s.ConfigDir = first.ConfigDir
			require.Zero(t, s.run("whoami"), s.err.String())
		})
	}
	all.Wait()
	require.Equal(t, 1, f.refreshes)
}

func TestAnEndedSession(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.token, f.refresh = "other", "other"
	require.Equal(t, exitNotSignedIn, s.run("whoami"))
	require.Contains(t, s.err.String(), "your session at "+f.URL+" has ended")
	require.Contains(t, s.err.String(), "pgdrover login")
}

func TestTokensGoNowhereElse(t *testing.T) {
	t.Parallel()
	f, other := newFake(t), newFake(t)
	s := signedIn(t, f)
	s.env["PGDROVER_SERVER"] = other.URL
	require.Equal(t, exitNotSignedIn, s.run("whoami"))
	require.Empty(t, other.requests)
	// A redirect is not followed either.
	f.mux.HandleFunc("GET /api/v1/overview", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/api/v1/overview", http.StatusTemporaryRedirect)
	})
	delete(s.env, "PGDROVER_SERVER")
	require.NotZero(t, s.run("overview"))
	require.Empty(t, other.requests)
}

func TestScriptsSignInByTheEnvironment(t *testing.T) {
	t.Parallel()
	f, s := newFake(t), newShell(t)
	s.env["PGDROVER_SERVER"], s.env["PGDROVER_TOKEN"] = f.URL, "access-1"
	require.Zero(t, s.run("whoami"), s.err.String())
	s.env["PGDROVER_TOKEN"] = "stale"
	require.Equal(t, exitNotSignedIn, s.run("whoami"))
	require.Zero(t, f.refreshes)
	require.NoFileExists(t, sessions{s.ConfigDir}.file())
}

func TestLogoutRemovesTheSessionEvenWhenTheManagerIsAway(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := signedIn(t, f)
	f.Close()
	require.Equal(t, exitUnavailable, s.run("logout"))
	require.NoFileExists(t, sessions{s.ConfigDir}.file())
	require.Zero(t, s.run("logout"))
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"pgdrover.example.com": "https://pgdrover.example.com", "localhost:8080": "http://localhost:8080",
		"http://h:1/path": "http://h:1", "https://u:p@h": "", "ftp://h": "", "": "",
	} {
		got, err := serverURL(given)
		require.Equal(t, want, got, given)
		require.Equal(t, want == "", err != nil, given)
	}
}

func TestAskLeavesTheRest(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.In = bytes.NewBufferString("ann\nsecret\n")
	got, err := s.ask("Login")
	require.NoError(t, err)
	require.Equal(t, "ann", got)
	rest, err := readSecret(s.In)
	require.NoError(t, err)
	require.Equal(t, "secret", rest)
}
