package hostimpl

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}

func TestFileWriteAndRead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := testUser(t)
	file := filepath.Join(b.dir, "f.conf")

	out, err := twice(b, host.FileWrite,
		host.FileWriteIn{Path: file, Content: []byte("one\n"), Mode: "0640", Owner: u, IfSHA256: absent})
	require.NoError(t, err)
	require.True(t, out.Changed)
	fi, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), fi.Mode().Perm())
	got, err := ownerOf(file)
	require.NoError(t, err)
	require.Equal(t, u, got)

	// The same again changes nothing; mode and owner stay where not said.
	require.False(t, must(b, host.FileWrite, host.FileWriteIn{Path: file, Content: []byte("one\n")}).Changed)
	_, err = twice(b, host.FileWrite, host.FileWriteIn{Path: file, Content: []byte("two\n"), IfSHA256: absent})
	f := wantCode(t, err, codePrecondition)
	require.Contains(t, f.Message, out.SHA256)
	next, err := twice(b, host.FileWrite, host.FileWriteIn{Path: file, Content: []byte("two\n"), IfSHA256: out.SHA256})
	require.NoError(t, err)
	fi, err = os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), fi.Mode().Perm())
	got, _ = ownerOf(file)
	require.Equal(t, u, got)

	content, err := call(t.Context(), b, host.FileRead, host.FileReadIn{Path: file})
	require.NoError(t, err)
	require.Equal(t, "two\n", string(content.Content))
	require.Equal(t, next.SHA256, content.SHA256)
	_, err = call(t.Context(), b, host.FileRead, host.FileReadIn{Path: file, MaxBytes: 3})
	wantCode(t, err, "too-large")
	_, err = call(t.Context(), b, host.FileRead, host.FileReadIn{Path: file + ".none"})
	wantCode(t, err, op.CodeNotFound)
	_, err = call(t.Context(), b, host.FileRead, host.FileReadIn{Path: b.dir})
	wantCode(t, err, op.CodeInvalid)
}

// TestFileWriteInterrupted: the precondition held when the earlier attempt wrote; it need not hold again.
func TestFileWriteInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := host.FileWriteIn{Path: filepath.Join(b.dir, "f"), Content: []byte("x"), IfSHA256: absent}
	ref := b.ref()
	_, err := step(b, host.FileWrite, ref, in)
	require.NoError(t, err)
	b.interrupt(ref)
	out, err := step(b, host.FileWrite, ref, in)
	require.NoError(t, err)
	require.True(t, out.Changed)
}

func TestPathsAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for path, code := range map[string]string{
		"": op.CodeInvalid, "relative": op.CodeInvalid, b.dir + "/../x": op.CodeInvalid, b.dir + "//x": op.CodeInvalid,
		b.dir + "/x/":   op.CodeInvalid,
		b.dir + "/a\nb": op.CodeInvalid, "/etc/cron.d/x": op.CodeForbidden, "/etc/passwd": op.CodeForbidden,
		"/usr/bin/x": op.CodeForbidden,
		"/root/x":    op.CodeForbidden, "/home/x/.ssh/authorized_keys": op.CodeForbidden, "/proc/1/x": op.CodeForbidden,
		"/etc/pgdrover/agent-policy.yaml": op.CodeForbidden, "/etc/pgdrover/instances/x": op.CodeForbidden,
		b.v.cfg.StateDir + "/fences.json": op.CodeForbidden, b.v.cfg.Policy.File: op.CodeForbidden,
		"/usr/lib/postgresql/15/bin/postgres": op.CodeForbidden, "/opt/pgpro/x/bin/evil": op.CodeForbidden,
		"/var/spool/cron/root": op.CodeForbidden,
		"/lib/x":               op.CodeForbidden,
	} {
		if os.Geteuid() != 0 && strings.HasPrefix(path, "/root/") {
			continue
		}
		_, err := step(b, host.FileWrite, b.ref(), host.FileWriteIn{Path: path, Content: []byte("x")})
		f := wantCode(t, err, code)
		if code == op.CodeForbidden {
			require.Contains(t, f.Hint, b.v.cfg.Policy.File)
		}
		_, err = step(b, host.FileRemove, b.ref(), host.FileRemoveIn{Path: path, Recursive: true, Marker: "PG_VERSION"})
		wantCode(t, err, code)
	}
	for _, path := range []string{"/", "/home", "/var", "/var/lib", "/var/lib/postgresql", "/tmp", "/etc/postgresql"} {
		_, err := step(b, host.FileRemove, b.ref(), host.FileRemoveIn{Path: path, Recursive: true, Marker: "x"})
		wantCode(t, err, op.CodeForbidden)
	}
	for _, path := range []string{
		"/etc/shadow", b.v.cfg.StateDir + "/identity", b.dir + "/server.key", b.dir + "/pgpass", b.dir + "/.pgpass",
	} {
		_, err := call(t.Context(), b, host.FileRead, host.FileReadIn{Path: path})
		wantCode(t, err, op.CodeForbidden)
	}
	_, err := call(t.Context(), b, host.FileRead, host.FileReadIn{Path: "/etc/os-release"})
	require.NoError(t, err)
}

