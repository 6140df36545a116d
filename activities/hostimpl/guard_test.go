package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
)

func TestImplementationsAreTheContract(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	got := map[string]op.ActivityInfo{}
	for _, i := range b.v.Implementations() {
		got[i.Info.Name] = i.Info
	}
	require.Len(t, got, len(host.Verbs()))
	for _, want := range host.Verbs() {
		require.Equal(t, want, got[want.Name])
	}
}

// probe is a changing verb of the test's own under the wrapper.
var probeVerb = op.Activity[string, string]{Name: "probe"}

func probe(b *bench, ref op.StepRef, fn func(context.Context, *attempt, string) (string, error)) (string, error) {
	return probeIn(op.ContextWithRef(b.t.Context(), ref), b, fn)
}

func probeIn(ctx context.Context, b *bench, fn func(context.Context, *attempt, string) (string, error)) (string, error) {
	impl := changing(b.v, probeVerb, fn)
	return impl.Func.(func(context.Context, string) (string, error))(ctx, "in")
}

func TestChangingVerbsNeedAStep(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := call(t.Context(), b, host.CommandRun, host.CommandRunIn{Program: "/usr/bin/true", Policy: RuleCommand})
	wantCode(t, err, op.CodeForbidden)
	// Marked as read-only it needs neither journal nor fence.
	ref := b.ref()
	ref.ReadOnly = true
	_, err = step(b, host.CommandRun, ref, host.CommandRunIn{Program: "/usr/bin/true", Policy: RuleCommand})
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(b.v.journal.dir, ref.Operation))
}

func TestStepNamesAreNamesOfFiles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, bad := range []string{"", "..", "../x", "a/b", ".hidden", "a\x00b"} {
		ref := b.ref()
		ref.Step = bad
		_, err := step(b, host.Fence, ref, host.FenceIn{Object: "o", Fence: 1})
		wantCode(t, err, op.CodeInvalid)
		ref = b.ref()
		ref.Operation = bad
		_, err = step(b, host.Fence, ref, host.FenceIn{Object: "o", Fence: 1})
		wantCode(t, err, op.CodeInvalid)
	}
}

func TestDoneIsRepeatedAndFailureToo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	runs := 0
	work := func(_ context.Context, at *attempt, _ string) (string, error) {
		runs++
		require.False(t, at.Interrupted)
		if at.Ref.Seq%2 == 0 {
			return "", op.Permanent("no-way", "number %d", "a hint", runs)
		}
		return fmt.Sprint("run ", runs), nil
	}
	good, bad := b.ref(), b.ref()
	for range 3 {
		out, err := probe(b, good, work)
		require.NoError(t, err)
		require.Equal(t, "run 1", out)
		b.again()
	}
	for range 3 {
		_, err := probe(b, bad, work)
		f := wantCode(t, err, "no-way")
		require.Equal(t, op.Failure{Code: "no-way", Message: "number 2", Hint: "a hint"}, *f)
		b.again()
	}
	require.Equal(t, 2, runs)
}

// TestInterruptedAttemptIsTold: a transient failure, a panic and a kill leave an intent with the notes.
func TestInterruptedAttemptIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ref := b.ref()
	type notes struct{ N int }
	_, err := probe(b, ref, func(_ context.Context, at *attempt, _ string) (string, error) {
		require.NoError(t, at.Save(notes{1}))
		return "", op.Transient("later", errTest)
	})
	require.Error(t, err)
	require.False(t, permanent(err))
	_, err = probe(b, ref, func(_ context.Context, at *attempt, _ string) (string, error) {
		var n notes
		ok, err := at.Notes(&n)
		require.NoError(t, err)
		require.True(t, ok && at.Interrupted && n.N == 1)
		require.NoError(t, at.Save(notes{2}))
		panic("boom")
	})
	require.ErrorContains(t, err, "boom")
	require.False(t, permanent(err))
	b.again()
	out, err := probe(b, ref, func(_ context.Context, at *attempt, _ string) (string, error) {
		var n notes
		_, err := at.Notes(&n)
		require.NoError(t, err)
		return fmt.Sprint(n.N, " attempts before ", at.rec.Attempts), nil
	})
	require.NoError(t, err)
	require.Equal(t, "2 attempts before 3", out)
}

func TestFence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	run := func(object string, fence int64) error {
		ref := b.ref()
		ref.Object, ref.Fence = object, fence
		_, err := probe(b, ref, func(context.Context, *attempt, string) (string, error) { return "", nil })
		return err
	}
	require.NoError(t, run("a", 5))
	require.NoError(t, run("a", 5))
	require.NoError(t, run("b", 1))
	wantCode(t, run("a", 4), op.CodeStaleFence)
	require.NoError(t, run("a", 7))
	b.again()
	wantCode(t, run("a", 6), op.CodeStaleFence)
	require.NoError(t, run("a", 0), "a step without a lock is not fenced")
	must(b, host.Fence, host.FenceIn{Object: "b", Fence: 100})
	must(b, host.Fence, host.FenceIn{Object: "b", Fence: 3})
	wantCode(t, run("b", 99), op.CodeStaleFence)
	require.NoError(t, run("b", 100))

	// Damaged numbers protect nothing, so nothing is let through.
	require.NoError(t, os.WriteFile(b.v.fences.file, []byte("{"), 0o600))
	b.again()
	wantCode(t, run("a", 1000), op.CodeInternal)
}

