// Package safefs opens paths without ever following a symbolic link that was not looked at before. The agent often
// runs as root in directories that belong to others, who could put a link in the way between a check and the use; so
// a path is resolved once, the result is checked by the caller's policy, and then walked down component by component
// where any link found is an attack or a race and is refused.
package safefs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInvalid says that a path is not absolute and clean.
var ErrInvalid = errors.New("not an absolute clean path")

// ErrLink says that a symbolic link is where none was a moment ago, or where none is accepted.
var ErrLink = errors.New("a symbolic link is in the way")

// Check refuses everything but an absolute path in its shortest form.
func Check(path string) error {
	if path == "" || !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "\x00\n") {
		return fmt.Errorf("check path %q: %w", path, ErrInvalid)
	}
	return nil
}

// Resolve returns the path without symbolic links in the existing part, and the rest that does not exist. The last
// component is resolved only if followLast is set.
func Resolve(path string, followLast bool) (existing string, missing []string, err error) {
	if err := Check(path); err != nil {
		return "", nil, err
	}
	if path == "/" {
		return "/", nil, nil
	}
	if !followLast {
		dir, rest, err := Resolve(filepath.Dir(path), true)
		if err != nil || len(rest) > 0 {
			return dir, append(rest, filepath.Base(path)), err
		}
		full := filepath.Join(dir, filepath.Base(path))
		if _, err := os.Lstat(full); errors.Is(err, os.ErrNotExist) {
			return dir, []string{filepath.Base(path)}, nil
		} else if err != nil {
			return "", nil, fmt.Errorf("resolve %s: %w", path, err)
		}
		return full, nil, nil
	}
	for probe := path; ; probe = filepath.Dir(probe) {
		real, err := filepath.EvalSymlinks(probe)
		if errors.Is(err, os.ErrNotExist) && probe != "/" {
			if _, lerr := os.Lstat(probe); lerr == nil {
				return "", nil, fmt.Errorf("resolve %s: %s points nowhere: %w", path, probe, ErrLink)
			}
			missing = append([]string{filepath.Base(probe)}, missing...)
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("resolve %s: %w", path, err)
		}
		return real, missing, nil
	}
}

// OpenDir opens a resolved directory; a link in any component is refused.
func OpenDir(path string) (*os.File, error) {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory /: %w", err)
	}
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		next, err := unix.Openat(fd, part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		_ = unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("open directory %s: %w", path, linkError(err))
		}
		fd = next
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenSub opens a directory inside an open one.
func OpenSub(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", filepath.Join(dir.Name(), name), linkError(err))
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

// OpenFile opens a file inside an open directory; a link, a pipe or a device under that name does not block or
// mislead it.
func OpenFile(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, mode)
	full := filepath.Join(dir.Name(), name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", full, linkError(err))
	}
	return os.NewFile(uintptr(fd), full), nil
}

// linkError makes the two answers of the kernel to a refused link readable.
func linkError(err error) error {
	if errors.Is(err, unix.ELOOP) {
		return ErrLink
	}
	return err
}

// Pinned is a path to what an open file is, whatever happens to its name.
func Pinned(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
