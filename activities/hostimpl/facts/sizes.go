package facts

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
)

const (
	// sizeKeep is how long a measured size is told again: walking a million files every minute is no idle agent.
	sizeKeep = 10 * time.Minute
	// sizeWait is how long a report waits for a first measurement.
	sizeWait = 500 * time.Millisecond
	// sizePause after every sizeBatch files keeps the walk from being felt.
	sizeBatch = 500
	sizePause = 5 * time.Millisecond
)

type size struct {
	bytes int64
	at    time.Time
}

// sizes measures data directories in the background, one at a time.
type sizes struct {
	mu      sync.Mutex
	by      map[string]size
	running chan struct{}
}

// fill puts in the sizes known and has the others measured.
func (s *sizes) fill(ctx context.Context, list []host.Instance) {
	s.mu.Lock()
	var due []string
	for _, in := range list {
		if in.Status != host.InstanceMissing && time.Since(s.by[in.DataDirectory].at) > sizeKeep {
			due = append(due, in.DataDirectory)
		}
	}
	if len(due) > 0 && s.running == nil {
		done := make(chan struct{})
		s.running = done
		go func() {
			defer close(done)
			s.measure(context.WithoutCancel(ctx), due)
		}()
	}
	running := s.running
	s.mu.Unlock()
	if running != nil {
		select {
		case <-running:
		case <-time.After(sizeWait):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, in := range list {
		if sz, ok := s.by[in.DataDirectory]; ok {
			list[i].SizeBytes = sz.bytes
		}
	}
}

func (s *sizes) measure(ctx context.Context, dirs []string) {
	for _, d := range dirs {
		n := dirSize(ctx, d)
		s.mu.Lock()
		s.by[d] = size{bytes: n, at: time.Now()}
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
}

// dirSize adds up the blocks of a data directory with its tablespaces and a WAL directory elsewhere, which are links.
func dirSize(ctx context.Context, dir string) int64 {
	roots := []string{dir}
	links, _ := filepath.Glob(filepath.Join(dir, "pg_tblspc", "*"))
	for _, l := range append(links, filepath.Join(dir, "pg_wal")) {
		if fi, err := os.Lstat(l); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			roots = append(roots, real(l))
		}
	}
	w := walk{ctx: ctx}
	for _, root := range roots {
		// Files vanish while we walk: an error is only one file less.
		_ = filepath.WalkDir(root, w.visit)
	}
	return w.bytes
}

// walk adds up files, with pauses so that it is not felt.
type walk struct {
	ctx   context.Context //nolint:containedctx // a WalkDirFunc has no other way to it
	bytes int64
	files int
}

func (w *walk) visit(_ string, e fs.DirEntry, err error) error {
	if w.ctx.Err() != nil {
		return fs.SkipAll
	}
	if err != nil {
		return nil //nolint:nilerr // a file that vanished
	}
	if fi, err := e.Info(); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			w.bytes += st.Blocks * 512
		}
	}
	if w.files++; w.files%sizeBatch == 0 {
		select {
		case <-time.After(sizePause):
		case <-w.ctx.Done():
		}
	}
	return nil
}
