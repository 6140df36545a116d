package hostimpl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/workflows/op"
	"golang.org/x/sys/unix"
)

const (
	defaultReadBytes = 64 << 10
	// maxReadBytes keeps an answer below what a payload may hold, base64 included.
	maxReadBytes = 180 << 10
	absent       = "absent"
	// codePrecondition: the content is not what the caller believed.
	codePrecondition = "precondition-failed"
)

func (v *Verbs) fileRead(_ context.Context, in host.FileReadIn) (host.FileReadOut, error) {
	var out host.FileReadOut
	limit := in.MaxBytes
	if limit <= 0 {
		limit = defaultReadBytes
	}
	limit = min(limit, maxReadBytes)
	t, err := v.locate(in.Path, toRead, true)
	if err != nil {
		return out, err
	}
	if !t.Exists() {
		return out, op.Permanent(op.CodeNotFound, "read %s: there is no such file", "", in.Path)
	}
	dir, err := safefs.OpenDir(filepath.Dir(t.Real()))
	if err != nil {
		return out, err
	}
	defer dir.Close()
	f, err := safefs.OpenFile(dir, filepath.Base(t.Real()), os.O_RDONLY, 0)
	if err != nil {
		return out, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return out, op.Permanent(op.CodeInvalid, "read %s: it is no ordinary file", "", in.Path)
	}
	// Files of /proc say that they are empty, so the size is found by reading.
	out.Content, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return out, fmt.Errorf("read %s: %w", in.Path, err)
	}
	if int64(len(out.Content)) > limit {
		return host.FileReadOut{}, op.Permanent("too-large", "read %s: it is longer than %d bytes", "", in.Path, limit)
	}
	out.SHA256 = sum(out.Content)
	return out, nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// mode reads an octal mode; set-id bits are refused.
func mode(text string, def uint32) (uint32, error) {
	if text == "" {
		return def, nil
	}
	m, err := strconv.ParseUint(text, 8, 32)
	if err != nil || m > 0o777 {
		return 0, op.Permanent(op.CodeInvalid, "read mode %q: give an octal number up to 0777", "", text)
	}
	return uint32(m), nil
}

func (v *Verbs) fileWrite(_ context.Context, at *attempt, in host.FileWriteIn) (out host.FileWriteOut, err error) {
	perm, err := mode(in.Mode, 0o600)
	if err != nil {
		return out, err
	}
	t, err := v.locate(in.Path, toWrite, false)
	if err != nil {
		return out, err
	}
	if len(t.Missing) > 1 {
		return out, op.Permanent(op.CodeNotFound, "write %s: the folder %s does not exist", "", in.Path, filepath.Dir(in.Path))
	}
	dir, err := safefs.OpenDir(filepath.Dir(t.Real()))
	if err != nil {
		return out, err
	}
	defer dir.Close()
	name := filepath.Base(t.Real())
	old, err := present(dir, name)
	if err != nil {
		return out, err
	}
	out.SHA256 = sum(in.Content)
	same := old.exists && bytes.Equal(old.content, in.Content)
	if in.IfSHA256 != "" && in.IfSHA256 != old.hash && (!at.Interrupted || !same) {
		return out, op.Permanent(codePrecondition, "write %s: its content is not the expected one (it is %s, expected was %s)",
			"Somebody changed the file meanwhile: look at it again, then repeat.", in.Path, old.hash, in.IfSHA256)
	}
	uid, gid, err := v.owner(in.Owner, old)
	if err != nil {
		return out, err
	}
	wantMode := perm
	if in.Mode == "" && old.exists {
		wantMode = old.mode
	}
	if same && old.mode == wantMode && (uid < 0 || old.uid == uid && (gid < 0 || old.gid == gid)) {
		// An interrupted attempt that wrote it did change the file.
		out.Changed = at.Interrupted
		return out, nil
	}
	out.Changed = true
	return out, replaceFile(dir, name, in.Content, wantMode, uid, gid)
}

// presentFile is what is under a name now.
type presentFile struct {
	exists   bool
	content  []byte
	hash     string
	mode     uint32
	uid, gid int
}

