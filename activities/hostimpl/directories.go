package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/facts"
	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/workflows/op"
	"golang.org/x/sys/unix"
)

// mkdirNotes say what a file-mkdir made, for a later attempt and for the undo.
type mkdirNotes struct {
	// Path is the real path of the whole.
	Path string `json:"path"`
	// Made are the directories that did not exist before, topmost first.
	Made []string `json:"made,omitempty"`
	// WasEmpty: the directory existed and was empty; its content may go in the undo, it itself stays.
	WasEmpty bool `json:"was_empty,omitempty"`
}

func (v *Verbs) fileMkdir(_ context.Context, at *attempt, in host.FileMkdirIn) (out host.FileMkdirOut, err error) {
	perm, err := mode(in.Mode, 0o700)
	if err != nil {
		return out, err
	}
	t, err := v.locate(in.Path, toWrite, true)
	if err != nil {
		return out, err
	}
	uid, gid, err := v.owner(in.Owner, presentFile{uid: -1, gid: -1})
	if err != nil {
		return out, err
	}
	var notes mkdirNotes
	known, err := at.Notes(&notes)
	if err != nil {
		return out, err
	}
	if !known {
		notes = mkdirNotes{Path: t.Real()}
		dir := t.Existing
		for _, name := range t.Missing {
			dir = filepath.Join(dir, name)
			notes.Made = append(notes.Made, dir)
		}
		n, err := countEntries(t)
		if err != nil {
			return out, err
		}
		notes.WasEmpty = t.Exists() && n == 0
		if t.Exists() && n > 0 && in.MustBeEmpty {
			return out, op.Permanent("directory-not-empty", "make directory %s: it exists and has %d entries",
				"Choose another directory or empty this one.", in.Path, n)
		}
		// Noted before it is done: the undo must know of a directory even if we are killed right after making it.
		if err := at.Save(notes); err != nil {
			return out, err
		}
	}
	if len(notes.Made) > 0 {
		out.Created = notes.Made[0]
	}
	own := t.Exists() && notes.WasEmpty
	return out, makeDirs(t, perm, uid, gid, own || at.Interrupted && len(notes.Made) > 0)
}

// makeDirs makes the missing directories, each opened through the one above. The parents made on the way get the same
// owner, who will want to put a log beside the data. An existing directory is taken over only if it was empty.
func makeDirs(t target, perm uint32, uid, gid int, own bool) error {
	dir, err := safefs.OpenDir(t.Existing)
	if err != nil {
		return err
	}
	defer func() { dir.Close() }()
	for i, name := range t.Missing {
		p := uint32(0o755)
		if i == len(t.Missing)-1 {
			p = perm
		}
		if err := unix.Mkdirat(int(dir.Fd()), name, p); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make directory %s: %w", filepath.Join(dir.Name(), name), err)
		}
		next, err := safefs.OpenSub(dir, name)
		if err != nil {
			return err
		}
		err = errors.Join(give(next, p, uid, gid), dir.Sync())
		dir.Close()
		dir = next
		if err != nil {
			return fmt.Errorf("make directory %s: %w", t.Asked, err)
		}
	}
	if own && t.Exists() {
		if err := give(dir, perm, uid, gid); err != nil {
			return fmt.Errorf("take over directory %s: %w", t.Asked, err)
		}
	}
	return nil
}

func give(d *os.File, perm uint32, uid, gid int) error {
	if uid >= 0 && os.Geteuid() == 0 {
		if err := d.Chown(uid, gid); err != nil {
			return err
		}
	}
	return d.Chmod(os.FileMode(perm))
}

