package hostimpl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// secretDirPrefix names the folders of secrets of commands; those of jobs are kept while the job runs.
const (
	secretDirPrefix = "secret-"
	jobSecretPrefix = "jobsecret-"
)

var secretKeyRule = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// secretFiles are secrets on disk for the time of a run, readable by one user.
type secretFiles struct {
	dir    string
	paths  map[string]string
	values []string
}

// fetchSecret gets one value; it is in memory only as long as it is used.
func (v *Verbs) fetchSecret(ctx context.Context, ref op.Secret, operation string) (string, error) {
	id, ok := ref.Reference()
	if !ok {
		return "", op.Permanent(op.CodeInvalid, "fetch secret: the step carries a plain value instead of a reference", "")
	}
	if v.cfg.Secrets == nil {
		return "", op.Permanent(op.CodeInternal, "fetch secret: the agent is not connected to a manager", "")
	}
	value, err := v.cfg.Secrets.Fetch(ctx, id, operation)
	if err != nil {
		return "", fmt.Errorf("fetch secret %s: %w", id, err)
	}
	return value, nil
}

// writeSecrets makes the files; the caller removes them whatever happens after.
func (v *Verbs) writeSecrets(
	ctx context.Context,
	prefix, operation string,
	refs map[string]host.SecretRef,
	u osUser,
) (s secretFiles, err error) {
	if len(refs) == 0 {
		return s, nil
	}
	s.dir, err = os.MkdirTemp(v.cfg.RuntimeDir, prefix)
	if err != nil {
		return s, fmt.Errorf("make folder for secrets: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	s.paths = map[string]string{}
	for key, ref := range refs {
		if !secretKeyRule.MatchString(key) {
			return s, op.Permanent(op.CodeInvalid, "write secret file: %q is not a name", "", key)
		}
		value, err := v.fetchSecret(ctx, ref, operation)
		if err != nil {
			return s, err
		}
		s.paths[key] = filepath.Join(s.dir, key)
		s.values = append(s.values, value)
		if err := writeSecret(s.paths[key], value, u); err != nil {
			return s, err
		}
	}
	// The folder is handed over last: before, its new owner could put a link where a file is about to be made.
	if os.Geteuid() == 0 {
		if err := os.Chown(s.dir, int(u.UID), int(u.GID)); err != nil {
			return s, fmt.Errorf("hand over folder for secrets: %w", err)
		}
	}
	return s, nil
}

func writeSecret(path, value string, u osUser) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write secret file: %w", err)
	}
	_, err = f.WriteString(value)
	if err == nil && os.Geteuid() == 0 {
		err = f.Chown(int(u.UID), int(u.GID))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write secret file: %w", err)
	}
	return nil
}

// expand puts the paths into arguments.
func (s secretFiles) expand(args []string) ([]string, error) {
	out := slices.Clone(args)
	for i, a := range out {
		for key, path := range s.paths {
			a = strings.ReplaceAll(a, "{secret:"+key+"}", path)
		}
		if strings.Contains(a, "{secret:") {
			return nil, op.Permanent(op.CodeInvalid, "prepare command: argument %d names a secret that is not given", "", i+1)
		}
		out[i] = a
	}
	return out, nil
}

func (s secretFiles) remove() error {
	if s.dir == "" {
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove folder of secrets: %w", err)
	}
	return nil
}

// removeSecretLeftovers removes what a killed agent could not; a job that still runs keeps its own.
func (v *Verbs) removeSecretLeftovers() {
	entries, err := os.ReadDir(v.cfg.RuntimeDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		job, isJob := strings.CutPrefix(e.Name(), jobSecretPrefix)
		if !isJob && !strings.HasPrefix(e.Name(), secretDirPrefix) {
			continue
		}
		if isJob && v.jobLives(job) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(v.cfg.RuntimeDir, e.Name())); err != nil {
			v.log.Error("remove secrets left behind", "folder", e.Name(), "error", err)
		}
	}
}

// redact hides the values of secrets that a program prints. It holds back as many bytes as may be the beginning of
// one, so that a value cut in two by the reads is found as well.
type redact struct {
	to     io.Writer
	values [][]byte
	held   []byte
	keep   int
}

// shortestSecret: a value shorter than this would blot out ordinary text.
const shortestSecret = 4

func newRedact(to io.Writer, values []string) *redact {
	r := &redact{to: to}
	for _, v := range values {
		if v = strings.TrimSpace(v); len(v) < shortestSecret {
			continue
		}
		for _, form := range writtenForms(v) {
			r.values = append(r.values, []byte(form))
			r.keep = max(r.keep, len(form)-1)
		}
	}
	return r
}

// writtenForms are the value and how it looks within an SQL literal: initdb prints the statement that failed.
func writtenForms(v string) []string {
	quoted := strings.ReplaceAll(v, "'", "''")
	return slices.Compact([]string{v, quoted, strings.ReplaceAll(quoted, `\`, `\\`)})
}

func (r *redact) Write(p []byte) (int, error) {
	if len(r.values) == 0 {
		return r.to.Write(p)
	}
	r.held = append(r.held, p...)
	for _, v := range r.values {
		r.held = bytes.ReplaceAll(r.held, v, []byte("***"))
	}
	if n := len(r.held) - r.keep; n > 0 {
		if _, err := r.to.Write(r.held[:n]); err != nil {
			return 0, err
		}
		r.held = append(r.held[:0], r.held[n:]...)
	}
	return len(p), nil
}

func (r *redact) flush() {
	if len(r.held) > 0 {
		_, _ = r.to.Write(r.held)
		r.held = nil
	}
}
