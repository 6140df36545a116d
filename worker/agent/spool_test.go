package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/stretchr/testify/require"
)

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func change(dir string) host.Report {
	return host.Report{Instances: []host.Instance{{DataDirectory: dir}}}
}

func full() host.Report { return host.Report{Facts: &host.Facts{}} }

func seqs(list []host.Report) []int64 {
	out := []int64{}
	for _, r := range list {
		out = append(out, r.Seq)
	}
	return out
}

func TestSpoolOrderAndRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := openSpool(dir, discardLog())
	require.NoError(t, err)
	for range 5 {
		require.NoError(t, s.add(full()))
	}
	epoch := s.batch()[0].Epoch
	require.Equal(t, []int64{1, 2, 3, 4, 5}, seqs(s.batch()))
	s.ack(3, 0)

	s, err = openSpool(dir, discardLog())
	require.NoError(t, err)
	require.Equal(t, []int64{4, 5}, seqs(s.batch()))
	s.ack(5, 0)
	// Empty and restarted the numbers go on.
	s, err = openSpool(dir, discardLog())
	require.NoError(t, err)
	require.NoError(t, s.add(full()))
	require.Equal(t, []int64{6}, seqs(s.batch()))
	require.Equal(t, epoch, s.batch()[0].Epoch)

	// Killed between the note and the removal: what is left over is old.
	file := s.file(entry{seq: 6, facts: true})
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	s.ack(6, 0)
	require.NoError(t, os.WriteFile(file, content, 0o600))
	s, err = openSpool(dir, discardLog())
	require.NoError(t, err)
	require.Zero(t, s.length())
}

func TestSpoolBounds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := openSpool(dir, discardLog())
	require.NoError(t, err)
	s.max = 4
	// facts 1, change 2, facts 3, change 4, facts 5, change 6
	for i := range 6 {
		r := full()
		if i%2 == 1 {
			r = change("/x")
		}
		require.NoError(t, s.add(r))
	}
	require.Equal(t, []int64{2, 4, 5, 6}, seqs(s.batch()), "the oldest full reports go first")
	require.Equal(t, int64(2), s.dropped())
	for range 3 {
		require.NoError(t, s.add(change("/y")))
	}
	require.Equal(t, []int64{6, 7, 8, 9}, seqs(s.batch()), "then the oldest changes")
	require.Equal(t, int64(5), s.dropped())

	s.maxSize = 2000
	require.NoError(t, s.add(change(strings.Repeat("x", 1500))))
	require.LessOrEqual(t, s.bytes, int64(2000))
	lost := s.dropped()
	s, err = openSpool(dir, discardLog())
	require.NoError(t, err)
	require.Equal(t, lost, s.dropped(), "losses are counted over a restart")
}

func TestSpoolDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := openSpool(dir, discardLog())
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, s.add(change("/x")))
	}
	require.NoError(t, os.WriteFile(s.file(entry{seq: 2}), []byte("{"), 0o600))
	require.Equal(t, []int64{1, 3}, seqs(s.batch()))
	require.Equal(t, int64(1), s.dropped())
	epoch := s.meta.Epoch
	// Without its numbers the spool begins anew, so that the manager does not take new reports for old ones.
	require.NoError(t, os.WriteFile(filepath.Join(dir, spoolDir, "meta"), nil, 0o600))
	s, err = openSpool(dir, discardLog())
	require.NoError(t, err)
	require.NotEqual(t, epoch, s.meta.Epoch)
	require.Zero(t, s.length())
}

func fastBackoff() *backoff {
	return &backoff{log: discardLog(), first: time.Millisecond, most: 2 * time.Millisecond, refusedWait: time.Millisecond}
}

func TestSpoolDelivery(t *testing.T) {
	t.Parallel()
	s, err := openSpool(t.TempDir(), discardLog())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan int64, 100)
	fails := 3
	send := func(_ context.Context, batch []host.Report) error {
		if fails > 0 {
			fails--
			return errors.New("away")
		}
		for _, r := range batch {
			if r.Instances[0].DataDirectory == "/poison" {
				return &GatewayError{Status: 422, Code: "invalid-report"}
			}
		}
		for _, r := range batch {
			got <- r.Seq
		}
		return nil
	}
	for _, d := range []string{"/a", "/b", "/poison", "/c"} {
		require.NoError(t, s.add(change(d)))
	}
	done := make(chan struct{})
	go func() { defer close(done); s.deliver(ctx, send, fastBackoff()) }()
	for _, want := range []int64{1, 2, 4} {
		require.Equal(t, want, <-got)
	}
	require.NoError(t, s.add(change("/d")))
	require.Equal(t, int64(5), <-got)
	eventually(t, "all is acknowledged", func() bool { return s.length() == 0 })
	require.Equal(t, int64(1), s.dropped(), "what the manager never takes is lost and counted")
	cancel()
	<-done
}

func TestOutputInOrder(t *testing.T) {
	t.Parallel()
	u := newUploader(discardLog())
	ctx, cancel := context.WithCancel(t.Context())
	got := map[string][]byte{}
	fails := 2
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.run(ctx, func(_ context.Context, c *host.OutputChunk) error {
			if fails > 0 {
				fails--
				return errors.New("away")
			}
			key := c.Operation + "/" + c.Step
			if int64(len(got[key])) != c.Offset {
				t.Errorf("gap in %s: have %d, got %d", key, len(got[key]), c.Offset)
			}
			got[key] = append(got[key], c.Data...)
			return nil
		}, fastBackoff())
	}()
	want := map[string]string{}
	for i := range 200 {
		for _, op := range []string{"a", "b"} {
			s := u.Stream(op, "s", i).(*stream)
			s.run, s.offset = 1, int64(len(want[op+"/s"]))
			text := strings.Repeat(op, i)
			want[op+"/s"] += text
			_, err := s.Write([]byte(text))
			require.NoError(t, err)
		}
	}
	fctx, fcancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer fcancel()
	u.flush(fctx)
	require.NoError(t, fctx.Err())
	cancel()
	<-done
	for k, v := range want {
		require.Equal(t, v, string(got[k]))
	}
}

// TestOutputNeverBlocksForEver: with the manager away a command is held up once, then runs on and its output says
// what is missing.
func TestOutputNeverBlocksForEver(t *testing.T) {
	t.Parallel()
	u := newUploader(discardLog())
	u.max, u.waited = 100, 50*time.Millisecond
	s := u.Stream("o", "s", 1)
	begun := time.Now()
	for range 50 {
		n, err := s.Write(make([]byte, 30))
		require.NoError(t, err)
		require.Equal(t, 30, n)
	}
	require.Less(t, time.Since(begun), time.Second)
	require.LessOrEqual(t, u.bytes, 100)
	for c := u.first(); c != nil; c = u.first() {
		u.drop(c)
	}
	_, err := s.Write([]byte("end"))
	require.NoError(t, err)
	c := u.first()
	require.Contains(t, string(c.Data), "bytes of output are missing")
	require.Equal(t, int64(90), c.Offset)

	// The manager takes no more of an operation: it is not held for it.
	u.refuse(c, errors.New("full"))
	u.drop(c)
	for range 50 {
		_, err = s.Write(make([]byte, 90))
		require.NoError(t, err)
	}
	require.Nil(t, u.first())
}