func (v *Verbs) fileRemove(ctx context.Context, at *attempt, in host.FileRemoveIn) (out host.FileRemoveOut, err error) {
	t, err := v.locate(in.Path, toReplace, false)
	if err != nil && in.IfCreatedBy != "" {
		// A path that was refused to be made is refused here too; the undo has nothing to do there.
		if made, jerr := v.createdBy(in.IfCreatedBy, in.Path); jerr == nil && !made.found {
			return out, nil
		}
	}
	if err != nil {
		return out, err
	}
	keepSelf, parents := false, []string(nil)
	if in.IfCreatedBy != "" {
		made, err := v.createdBy(in.IfCreatedBy, t.Real())
		if err != nil || !made.found {
			return out, err
		}
		keepSelf, parents = made.keepSelf, made.parents
	}
	if !t.Exists() {
		return out, removeEmpty(parents)
	}
	fi, err := os.Lstat(t.Real())
	if err != nil {
		return out, fmt.Errorf("remove %s: %w", in.Path, err)
	}
	if !fi.IsDir() {
		if err := unlinkPath(t.Real(), 0); err != nil {
			return out, err
		}
		return host.FileRemoveOut{Removed: true, Bytes: fi.Size()}, removeEmpty(parents)
	}
	if err := v.mayRemoveDir(t.Real(), in); err != nil {
		return out, err
	}
	var freed int64
	freed, err = emptyDir(ctx, t.Real(), func(bytes int64) {
		at.Progress(host.Progress{Done: bytes, Unit: "bytes", Note: "removing " + in.Path})
	})
	out.Bytes = freed
	if err != nil {
		return out, err
	}
	out.Removed = true
	if keepSelf {
		return out, nil
	}
	if err := unlinkPath(t.Real(), unix.AT_REMOVEDIR); err != nil && !errors.Is(err, syscall.EBUSY) {
		// EBUSY is a mount point: empty is all that it can be.
		return out, err
	}
	return out, removeEmpty(parents)
}

// mayRemoveDir guards against a wrong path and against pulling the files from under a server.
func (v *Verbs) mayRemoveDir(dir string, in host.FileRemoveIn) error {
	if err := refuseLiveServer(dir); err != nil {
		return err
	}
	n, err := countEntries(target{Existing: dir})
	if err != nil {
		return err
	}
	if n == 0 || (in.IfCreatedBy != "" && in.Recursive) {
		return nil
	}
	if !in.Recursive {
		return op.Permanent("directory-not-empty", "remove %s: it has %d entries and a recursive removal was not asked for", "",
			in.Path, n)
	}
	if in.Marker == "" || filepath.Base(in.Marker) != in.Marker {
		return op.Permanent(op.CodeInvalid, "remove %s: a recursive removal needs the name of a file that tells the right directory",
			"", in.Path)
	}
	if _, err := os.Lstat(filepath.Join(dir, in.Marker)); err != nil {
		return op.Permanent("marker-missing", "remove %s: there is no %s in it, so it is not the expected directory",
			"Check the path; an interrupted removal may have taken the file, then remove the rest by hand.", in.Path, in.Marker)
	}
	return nil
}

// refuseLiveServer protects a data directory in use.
func refuseLiveServer(dir string) error {
	if pm, ok := facts.LivePostmaster(dir); ok {
		return op.Permanent("server-running", "change %s: a server runs on it (process %d)", "Stop the instance first.", dir, pm.PID)
	}
	return nil
}

// creation is what an operation's steps made of a path.
type creation struct {
	found bool
	// keepSelf: the directory was there, empty, before.
	keepSelf bool
	// parents made on the way, deepest first.
	parents []string
}

// createdBy looks in the journal whether a step of the operation made the path, or something above it.
func (v *Verbs) createdBy(operation, real string) (c creation, err error) {
	err = v.journal.each(operation, func(r record) {
		if r.Verb != host.FileMkdir.Name {
			return
		}
		var notes mkdirNotes
		if unmarshalNotes(r, &notes) != nil || notes.Path == "" {
			return
		}
		for _, made := range notes.Made {
			switch {
			case under(real, made):
				c.found = true
				if made != real && !slices.Contains(c.parents, made) {
					c.parents = append(c.parents, made)
				}
			}
		}
		if notes.WasEmpty && under(real, notes.Path) {
			c.found = true
			c.keepSelf = c.keepSelf || notes.Path == real
		}
	})
	slices.SortFunc(c.parents, func(a, b string) int { return strings.Compare(b, a) })
	return c, err
}

// removeEmpty removes directories that nothing is in, from the deepest; others have put something there otherwise.
func removeEmpty(dirs []string) error {
	for _, d := range dirs {
		err := unlinkPath(d, unix.AT_REMOVEDIR)
		switch {
		case err == nil, errors.Is(err, os.ErrNotExist):
		case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EBUSY), errors.Is(err, os.ErrExist):
			return nil
		default:
			return err
		}
	}
	return nil
}

func unlinkPath(path string, flags int) error {
	dir, err := safefs.OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	err = unix.Unlinkat(int(dir.Fd()), filepath.Base(path), flags)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	if err == nil {
		err = dir.Sync()
	} else {
		err = nil
	}
	return err
}