func TestStrictRootsAndDeniedPaths(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		dir := filepath.Dir(c.StateDir)
		c.Policy.DataRoots = []string{dir + "/roots"}
		c.Policy.DeniedPaths = []string{dir + "/roots/not"}
		c.DataRoot = filepath.Join(dir, ".hidden", "instances")
	})
	for _, d := range []string{"/roots/not", "/.hidden/instances"} {
		require.NoError(t, os.MkdirAll(b.dir+d, 0o755))
	}
	b.again()
	write := func(path string) error {
		_, err := step(b, host.FileWrite, b.ref(), host.FileWriteIn{Path: b.dir + path, Content: []byte("x")})
		return err
	}
	require.NoError(t, write("/roots/f"))
	require.NoError(t, write("/.hidden/instances/f"), "the agent's data root was chosen on the host")
	wantCode(t, write("/.hidden/instances/.f"), op.CodeForbidden)
	wantCode(t, write("/.hidden/f"), op.CodeForbidden)
	wantCode(t, write("/f"), op.CodeForbidden)
	wantCode(t, write("/roots/not/f"), op.CodeForbidden)
	_, err := step(b, host.FileRemove, b.ref(), host.FileRemoveIn{Path: b.dir + "/.hidden/instances", Recursive: true, Marker: "f"})
	wantCode(t, err, op.CodeForbidden)
}

// TestLinksAreNotFollowed plays the owner of a directory who puts links where root is about to work.
func TestLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	outside := openDir(t)
	victim := filepath.Join(outside, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	home := filepath.Join(b.dir, "home")
	require.NoError(t, os.Mkdir(home, 0o755))

	// A link in place of the file: neither the link's target nor the link is written.
	require.NoError(t, os.Symlink(victim, home+"/conf"))
	_, err := step(b, host.FileWrite, b.ref(), host.FileWriteIn{Path: home + "/conf", Content: []byte("evil")})
	wantCode(t, err, op.CodeInvalid)
	// A link of the temporary file's name.
	require.NoError(t, os.Symlink(victim, home+"/.pgdrover.f.tmp"))
	must(b, host.FileWrite, host.FileWriteIn{Path: home + "/f", Content: []byte("fine")})
	// A link among the parents leads into a folder of the system: what counts is where it leads.
	require.NoError(t, os.Symlink("/etc", home+"/conf.d"))
	_, err = step(b, host.FileWrite, b.ref(), host.FileWriteIn{Path: home + "/conf.d/evil", Content: []byte("x")})
	wantCode(t, err, op.CodeForbidden)
	_, err = step(b, host.FileMkdir, b.ref(), host.FileMkdirIn{Path: home + "/conf.d/evil"})
	wantCode(t, err, op.CodeForbidden)
	_, err = call(t.Context(), b, host.FileRead, host.FileReadIn{Path: home + "/conf.d/shadow"})
	wantCode(t, err, op.CodeForbidden)
	// A link that points nowhere yet is no missing file.
	require.NoError(t, os.Symlink(outside+"/new", home+"/dangling"))
	_, err = step(b, host.FileMkdir, b.ref(), host.FileMkdirIn{Path: home + "/dangling"})
	wantCode(t, err, op.CodeInvalid)

	// Removal takes links away, and never what they lead to.
	require.NoError(t, os.Symlink(outside, home+"/pg_wal"))
	must(b, host.FileRemove, host.FileRemoveIn{Path: home + "/conf"})
	_, err = twice(b, host.FileRemove, host.FileRemoveIn{Path: home, Recursive: true, Marker: "f"})
	require.NoError(t, err)
	require.NoDirExists(t, home)
	require.Equal(t, "precious", read(t, victim))
	require.NoFileExists(t, outside+"/new")
}

