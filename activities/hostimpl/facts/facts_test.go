package facts

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/stretchr/testify/require"
)

// cluster makes the few files by which a data directory is known.
func cluster(t testing.TB, dir string, state uint32) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "global"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600))
	b := make([]byte, 512)
	binary.NativeEndian.PutUint64(b, 7300000000000000001)
	binary.NativeEndian.PutUint32(b[8:], 1300)
	binary.NativeEndian.PutUint32(b[16:], state)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "global", "pg_control"), b, 0o600))
}

func collector(t *testing.T, root string, change ...func(*Options)) *Collector {
	t.Helper()
	o := Options{OnlyUnder: []string{root}, DataRoot: root, InstanceOSUser: "postgres", Folders: func() []string {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
		return found
	}}
	for _, f := range change {
		f(&o)
	}
	return New(o)
}

func TestStoppedInstances(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, c := range map[string]struct {
		state        uint32
		file, status string
		role         string
	}{
		"clean":   {1, "", host.InstanceStopped, "primary"},
		"standby": {2, "standby.signal", host.InstanceStopped, "standby"},
		"killed":  {6, "", host.InstanceCrashed, "primary"},
		"replica": {5, "standby.signal", host.InstanceCrashed, "standby"},
	} {
		dir := filepath.Join(root, name, "data")
		cluster(t, dir, c.state)
		if c.file != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, c.file), nil, 0o600))
		}
		in := collector(t, root).Look(dir)
		require.Equal(t, c.status, in.Status, name)
		require.Equal(t, c.role, in.Role, name)
		require.Equal(t, "7300000000000000001", in.SystemIdentifier)
		require.Equal(t, 5432, in.Port)
	}
}

// TestStalePidFile: the number in postmaster.pid belongs to this test now, which is no server.
func TestStalePidFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cluster(t, dir, 6)
	pid := fmt.Sprintf("%d\n%s\n%d\n5433\n/tmp\n*\n\nready   \n", os.Getpid(), dir, time.Now().Unix())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(pid), 0o600))
	_, live := LivePostmaster(dir)
	require.False(t, live)
	require.Equal(t, host.InstanceCrashed, collector(t, dir).Look(dir).Status)
}

func TestConfiguredPort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cluster(t, dir, 1)
	c := collector(t, dir)
	require.NoError(
		t,
		os.WriteFile(filepath.Join(dir, "postgresql.conf"), []byte("#port = 1\nport = 5440 # (change requires restart)\nport 5441\n"),
			0o600),
	)
	require.Equal(t, 5441, c.Look(dir).Port)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "postgresql.auto.conf"), []byte("port = '5442'\n"), 0o600))
	require.Equal(t, 5442, c.Look(dir).Port)
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	root, state := real(t.TempDir()), t.TempDir()
	for _, d := range []string{"a", "b/data", "ignored", "deep/er/and/deeper"} {
		cluster(t, filepath.Join(root, d), 1)
	}
	require.NoError(t, os.Mkdir(filepath.Join(root, "no-cluster"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "no-cluster", "PG_VERSION"), nil, 0o600))
	change := func(o *Options) {
		o.StateDir = state
		o.IgnoreDirs = []string{filepath.Join(root, "ignored")}
	}
	dirs := func(list []host.Instance) string {
		var out []string
		for _, in := range list {
			out = append(out, strings.TrimPrefix(in.DataDirectory, root+"/")+" "+in.Status)
		}
		return strings.Join(out, ", ")
	}
	c := collector(t, root, change)
	require.Equal(t, "a stopped, b/data stopped", dirs(c.Discover(t.Context())))
	// What was inspected once is known, wherever it is, and remembered over a restart.
	_, err := c.Inspect(t.Context(), filepath.Join(root, "deep/er/and/deeper"), "")
	require.NoError(t, err)
	c = collector(t, root, change)
	require.Equal(t, "a stopped, b/data stopped, deep/er/and/deeper stopped", dirs(c.Known()))

	// A removed one is forgotten; a managed one is reported as missing, under the name the manager uses.
	require.NoError(t, os.Symlink(filepath.Join(root, "b"), filepath.Join(root, "link")))
	c.SetManaged([]string{filepath.Join(root, "link/data")})
	require.NoError(t, os.RemoveAll(filepath.Join(root, "a")))
	require.NoError(t, os.RemoveAll(filepath.Join(root, "b/data")))
	c.SetConflicts([]host.InstanceConflict{{DataDirectory: filepath.Join(root, "link/data"), HeldBy: "other"}})
	list := c.Known()
	require.Equal(t, "link/data missing, deep/er/and/deeper stopped", dirs(list))
	require.Equal(t, "other", list[0].Conflict)
}

func TestFactsOfThisHost(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	cluster(t, filepath.Join(root, "a"), 1)
	require.NoError(t, os.WriteFile(filepath.Join(root, "a", "big"), make([]byte, 1<<20), 0o600))
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "big"), make([]byte, 1<<20), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "a", "pg_wal")))
	c := collector(t, root, func(o *Options) { o.Hostname, o.MachineID = "h", "m"; o.Dropped = func() int64 { return 3 } })
	f, err := c.Facts(t.Context())
	require.NoError(t, err)
	require.Equal(t, "h", f.OS.Hostname)
	require.Equal(t, "m", f.OS.MachineID)
	require.NotEmpty(t, f.OS.Kernel)
	require.NotEmpty(t, f.OS.Name)
	require.Positive(t, f.CPU.Cores)
	require.Greater(t, f.Memory.Total, f.Memory.Available)
	require.Equal(t, int64(3), f.Agent.DroppedReports)
	require.Positive(t, f.Agent.ResidentBytes)
	require.Len(t, f.Instances, 1)
	require.Eventually(t, func() bool {
		f, err := c.Facts(context.WithoutCancel(t.Context()))
		return err == nil && f.Instances[0].SizeBytes >= 2<<20
	}, 10*time.Second, 10*time.Millisecond, "the size is measured, with what links lead to")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(found) > 0 {
		require.NotEmpty(t, f.Binaries)
		require.Equal(t, "postgresql", f.Binaries[0].Edition)
		require.NotEmpty(t, f.Binaries[0].Version)
	}
}

func TestBrokenServerProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "postgres"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	b := binaries{cache: map[string]cachedBinary{}}
	require.Empty(t, b.list(t.Context(), []string{dir}))
}

func TestSource(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]string{
		"/opt/pgpro/ent-16/bin": "pgpro", "/usr/pgsql-16/bin": "pgdg", "/usr/lib/postgresql/16/bin": "debian", "/srv/pg/bin": "folder",
	} {
		require.Equal(t, want, source(dir, "postgres (PostgreSQL) 16.1"))
	}
	require.Equal(t, "pgdg", source("/usr/lib/postgresql/16/bin", "postgres (PostgreSQL) 16.1 (Debian 16.1-1.pgdg120+1)"))
}
