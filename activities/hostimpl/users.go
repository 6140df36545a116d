package hostimpl

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/pgdrover/pgdrover/workflows/op"
)

// osUser is a user of the operating system with the groups it belongs to.
type osUser struct {
	Name   string
	UID    uint32
	GID    uint32
	Groups []uint32
	Home   string
}

// lookupUser finds a user by name.
func lookupUser(name string) (osUser, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return osUser{}, op.Permanent(op.CodeNotFound, "look up user %s: %v",
			"Install PostgreSQL's packages, which create the user, or name another owner of instances.", name, err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return osUser{}, op.Permanent(op.CodeInvalid, "look up user %s: ids %s:%s are no numbers", "", name, u.Uid, u.Gid)
	}
	out := osUser{Name: u.Username, UID: uint32(uid), GID: uint32(gid), Home: u.HomeDir}
	ids, err := u.GroupIds()
	if err != nil {
		return osUser{}, fmt.Errorf("look up groups of user %s: %w", name, err)
	}
	for _, id := range ids {
		if g, err := strconv.ParseUint(id, 10, 32); err == nil && !slices.Contains(out.Groups, uint32(g)) {
			out.Groups = append(out.Groups, uint32(g))
		}
	}
	return out, nil
}

// credential returns what a child has to become, nil where it already is: an agent that is not root can run things
// only as itself.
func (u osUser) credential() (*syscall.Credential, error) {
	me := os.Geteuid()
	if me != 0 {
		if uint32(me) == u.UID {
			return nil, nil
		}
		return nil, op.Permanent(op.CodeForbidden, "run as user %s: the agent runs as user %d and cannot become another",
			"Run the agent as root or as the owner of the instances.", u.Name, me)
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}, nil
}

// userName names a user id, the number itself where it has no name.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// ownerOf returns the user a path belongs to.
func ownerOf(path string) (string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("read owner of %s: not known", path)
	}
	return userName(int(st.Uid)), nil
}

// environment is the minimal one of every program: it inherits nothing of the agent's.
func (u osUser) environment(program string, extra map[string]string) []string {
	env := []string{
		"PATH=" + filepath.Dir(program) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + u.Home, "USER=" + u.Name, "LOGNAME=" + u.Name, "LANG=" + plainLocale(), "LC_MESSAGES=C",
	}
	keys := make([]string, 0, len(extra))
	for k := range extra {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		env = append(env, k+"="+extra[k])
	}
	return env
}

// plainLocale is UTF-8 without a language where the system has it, so that initdb makes UTF-8 clusters.
func plainLocale() string {
	for _, p := range []string{"/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"} {
		if _, err := os.Stat(p); err == nil {
			return "C.UTF-8"
		}
	}
	return "C"
}
