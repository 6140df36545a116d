package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
)

const (
	spoolDir = "spool"
	// The spool's bounds: about half a day of full reports of a small host, or weeks of changes.
	maxSpooled      = 1000
	maxSpooledBytes = 32 << 20
	// A batch stays well below what the gateway reads.
	maxBatch      = 100
	maxBatchBytes = 4 << 20
)

// spoolMeta is what has to outlive the reports themselves.
type spoolMeta struct {
	Epoch string `json:"epoch"`
	// Acked is the highest number that was delivered or dropped: numbers go on from there.
	Acked   int64 `json:"acked"`
	Dropped int64 `json:"dropped"`
}

// entry is one report on disk.
type entry struct {
	seq   int64
	bytes int64
	facts bool
}

// spool keeps reports on disk, in order, until the manager has them. It is bounded: the oldest full reports go first,
// because the next one says the same again, and what was lost is counted. Reports are not worth an fsync: after a power
// cut the next full report makes up for them.
type spool struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	meta    spoolMeta
	next    int64
	entries []entry
	bytes   int64
	wake    chan struct{}
	max     int
	maxSize int64
}

func openSpool(stateDir string, log *slog.Logger) (*spool, error) {
	s := &spool{
		dir:     filepath.Join(stateDir, spoolDir),
		log:     log,
		wake:    make(chan struct{}, 1),
		max:     maxSpooled,
		maxSize: maxSpooledBytes,
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if err := s.readMeta(); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s.next = s.meta.Acked + 1
	for _, f := range files {
		s.found(f)
	}
	slices.SortFunc(s.entries, func(a, b entry) int { return int(a.seq - b.seq) })
	if len(s.entries) > 0 {
		s.poke()
	}
	return s, nil
}

func (s *spool) readMeta() error {
	b, err := os.ReadFile(s.metaFile())
	if err == nil {
		err = json.Unmarshal(b, &s.meta)
	}
	if err == nil && s.meta.Epoch != "" {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("begin a new spool", "error", err)
	}
	// Without the numbers told before, what is spooled cannot be told apart from what the manager has.
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	s.meta = spoolMeta{Epoch: uuid.NewString()}
	return s.writeMeta()
}

func (s *spool) found(f os.DirEntry) {
	base, ok := strings.CutSuffix(f.Name(), ".json")
	kind, num, ok2 := strings.Cut(base, "-")
	seq, err := strconv.ParseInt(num, 10, 64)
	if !ok || !ok2 || err != nil {
		return
	}
	fi, err := f.Info()
	if seq <= s.meta.Acked || err != nil {
		_ = os.Remove(filepath.Join(s.dir, f.Name()))
		return
	}
	s.entries = append(s.entries, entry{seq: seq, bytes: fi.Size(), facts: kind == "facts"})
	s.bytes += fi.Size()
	s.next = max(s.next, seq+1)
}

func (s *spool) metaFile() string { return filepath.Join(s.dir, "meta") }

func (s *spool) writeMeta() error {
	b, err := json.Marshal(s.meta)
	if err == nil {
		err = os.WriteFile(s.metaFile()+".tmp", b, 0o600)
	}
	if err == nil {
		err = os.Rename(s.metaFile()+".tmp", s.metaFile())
	}
	if err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

func (s *spool) file(e entry) string {
	kind := "change"
	if e.facts {
		kind = "facts"
	}
	return filepath.Join(s.dir, fmt.Sprintf("%s-%020d.json", kind, e.seq))
}

func (s *spool) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// add numbers a report and keeps it.
func (s *spool) add(r host.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Seq, r.Epoch = s.next, s.meta.Epoch
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("spool report: %w", err)
	}
	e := entry{seq: r.Seq, bytes: int64(len(b)), facts: r.Facts != nil}
	err = os.WriteFile(s.file(e)+".tmp", b, 0o600)
	if err == nil {
		err = os.Rename(s.file(e)+".tmp", s.file(e))
	}
	if err != nil {
		_ = os.Remove(s.file(e) + ".tmp")
		s.meta.Dropped++
		return fmt.Errorf("spool report: %w", err)
	}
	s.next++
	s.entries = append(s.entries, e)
	s.bytes += e.bytes
	s.bound()
	s.poke()
	return nil
}

// bound drops until the spool fits: the oldest full report that is not the newest of all, else the oldest report.
func (s *spool) bound() {
	for len(s.entries) > 1 && (len(s.entries) > s.max || s.bytes > s.maxSize) {
		i := max(slices.IndexFunc(s.entries[:len(s.entries)-1], func(e entry) bool { return e.facts }), 0)
		s.remove(i)
		s.meta.Dropped++
		if err := s.writeMeta(); err != nil {
			s.log.Warn("count a dropped report", "error", err)
		}
	}
}

func (s *spool) remove(i int) {
	e := s.entries[i]
	s.entries = slices.Delete(s.entries, i, i+1)
	s.bytes -= e.bytes
	if err := os.Remove(s.file(e)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("remove a report from the spool", "error", err)
	}
}

// batch reads the oldest reports; a file that cannot be read is dropped.
func (s *spool) batch() []host.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []host.Report
	var bytes int64
	for i := 0; i < len(s.entries) && len(out) < maxBatch; {
		e := s.entries[i]
		if len(out) > 0 && bytes+e.bytes > maxBatchBytes {
			break
		}
		b, err := os.ReadFile(s.file(e))
		var r host.Report
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil || r.Seq != e.seq {
			s.log.Warn("drop a damaged report", "seq", e.seq, "error", err)
			s.remove(i)
			s.meta.Dropped++
			continue
		}
		out, bytes = append(out, r), bytes+e.bytes
		i++
	}
	return out
}

