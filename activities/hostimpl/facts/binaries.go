package facts

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/internal/postgres"
)

// versionTimeout bounds one `postgres --version`: a broken program must not hold up the report.
const versionTimeout = 5 * time.Second

type cachedBinary struct {
	modified time.Time
	size     int64
	binaries host.Binaries
	ok       bool
}

// binaries finds installed servers; a program is asked for its version again only when its file changed.
type binaries struct {
	user string

	mu    sync.Mutex
	cache map[string]cachedBinary
}

func (b *binaries) list(ctx context.Context, folders []string) []host.Binaries {
	out := []host.Binaries{}
	seen := map[string]bool{}
	for _, dir := range folders {
		r := real(dir)
		if seen[r] {
			continue
		}
		seen[r] = true
		if bin, ok := b.at(ctx, dir); ok {
			out = append(out, bin)
		}
	}
	return out
}

// at describes the server in a folder; ok is false where there is none.
func (b *binaries) at(ctx context.Context, dir string) (host.Binaries, bool) {
	program := filepath.Join(dir, "postgres")
	fi, err := os.Stat(program)
	if err != nil || fi.IsDir() {
		return host.Binaries{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.cache[dir]; ok && c.modified.Equal(fi.ModTime()) && c.size == fi.Size() {
		return c.binaries, c.ok
	}
	c := cachedBinary{modified: fi.ModTime(), size: fi.Size()}
	if out, err := b.ask(ctx, program); err == nil {
		if v, err := postgres.ParseVersionOutput(out); err == nil {
			c.ok = true
			c.binaries = host.Binaries{Dir: dir, Version: v.Full, Major: v.Major, Edition: v.Edition, Source: source(dir, out)}
		}
	}
	if ctx.Err() == nil {
		b.cache[dir] = c
	}
	return c.binaries, c.ok
}

func (b *binaries) ask(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	return proc.Output(ctx, b.credential(), []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}, program, "--version")
}

// credential is not root's: the program belongs to a package, but it needs no rights to tell its version.
func (b *binaries) credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(b.user)
	if err != nil {
		return nil
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func source(dir, version string) string {
	switch {
	case strings.HasPrefix(dir, "/opt/pgpro/"):
		return "pgpro"
	case strings.HasPrefix(dir, "/usr/pgsql-"), strings.Contains(version, ".pgdg"):
		return "pgdg"
	case strings.HasPrefix(dir, "/usr/lib/postgresql/"):
		return "debian"
	default:
		return "folder"
	}
}

// forMajor returns a folder with a server for data directories of that version, the newest one.
func (b *binaries) forMajor(ctx context.Context, folders []string, major string) (host.Binaries, bool) {
	var best host.Binaries
	for _, x := range b.list(ctx, folders) {
		if x.Major == major && (best.Dir == "" || postgres.CompareVersions(x.Version, best.Version) > 0) {
			best = x
		}
	}
	return best, best.Dir != ""
}
