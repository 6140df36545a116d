package embedpostgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// runner starts PostgreSQL's programs, as the unprivileged user when we are root.
type runner struct {
	user string              // for messages
	cred *syscall.Credential // nil: as ourselves
	home string
}

func newRunner(osUser, home string) (runner, error) {
	if os.Geteuid() != 0 {
		return runner{user: "uid " + strconv.Itoa(os.Geteuid()), home: home}, nil
	}
	if osUser == "" {
		osUser = "postgres"
	}
	u, err := user.Lookup(osUser)
	if err != nil {
		return runner{}, fmt.Errorf("find the user PostgreSQL runs as (it refuses to run as root): %w", err)
	}
	uid, gid, err := numericIDs(u)
	if err != nil {
		return runner{}, err
	}
	if uid == 0 {
		return runner{}, fmt.Errorf("run PostgreSQL as %s: it refuses to run as root, name another user", osUser)
	}
	cred := &syscall.Credential{Uid: uid, Gid: gid}
	// Supplementary groups matter: Debian's postgres reads TLS keys through ssl-cert.
	groups, err := u.GroupIds()
	if err != nil {
		return runner{}, fmt.Errorf("list groups of %s: %w", osUser, err)
	}
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return runner{}, fmt.Errorf("read group %q of %s: %w", g, osUser, err)
		}
		cred.Groups = append(cred.Groups, uint32(n))
	}
	return runner{user: osUser, cred: cred, home: home}, nil
}

func numericIDs(u *user.User) (uid, gid uint32, err error) {
	uid64, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("read uid of %s: %w", u.Username, err)
	}
	gid64, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("read gid of %s: %w", u.Username, err)
	}
	return uint32(uid64), uint32(gid64), nil
}

// command prepares a program with a bare environment: PG* variables of the caller must not reach the server.
func (r runner) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = r.home
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + r.home, "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.cred}
	return cmd
}

// run executes a program to its end and puts what it said into the error.
func (r runner) run(ctx context.Context, program string, args ...string) error {
	out, err := r.command(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// own gives a file or folder to the user PostgreSQL runs as.
func (r runner) own(path string) error {
	if r.cred == nil {
		return nil
	}
	if err := os.Chown(path, int(r.cred.Uid), int(r.cred.Gid)); err != nil {
		return fmt.Errorf("give %s to %s: %w", path, r.user, err)
	}
	return nil
}

// mkdir makes a private folder that belongs to the user PostgreSQL runs as.
func (r runner) mkdir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make folder %s: %w", path, err)
	}
	return r.own(path)
}

// checkReachable names the first folder on the way to dir that the unprivileged user cannot enter; PostgreSQL's own
// message for that ("could not access directory") does not. The child changes folder after it dropped its privileges, so
// the kernel's answer counts, with access lists and all.
func (r runner) checkReachable(ctx context.Context, dir string) error {
	if r.cred == nil {
		return nil
	}
	enter := func(path string) error {
		cmd := r.command(ctx, "/bin/true")
		cmd.Dir = path
		return cmd.Run()
	}
	if enter(dir) == nil {
		return nil
	}
	path := "/"
	for _, part := range append([]string{""}, strings.Split(strings.Trim(dir, "/"), "/")...) {
		path = filepath.Join(path, part)
		if err := enter(path); err != nil {
			return fmt.Errorf("reach %s as user %s: folder %s does not let it pass (%w); choose another place or chmod o+x it",
				dir, r.user, path, err)
		}
	}
	return nil
}