// maxWriteBytes is far above any configuration file; a file larger than that is not one to replace by this verb.
const maxWriteBytes = 16 << 20

func present(dir *os.File, name string) (presentFile, error) {
	p := presentFile{hash: absent, uid: -1, gid: -1}
	f, err := safefs.OpenFile(dir, name, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return p, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxWriteBytes {
		return p, op.Permanent(op.CodeInvalid, "write %s: what is there is no ordinary file of configuration", "", f.Name())
	}
	if p.content, err = io.ReadAll(f); err != nil {
		return p, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	p.exists, p.hash, p.mode = true, sum(p.content), uint32(fi.Mode().Perm())
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		p.uid, p.gid = int(st.Uid), int(st.Gid)
	}
	return p, nil
}

// owner says to whom a written file goes: the asked user, else who has it now, else the agent (-1).
func (v *Verbs) owner(name string, old presentFile) (uid, gid int, err error) {
	if name == "" {
		return old.uid, old.gid, nil
	}
	allowed, err := v.cfg.Policy.OSUser(name)
	if err != nil && name != "root" {
		return 0, 0, err
	}
	if name == "root" {
		allowed = name
	}
	u, err := lookupUser(allowed)
	if err != nil {
		return 0, 0, err
	}
	if me := os.Geteuid(); me != 0 && uint32(me) != u.UID {
		_, err := u.credential()
		return 0, 0, err
	}
	return int(u.UID), int(u.GID), nil
}

// replaceFile writes beside the file and renames over it, so that readers see the old or the new content and a power
// cut leaves one of them.
func replaceFile(dir *os.File, name string, content []byte, perm uint32, uid, gid int) (err error) {
	// The name is fixed, so that what a killed attempt left is overwritten by the next one.
	tmp := ".pgdrover." + name + ".tmp"
	fd := int(dir.Fd())
	_ = unix.Unlinkat(fd, tmp, 0)
	f, err := safefs.OpenFile(dir, tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = unix.Unlinkat(fd, tmp, 0)
		}
	}()
	_, err = f.Write(content)
	if err == nil && uid >= 0 && os.Geteuid() == 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Chmod(os.FileMode(perm))
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Renameat(fd, tmp, fd, name)
	}
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(dir.Name(), name), err)
	}
	return nil
}

func (v *Verbs) fileStat(_ context.Context, in host.FileStatIn) (host.FileStatOut, error) {
	var out host.FileStatOut
	existing, missing, err := safefs.Resolve(in.Path, false)
	if err != nil {
		return out, classify(err)
	}
	var sfs unix.Statfs_t
	space := existing
	fi, err := os.Lstat(existing)
	if err != nil {
		return out, fmt.Errorf("look at %s: %w", in.Path, err)
	}
	if fi.Mode()&os.ModeSymlink != 0 {
		space = filepath.Dir(existing)
	}
	if err := unix.Statfs(space, &sfs); err != nil {
		return out, fmt.Errorf("look at the file system of %s: %w", in.Path, err)
	}
	out.FreeBytes, out.TotalBytes = int64(sfs.Bavail)*sfs.Bsize, int64(sfs.Blocks)*sfs.Bsize
	if len(missing) > 0 {
		out.NearestParent = existing
		return out, nil
	}
	out.Exists, out.Size, out.Mode = true, fi.Size(), fmt.Sprintf("%04o", fi.Mode().Perm())
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		out.Owner = userName(int(st.Uid))
	}
	switch {
	case fi.IsDir():
		out.Type = "directory"
		if out.Entries, err = countEntries(target{Existing: existing}); err != nil {
			return out, err
		}
	case fi.Mode().IsRegular():
		out.Type = "file"
	case fi.Mode()&os.ModeSymlink != 0:
		out.Type = "symlink"
	default:
		out.Type = "other"
	}
	return out, nil
}

// countEntries counts what is in a directory; one that does not exist has none.
func countEntries(t target) (int, error) {
	if !t.Exists() {
		return 0, nil
	}
	d, err := safefs.OpenDir(t.Real())
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", t.Real(), err)
	}
	return len(names), nil
}
