package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/workflows/op"
	"golang.org/x/sys/unix"
)

// remover empties a directory through open descriptors: a link put in its way is removed, never followed, and
// another file system mounted inside is refused.
type remover struct {
	ctx    context.Context
	device uint64
	bytes  int64
	report func(bytes int64)
}

// removeBatch is how many names are read at a time: a directory may hold millions.
const removeBatch = 1024

// emptyDir removes everything in a directory and tells how much was freed. PG_VERSION goes last: it is what tells the
// directory, so an interrupted removal can be asked for again.
func emptyDir(ctx context.Context, path string, report func(int64)) (int64, error) {
	d, err := safefs.OpenDir(path)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return 0, fmt.Errorf("remove content of %s: %w", path, err)
	}
	if report == nil {
		report = func(int64) {}
	}
	r := &remover{ctx: ctx, device: st.Dev, report: report}
	if err := r.empty(d, "PG_VERSION"); err != nil {
		return r.bytes, fmt.Errorf("remove content of %s: %w", path, err)
	}
	return r.bytes, nil
}

// empty removes everything in a directory, the entry called last at the end.
func (r *remover) empty(d *os.File, last string) error {
	sawLast := false
	for more := true; more; {
		names, err := d.Readdirnames(removeBatch)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("list %s: %w", d.Name(), err)
		}
		more = len(names) > 0
		rest := slices.DeleteFunc(names, func(n string) bool { return n == last })
		sawLast = sawLast || len(rest) < len(names)
		if err := r.some(d, rest); err != nil {
			return err
		}
	}
	if sawLast {
		if err := r.one(d, last); err != nil {
			return err
		}
	}
	return d.Sync()
}

// some removes entries and goes back to the beginning: reading on after removals may skip names on some file systems.
func (r *remover) some(d *os.File, names []string) error {
	for _, n := range names {
		if err := r.one(d, n); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("list %s: %w", d.Name(), err)
	}
	return nil
}

func (r *remover) one(d *os.File, name string) error {
	if err := context.Cause(r.ctx); err != nil {
		return err
	}
	var st unix.Stat_t
	full := filepath.Join(d.Name(), name)
	err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", full, err)
	}
	flags := 0
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if st.Dev != r.device {
			return op.Permanent(op.CodeInvalid, "remove %s: another file system is mounted there", "Unmount it first.", full)
		}
		sub, err := safefs.OpenSub(d, name)
		if err != nil {
			return err
		}
		err = r.empty(sub, "")
		sub.Close()
		if err != nil {
			return err
		}
		flags = unix.AT_REMOVEDIR
	}
	if err := unix.Unlinkat(int(d.Fd()), name, flags); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", full, err)
	}
	if flags == 0 && st.Nlink <= 1 {
		r.bytes += st.Blocks * 512
		r.report(r.bytes)
	}
	return nil
}