func TestPipeInPlaceOfAFile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	pipe := filepath.Join(b.dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err := call(t.Context(), b, host.FileRead, host.FileReadIn{Path: pipe})
	wantCode(t, err, op.CodeInvalid)
	_, err = step(b, host.FileWrite, b.ref(), host.FileWriteIn{Path: pipe, Content: []byte("x")})
	wantCode(t, err, op.CodeInvalid)
}

func TestFileStat(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, os.WriteFile(b.dir+"/f", []byte("abc"), 0o640))
	require.NoError(t, os.Symlink("f", b.dir+"/l"))
	stat := func(path string) host.FileStatOut {
		out, err := call(t.Context(), b, host.FileStat, host.FileStatIn{Path: path})
		require.NoError(t, err)
		require.Positive(t, out.FreeBytes)
		require.Greater(t, out.TotalBytes, out.FreeBytes)
		return out
	}
	f := stat(b.dir + "/f")
	require.True(t, f.Exists)
	require.Equal(t, "file", f.Type)
	require.Equal(t, int64(3), f.Size)
	require.Equal(t, "0640", f.Mode)
	require.NotEmpty(t, f.Owner)
	require.Equal(t, "symlink", stat(b.dir+"/l").Type)
	d := stat(b.dir)
	require.Equal(t, "directory", d.Type)
	require.Equal(t, 2, d.Entries)
	none := stat(b.dir + "/a/b/c")
	require.False(t, none.Exists)
	require.Equal(t, b.dir, none.NearestParent)
	_, err := call(t.Context(), b, host.FileStat, host.FileStatIn{Path: "x"})
	wantCode(t, err, op.CodeInvalid)
}

func TestMkdirAndUndo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := testUser(t)
	dir := filepath.Join(b.dir, "srv/pg/main")
	out, err := twice(b, host.FileMkdir, host.FileMkdirIn{Path: dir, Mode: "0750", Owner: u, MustBeEmpty: true})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(b.dir, "srv"), out.Created)
	fi, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o750), fi.Mode().Perm())
	for _, d := range []string{dir, filepath.Dir(dir)} {
		got, err := ownerOf(d)
		require.NoError(t, err)
		require.Equal(t, u, got)
	}
	require.NoError(t, os.WriteFile(dir+"/half", []byte("x"), 0o600))

	_, err = twice(b, host.FileMkdir, host.FileMkdirIn{Path: dir, MustBeEmpty: true})
	wantCode(t, err, "directory-not-empty")
	// An operation that did not make it removes nothing.
	gone, err := twice(b, host.FileRemove,
		host.FileRemoveIn{Path: dir, Recursive: true, IfCreatedBy: "0199aaaa-0000-7000-8000-00000000000e"})
	require.NoError(t, err)
	require.False(t, gone.Removed)
	require.FileExists(t, dir+"/half")
	// The one that did removes it with the parents it made, though there is no marker yet.
	gone, err = twice(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true, IfCreatedBy: testOperation})
	require.NoError(t, err)
	require.True(t, gone.Removed)
	require.NoDirExists(t, b.dir+"/srv")
}

func TestMkdirOnEmptyDirectoryAndUndo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dir := filepath.Join(b.dir, "mountpoint")
	require.NoError(t, os.Mkdir(dir, 0o777))
	out := must(b, host.FileMkdir, host.FileMkdirIn{Path: dir, Mode: "0700", Owner: testUser(t), MustBeEmpty: true})
	require.Empty(t, out.Created)
	fi, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), fi.Mode().Perm())
	require.NoError(t, os.WriteFile(dir+"/PG_VERSION", []byte("15"), 0o600))
	must(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true, IfCreatedBy: testOperation})
	// It was there before: empty it is again, gone it is not.
	require.DirExists(t, dir)
	require.NoFileExists(t, dir+"/PG_VERSION")
}

