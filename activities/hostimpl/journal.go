package hostimpl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/temporal"
)

// journalKeep is how long answers are kept: far longer than any operation retries.
const journalKeep = 30 * 24 * time.Hour

// The states of a record.
const (
	stateIntent = "intent"
	stateDone   = "done"
)

// record is what the journal holds of one step.
type record struct {
	State     string    `json:"state"`
	Verb      string    `json:"verb"`
	Operation string    `json:"operation"`
	Step      string    `json:"step"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// Attempts that began the work.
	Attempts int `json:"attempts"`
	// Notes are the verb's own, saved while it works, for an attempt after an interrupted one.
	Notes json.RawMessage `json:"notes,omitempty"`
	// Answer or Failure is set when done.
	Answer  json.RawMessage `json:"answer,omitempty"`
	Failure *op.Failure     `json:"failure,omitempty"`
}

// journal remembers what steps did, so that a step asked twice works once. A record is on disk before the work
// begins and again before its answer leaves the host.
type journal struct {
	dir string

	mu sync.Mutex
	// unsaved holds answers that could not be written because the disk was full: at least this process knows them.
	unsaved map[string]record
}

func newJournal(stateDir string) *journal {
	return &journal{dir: filepath.Join(stateDir, "journal"), unsaved: map[string]record{}}
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// file names a record; names that are no names of files are refused, for they come from outside.
func (j *journal) file(operation, step string) (string, error) {
	for _, n := range []string{operation, step} {
		if !nameRule.MatchString(n) {
			return "", op.Permanent(op.CodeInvalid, "read step reference: %q is not a name", "", n)
		}
	}
	return filepath.Join(j.dir, operation, step+".json"), nil
}

// load returns the record of a step; ok is false where there is none.
func (j *journal) load(operation, step string) (r record, ok bool, err error) {
	file, err := j.file(operation, step)
	if err != nil {
		return r, false, err
	}
	j.mu.Lock()
	r, ok = j.unsaved[file]
	j.mu.Unlock()
	if ok {
		return r, true, nil
	}
	err = readJSON(file, &r)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return r, false, nil
	case err != nil:
		// A damaged record must not lead to the work being done twice.
		return r, false, op.Permanent(op.CodeInternal, "read the journal: %v",
			"Look on the host whether the step was done, then remove the file.", err)
	}
	return r, true, nil
}

// save writes a record through to the disk.
func (j *journal) save(r record) error {
	file, err := j.file(r.Operation, r.Step)
	if err != nil {
		return err
	}
	if err := j.makeDir(filepath.Dir(file)); err != nil {
		return classify(fmt.Errorf("journal step %s: %w", r.Step, err))
	}
	if err := writeDurableJSON(file, r); err != nil {
		return classify(fmt.Errorf("journal step %s: %w", r.Step, err))
	}
	return nil
}

func (j *journal) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(syncDir(j.dir), syncDir(filepath.Dir(j.dir)))
}

// finish writes the answer. The work is done, so a full disk must not turn it into a failure: the answer is kept in
// memory then.
func (j *journal) finish(r record) error {
	err := j.save(r)
	if err == nil {
		return nil
	}
	if file, ferr := j.file(r.Operation, r.Step); ferr == nil {
		j.mu.Lock()
		j.unsaved[file] = r
		j.mu.Unlock()
	}
	return err
}

// each calls fn with the records of an operation, those of an unknown one being none.
func (j *journal) each(operation string, fn func(record)) error {
	if !nameRule.MatchString(operation) {
		return op.Permanent(op.CodeInvalid, "read the journal: %q is not the name of an operation", "", operation)
	}
	entries, err := os.ReadDir(filepath.Join(j.dir, operation))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the journal of %s: %w", operation, err)
	}
	for _, e := range entries {
		step, isRecord := strings.CutSuffix(e.Name(), ".json")
		if !isRecord || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		r, ok, err := j.load(operation, step)
		if err != nil {
			return err
		}
		if ok {
			fn(r)
		}
	}
	return nil
}

// prune forgets operations of which nothing was written for long.
func (j *journal) prune(now time.Time) error {
	entries, err := os.ReadDir(j.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune the journal: %w", err)
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(j.dir, e.Name())
		newest := time.Time{}
		werr := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err == nil && fi.ModTime().After(newest) {
				newest = fi.ModTime()
			}
			return err
		})
		if werr == nil && now.Sub(newest) > journalKeep {
			werr = os.RemoveAll(dir)
		}
		errs = append(errs, werr)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("prune the journal: %w", err)
	}
	return nil
}

// failureOf keeps a permanent error as data, and asError makes the same error of it again.
func failureOf(err error) *op.Failure {
	f := op.FailureOf(err)
	f.Step = ""
	return f
}

func asError(f op.Failure) error {
	return temporal.NewNonRetryableApplicationError(f.Message, f.Code, nil, f)
}
