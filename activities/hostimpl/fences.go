package hostimpl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/pgdrover/pgdrover/workflows/op"
)

// fences remembers the highest fencing number seen for each object. An operation that lost its lock still carries a
// lower one, and is refused however late its retry comes.
type fences struct {
	file string

	mu      sync.Mutex
	loaded  bool
	highest map[string]int64
}

func newFences(stateDir string) *fences {
	return &fences{file: filepath.Join(stateDir, "fences.json"), highest: map[string]int64{}}
}

func (f *fences) load() error {
	if f.loaded {
		return nil
	}
	if err := readJSON(f.file, &f.highest); err != nil && !errors.Is(err, os.ErrNotExist) {
		// Without the numbers nothing can be refused that should be, so nothing is accepted.
		return op.Permanent(op.CodeInternal, "read the fencing numbers: %v",
			"Restore or remove the file on the host; removing it forgets which operations lost their lock.", err)
	}
	f.loaded = true
	return nil
}

// pass accepts a number not lower than the highest one, and remembers it on disk before it returns. Zero is a step
// whose operation holds no exclusive lock of the object: there is nothing it could have lost.
func (f *fences) pass(object string, fence int64) error {
	if fence == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return err
	}
	high, known := f.highest[object]
	if known && fence < high {
		return op.Permanent(op.CodeStaleFence, "refuse the step: its fencing number %d for %s is lower than %d",
			"The operation lost its lock to a newer one; nothing was done.", fence, object, high)
	}
	if known && fence == high {
		return nil
	}
	f.highest[object] = fence
	if err := writeDurableJSON(f.file, f.highest); err != nil {
		if known {
			f.highest[object] = high
		} else {
			delete(f.highest, object)
		}
		return classify(fmt.Errorf("remember fencing number of %s: %w", object, err))
	}
	return nil
}

// raise is pass for a number that may be lower: then it is raised already.
func (f *fences) raise(object string, fence int64) error {
	f.mu.Lock()
	if err := f.load(); err != nil {
		f.mu.Unlock()
		return err
	}
	high, known := f.highest[object]
	f.mu.Unlock()
	if known && fence <= high {
		return nil
	}
	return f.pass(object, fence)
}