// TestMkdirInterrupted: killed after making it, the directory is still known as ours.
func TestMkdirInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dir := filepath.Join(b.dir, "a/b")
	in := host.FileMkdirIn{Path: dir, Owner: testUser(t), MustBeEmpty: true}
	ref := b.ref()
	_, err := step(b, host.FileMkdir, ref, in)
	require.NoError(t, err)
	b.interrupt(ref)
	out, err := step(b, host.FileMkdir, ref, in)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(b.dir, "a"), out.Created)
	must(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true, IfCreatedBy: testOperation})
	require.NoDirExists(t, b.dir+"/a")
}

func TestRemove(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dir := filepath.Join(b.dir, "data")
	fillDir := func() {
		require.NoError(t, os.MkdirAll(dir+"/base/1", 0o755))
		require.NoError(t, os.WriteFile(dir+"/base/1/x", make([]byte, 8192), 0o600))
		require.NoError(t, os.WriteFile(dir+"/PG_VERSION", []byte("15\n"), 0o600))
	}
	fillDir()
	_, err := twice(b, host.FileRemove, host.FileRemoveIn{Path: dir})
	wantCode(t, err, "directory-not-empty")
	_, err = twice(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true})
	wantCode(t, err, op.CodeInvalid)
	_, err = twice(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true, Marker: "../data/PG_VERSION"})
	wantCode(t, err, op.CodeInvalid)
	_, err = twice(b, host.FileRemove, host.FileRemoveIn{Path: b.dir, Recursive: true, Marker: "PG_VERSION"})
	wantCode(t, err, "marker-missing")
	out, err := twice(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true, Marker: "PG_VERSION"})
	require.NoError(t, err)
	require.True(t, out.Removed)
	require.GreaterOrEqual(t, out.Bytes, int64(8192))
	require.NoDirExists(t, dir)
	// Absent is success.
	require.False(t, must(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true, Marker: "PG_VERSION"}).Removed)

	require.NoError(t, os.Mkdir(dir, 0o755))
	must(b, host.FileRemove, host.FileRemoveIn{Path: dir})
	require.NoDirExists(t, dir)
	require.NoError(t, os.WriteFile(b.dir+"/f", []byte("x"), 0o600))
	must(b, host.FileRemove, host.FileRemoveIn{Path: b.dir + "/f"})
	require.NoFileExists(t, b.dir+"/f")
}

func TestRemoveStaysOnItsFileSystem(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	b := newBench(t)
	dir := filepath.Join(b.dir, "data")
	require.NoError(t, os.MkdirAll(dir+"/mounted", 0o755))
	require.NoError(t, os.WriteFile(dir+"/PG_VERSION", nil, 0o600))
	require.NoError(t, os.WriteFile(disk+"/other", nil, 0o600))
	require.NoError(t, syscall.Mount(disk, dir+"/mounted", "", syscall.MS_BIND, ""))
	t.Cleanup(func() { _ = syscall.Unmount(dir+"/mounted", syscall.MNT_DETACH) })
	_, err := twice(b, host.FileRemove, host.FileRemoveIn{Path: dir, Recursive: true, Marker: "PG_VERSION"})
	wantCode(t, err, op.CodeInvalid)
	require.FileExists(t, disk+"/other")
}

func TestModes(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"4755", "8", "x", "-1", "01777"} {
		_, err := mode(bad, 0)
		wantCode(t, err, op.CodeInvalid)
	}
	m, err := mode("0750", 0)
	require.NoError(t, err)
	require.Equal(t, uint32(0o750), m)
}

func TestOwnersAreThoseOfThePolicy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := step(b, host.FileWrite, b.ref(), host.FileWriteIn{Path: b.dir + "/f", Owner: "daemon"})
	wantCode(t, err, op.CodeForbidden)
	_, err = step(b, host.FileMkdir, b.ref(), host.FileMkdirIn{Path: b.dir + "/d", Owner: "daemon"})
	wantCode(t, err, op.CodeForbidden)
}