// ack forgets what was delivered. The number first: should we die between the two, what is left over is known to be old.
func (s *spool) ack(seq int64, lost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta.Acked = max(s.meta.Acked, seq)
	s.meta.Dropped += lost
	if err := s.writeMeta(); err != nil {
		s.log.Warn("remember delivered reports", "error", err)
	}
	for len(s.entries) > 0 && s.entries[0].seq <= seq {
		s.remove(0)
	}
}

func (s *spool) dropped() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.Dropped
}

func (s *spool) length() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// deliver sends the spool in order until ctx ends.
func (s *spool) deliver(ctx context.Context, send func(context.Context, []host.Report) error, back *backoff) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		for batch := s.batch(); len(batch) > 0 && ctx.Err() == nil; batch = s.batch() {
			last := batch[len(batch)-1].Seq
			err := send(ctx, batch)
			switch {
			case err == nil:
				s.ack(last, 0)
				back.reset()
			case pointless(err) && len(batch) > 1:
				// One of them is at fault; alone it is found out which.
				s.oneByOne(ctx, batch, send)
			case pointless(err):
				s.log.Error("the manager does not take a report", "seq", last, "error", err)
				s.ack(last, 1)
			default:
				back.wait(ctx, err, "reports cannot be delivered; they are kept")
			}
		}
	}
}

func (s *spool) oneByOne(ctx context.Context, batch []host.Report, send func(context.Context, []host.Report) error) {
	for _, r := range batch {
		err := send(ctx, []host.Report{r})
		if err != nil && !pointless(err) {
			return
		}
		if err != nil {
			s.log.Error("the manager does not take a report", "seq", r.Seq, "error", err)
			s.ack(r.Seq, 1)
			continue
		}
		s.ack(r.Seq, 0)
	}
}

// backoff waits longer after each failure and logs seldom.
type backoff struct {
	log   *slog.Logger
	first time.Duration
	most  time.Duration
	// refusedWait is how long is waited when the manager no longer knows us.
	refusedWait time.Duration

	wait0  time.Duration
	logged time.Time
	failed bool
}

// logEvery is how often a lasting trouble is told again.
const logEvery = time.Minute

func newBackoff(log *slog.Logger) *backoff {
	return &backoff{log: log, first: 500 * time.Millisecond, most: 10 * time.Second, refusedWait: refusedRetry}
}

func (b *backoff) reset() {
	if b.failed {
		b.log.Info("the gateway is back")
	}
	b.wait0, b.failed, b.logged = 0, false, time.Time{}
}

func (b *backoff) wait(ctx context.Context, err error, what string) {
	if ctx.Err() != nil {
		return
	}
	if time.Since(b.logged) > logEvery {
		b.log.Warn("waiting for the gateway", "because", what, "error", err)
		b.logged = time.Now()
	}
	b.failed = true
	b.wait0 = min(max(b.first, 2*b.wait0), b.most)
	d := b.wait0
	if refused(err) {
		d = b.refusedWait
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