// TestLateDuplicateJoins: two attempts of a step at a time share the work, in whichever order they come and go.
func TestLateDuplicateJoins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ref := b.ref()
	var runs atomic.Int64
	begun, let := make(chan struct{}), make(chan struct{})
	work := func(context.Context, *attempt, string) (string, error) {
		if runs.Add(1) == 1 {
			close(begun)
		}
		<-let
		return "done", nil
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			out, err := probe(b, ref, work)
			require.NoError(t, err)
			require.Equal(t, "done", out)
		})
	}
	<-begun
	close(let)
	wg.Wait()
	require.Equal(t, int64(1), runs.Load())
}

// TestGivenUpWorkDoesNotOverlap: a canceled attempt that takes its time is over before the next one begins.
func TestGivenUpWorkDoesNotOverlap(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ref := b.ref()
	var now atomic.Int64
	begun, told, let := make(chan struct{}), make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(op.ContextWithRef(t.Context(), ref))
	first := make(chan error, 1)
	go func() {
		_, err := probeIn(ctx, b, func(ctx context.Context, _ *attempt, _ string) (string, error) {
			now.Add(1)
			defer now.Add(-1)
			close(begun)
			<-ctx.Done()
			close(told)
			<-let
			return "", context.Cause(ctx)
		})
		first <- err
	}()
	<-begun
	cancel()
	<-told
	second := make(chan error, 1)
	go func() {
		_, err := probe(b, ref, func(_ context.Context, at *attempt, _ string) (string, error) {
			if now.Load() != 0 || !at.Interrupted {
				return "", errors.New("two at a time")
			}
			return "", nil
		})
		second <- err
	}()
	close(let)
	require.True(t, temporal.IsCanceledError(<-first))
	require.NoError(t, <-second)
}

func TestOneReferenceTwoVerbs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ref := b.ref()
	_, err := step(b, host.Fence, ref, host.FenceIn{Object: "o", Fence: 1})
	require.NoError(t, err)
	_, err = step(b, host.FileMkdir, ref, host.FileMkdirIn{Path: b.dir + "/x"})
	wantCode(t, err, op.CodeInvalid)
}

func TestDamagedJournalIsNoLicence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ref := b.ref()
	_, err := step(b, host.Fence, ref, host.FenceIn{Object: "o", Fence: 1})
	require.NoError(t, err)
	file, err := b.v.journal.file(ref.Operation, ref.Step)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(`{"state":"in`), 0o600))
	_, err = step(b, host.Fence, ref, host.FenceIn{Object: "o", Fence: 1})
	f := wantCode(t, err, op.CodeInternal)
	require.Contains(t, f.Hint, "remove the file")
}

func TestJournalIsPruned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old, young := b.ref(), b.ref()
	old.Operation = "0199aaaa-0000-7000-8000-00000000000f"
	for _, r := range []op.StepRef{old, young} {
		_, err := step(b, host.Fence, r, host.FenceIn{Object: "o", Fence: 1})
		require.NoError(t, err)
	}
	file, err := b.v.journal.file(old.Operation, old.Step)
	require.NoError(t, err)
	past := time.Now().Add(-journalKeep - time.Hour)
	require.NoError(t, os.Chtimes(file, past, past))
	require.NoError(t, os.Chtimes(filepath.Dir(file), past, past))
	require.NoError(t, b.v.journal.prune(time.Now()))
	require.NoDirExists(t, filepath.Dir(file))
	_, known, err := b.v.journal.load(young.Operation, young.Step)
	require.NoError(t, err)
	require.True(t, known)
}

// smallDisk mounts a file system of a few hundred KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := openDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0755"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	b := newBench(t, func(c *Config) { c.StateDir = filepath.Join(disk, "state") })
	ref := b.ref()
	done := func(context.Context, *attempt, string) (string, error) { return "done", nil }
	_, err := probe(b, ref, done)
	require.NoError(t, err)

	// Full before the work: it is not begun.
	fill(t, disk)
	begun := false
	_, err = probe(b, b.ref(), func(context.Context, *attempt, string) (string, error) {
		begun = true
		return "", nil
	})
	f := wantCode(t, err, op.CodeDiskFull)
	require.Contains(t, f.Hint, "Free space")
	require.False(t, begun)
	// What was done before is still known.
	out, err := probe(b, ref, func(context.Context, *attempt, string) (string, error) { return "again", nil })
	require.NoError(t, err)
	require.Equal(t, "done", out)

	// Full after the work: the work was done, which is the answer, also when asked again.
	require.NoError(t, os.Remove(filepath.Join(disk, "filler")))
	ref = b.ref()
	runs := 0
	work := func(context.Context, *attempt, string) (string, error) {
		runs++
		fill(t, disk)
		return "worked", nil
	}
	for range 2 {
		out, err = probe(b, ref, work)
		require.NoError(t, err)
		require.Equal(t, "worked", out)
	}
	require.Equal(t, 1, runs)
}

func TestFileWriteOnFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	b := newBench(t)
	file := filepath.Join(disk, "conf")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
	fill(t, disk)
	_, err := twice(b, host.FileWrite, host.FileWriteIn{Path: file, Content: make([]byte, 64<<10)})
	wantCode(t, err, op.CodeDiskFull)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "old", string(content))
	require.NoFileExists(t, filepath.Join(disk, ".pgdrover.conf.tmp"))
}
