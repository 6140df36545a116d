package hostimpl

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/stretchr/testify/require"
)

// script makes a program in an allowed folder.
func (b *bench) script(name, body string) string {
	b.t.Helper()
	dir := filepath.Join(b.dir, "bin")
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	file := filepath.Join(dir, name)
	require.NoError(b.t, os.WriteFile(file, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
	b.v.cfg.Policy.ProgramFolders = []string{dir}
	return file
}

func (b *bench) run(body string, change ...func(*host.CommandRunIn)) (host.CommandRunOut, error) {
	b.t.Helper()
	in := host.CommandRunIn{Program: b.script("prog", body)}
	for _, f := range change {
		f(&in)
	}
	return twice(b, host.CommandRun, in)
}

func TestCommandOutput(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out, err := b.run(`echo "to $1"; echo err >&2; id -un; pwd; env | sort`, func(in *host.CommandRunIn) {
		in.Args = []string{"the $HOME `manager`"}
		in.Env = map[string]string{"GREETING": "hello"}
	})
	require.NoError(t, err)
	u, err := lookupUser(testUser(t))
	require.NoError(t, err)
	require.Contains(t, out.Tail, "to the $HOME `manager`\nerr\n"+u.Name+"\n")
	for _, want := range []string{"GREETING=hello", "HOME=" + u.Home, "LC_MESSAGES=C", "PATH=" + b.dir + "/bin:"} {
		require.Contains(t, out.Tail, want)
	}
	// Nothing of the agent's own environment goes along.
	require.NotContains(t, out.Tail, "GOFLAGS")
	require.NotContains(t, out.Tail, "GOROOT")
	require.Equal(t, int64(len(out.Tail))+1, out.OutputBytes)
	ref := fmt.Sprintf("%02d-step/1", b.seq)
	require.Equal(t, out.Tail+"\n", b.output.text(ref))
	require.Empty(t, b.output.text(fmt.Sprintf("%02d-step/2", b.seq)), "it ran once")
}

func TestCommandTailOfMuchOutput(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out, err := b.run(`i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; printf '\000\377end'`)
	require.NoError(t, err)
	require.LessOrEqual(t, len(out.Tail), tailBytes+8)
	require.True(t, strings.HasPrefix(out.Tail, "line "), "whole lines")
	require.True(t, strings.HasSuffix(out.Tail, "\uFFFDend"), "no zero byte, valid text: %q", out.Tail[len(out.Tail)-10:])
	require.Greater(t, out.OutputBytes, int64(200000))
	require.Len(t, b.output.text(fmt.Sprintf("%02d-step/1", b.seq)), int(out.OutputBytes))
}

func TestCommandFailures(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.run(`echo sorry; exit 3`)
	f := wantCode(t, err, op.CodeCommandError)
	require.Contains(t, f.Message, "exit code 3")
	require.Contains(t, f.Message, "sorry")
	out, err := b.run(`exit 3`, func(in *host.CommandRunIn) { in.OKExitCodes = []int{3} })
	require.NoError(t, err)
	require.Equal(t, 3, out.ExitCode)
	_, err = b.run(`kill -SEGV $$`)
	f = wantCode(t, err, op.CodeCommandError)
	require.Contains(t, f.Message, "signal")

	begun := time.Now()
	_, err = b.run(`sleep 600 & echo $! ; wait`, func(in *host.CommandRunIn) { in.TimeoutSeconds = 1 })
	f = wantCode(t, err, op.CodeTimeout)
	require.Less(t, time.Since(begun), 8*time.Second)
	child, err := strconv.Atoi(strings.TrimSpace(b.output.text(fmt.Sprintf("%02d-step/1", b.seq))))
	require.NoError(t, err, f.Message)
	eventually(t, "the whole group is ended", func() bool { s, err := proc.Read(child); return err != nil || s.Dead() })
}

func TestCommandPolicy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := b.script("prog", "true")
	bad := filepath.Join(b.dir, "elsewhere")
	require.NoError(t, os.WriteFile(bad, []byte("#!/bin/sh\n"), 0o755))
	// A link in an allowed folder does not allow what it leads to.
	require.NoError(t, os.Symlink(bad, filepath.Dir(good)+"/link"))
	require.NoError(t, os.WriteFile(filepath.Dir(good)+"/text", []byte("x"), 0o644))
	b.v.cfg.Policy.Rules = map[string][]string{"mine": {bad}}

	for name, c := range map[string]struct {
		in   host.CommandRunIn
		code string
		hint string
	}{
		"elsewhere":         {host.CommandRunIn{Program: bad}, op.CodeForbidden, "program_folders"},
		"link":              {host.CommandRunIn{Program: filepath.Dir(good) + "/link"}, op.CodeForbidden, "program_folders"},
		"relative":          {host.CommandRunIn{Program: "prog"}, op.CodeInvalid, "absolute"},
		"dots":              {host.CommandRunIn{Program: b.dir + "/bin/../elsewhere"}, op.CodeInvalid, "absolute"},
		"absent":            {host.CommandRunIn{Program: b.dir + "/bin/none"}, op.CodeNotFound, "installed"},
		"no program":        {host.CommandRunIn{Program: filepath.Dir(good) + "/text"}, op.CodeInvalid, ""},
		"shell":             {host.CommandRunIn{Program: "/bin/sh"}, op.CodeForbidden, "program_folders"},
		"command not there": {host.CommandRunIn{Program: "/usr/bin/env", Policy: RuleCommand}, op.CodeForbidden, "commands"},
		"other rule":        {host.CommandRunIn{Program: "/usr/bin/env", Policy: "mine"}, op.CodeForbidden, "rules.mine"},
		"no rule":           {host.CommandRunIn{Program: good, Policy: "none"}, op.CodeForbidden, `"none"`},
		"root":              {host.CommandRunIn{Program: good, OSUser: "root"}, op.CodeForbidden, "os_users"},
		"preload":           {host.CommandRunIn{Program: good, Env: map[string]string{"LD_PRELOAD": "x"}}, op.CodeForbidden, ""},
		"password": {
			host.CommandRunIn{Program: good, Env: map[string]string{"PGPASSWORD": "x"}}, op.CodeForbidden, "secret_files",
		},
		"variable":       {host.CommandRunIn{Program: good, Env: map[string]string{"A=B": "x"}}, op.CodeInvalid, ""},
		"zero":           {host.CommandRunIn{Program: good, Args: []string{"a\x00b"}}, op.CodeInvalid, ""},
		"unknown secret": {host.CommandRunIn{Program: good, Args: []string{"{secret:x}"}}, op.CodeInvalid, ""},
	} {
		_, err := step(b, host.CommandRun, b.ref(), c.in)
		f := wantCode(t, err, c.code)
		require.Contains(t, f.Hint, c.hint, name)
		if c.code == op.CodeForbidden && !strings.Contains(name, "o") {
			require.Contains(t, f.Hint, b.v.cfg.Policy.File, name)
		}
	}
	_, err := step(b, host.CommandRun, b.ref(), host.CommandRunIn{Program: bad, Policy: "mine"})
	require.NoError(t, err)
	_, err = step(b, host.CommandRun, b.ref(), host.CommandRunIn{Program: "/usr/bin/uptime", Policy: RuleCommand})
	require.NoError(t, err)
}

func TestCommandSecrets(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const value = "s3cret-Value-of-some-length"
	b.secrets.values["pw"] = value
	out, err := b.run(
		`stat -c '%a %U' "$1"; cat "$1"; echo; stat -c '%a %U' "$(dirname "$1")"; tr '\0' ' ' < /proc/$$/cmdline`,
		func(in *host.CommandRunIn) {
			in.SecretFiles = map[string]host.SecretRef{"pw": op.SecretReference("pw")}
			in.Args = []string{"{secret:pw}"}
		},
	)
	require.NoError(t, err)
	u := testUser(t)
	require.Contains(t, out.Tail, "600 "+u+"\n***\n700 "+u)
	require.NotContains(t, out.Tail, value)
	require.NotContains(t, b.output.text(fmt.Sprintf("%02d-step/1", b.seq)), value)
	require.Equal(t, []string{"pw@" + testOperation}, b.secrets.asked)
	require.Empty(t, secretLeftovers(t, b))
	b.noSecretOnDisk(value)

	// Not readable: the program is not run, and nothing stays.
	_, err = b.run(`echo ran`, func(in *host.CommandRunIn) {
		in.SecretFiles = map[string]host.SecretRef{"other": op.SecretReference("none")}
	})
	wantCode(t, err, op.CodeForbidden)
	_, err = b.run(`echo ran`, func(in *host.CommandRunIn) {
		in.SecretFiles = map[string]host.SecretRef{"../x": op.SecretReference("pw")}
	})
	wantCode(t, err, op.CodeInvalid)
	require.Empty(t, secretLeftovers(t, b))

	// What a killed agent left behind goes at the next start.
	require.NoError(t, os.Mkdir(filepath.Join(b.v.cfg.RuntimeDir, secretDirPrefix+"left"), 0o700))
	b.v.removeSecretLeftovers()
	require.Empty(t, secretLeftovers(t, b))
}

func TestRedactAcrossWrites(t *testing.T) {
	t.Parallel()
	last := newTail(100)
	r := newRedact(last, []string{"password\n", "x"})
	for _, p := range []string{"the pass", "wo", "rd is passwo", "rk, x"} {
		_, err := r.Write([]byte(p))
		require.NoError(t, err)
	}
	r.flush()
	require.Equal(t, "the *** is passwork, x", last.String())
}

// TestCommandCanceled: the program and all that it started are ended, and the step is not done.
func TestCommandCanceled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ref := b.ref()
	in := host.CommandRunIn{Program: b.script("prog", `trap '' TERM; echo $$; sleep 600 & wait; sleep 600`)}
	ctx, cancel := context.WithCancel(op.ContextWithRef(t.Context(), ref))
	done := make(chan error, 1)
	go func() {
		_, err := call(ctx, b, host.CommandRun, in)
		done <- err
	}()
	eventually(t, "it runs", func() bool { return strings.Contains(b.output.text(ref.Step+"/1"), "\n") })
	pid, err := strconv.Atoi(strings.TrimSpace(b.output.text(ref.Step + "/1")))
	require.NoError(t, err)
	cancel()
	select {
	case err = <-done:
	case <-time.After(endGrace + 10*time.Second):
		t.Fatal("the program that ignores SIGTERM was not killed")
	}
	require.Equal(t, op.CodeCanceled, op.FailureOf(err).Code)
	eventually(t, "the group is gone", func() bool { return syscall.Kill(-pid, 0) != nil })
	r, _, err := b.v.journal.load(ref.Operation, ref.Step)
	require.NoError(t, err)
	require.Equal(t, stateIntent, r.State)
}

// TestCommandOfKilledAgent: the program of an earlier attempt still runs; it is ended before the next run, whether
// its number was noted or not.
func TestCommandOfKilledAgent(t *testing.T) {
	t.Parallel()
	for name, noted := range map[string]bool{"noted": true, "killed before the note": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			ref := b.ref()
			prog := b.script("prog", `second=$(ls `+b.dir+`/pids/second 2>/dev/null); echo $$ >> `+b.dir+`/pids/all
[ "$second" ] || sleep 600`)
			require.NoError(t, os.Mkdir(b.dir+"/pids", 0o777))
			require.NoError(t, os.Chmod(b.dir+"/pids", 0o777))
			in := host.CommandRunIn{Program: prog}
			// The first attempt runs in an agent that is "killed": its flight is left alone.
			go func() { _, _ = step(b, host.CommandRun, ref, in) }()
			eventually(t, "the first runs", func() bool { _, err := os.Stat(b.dir + "/pids/all"); return err == nil })
			eventually(t, "and is noted", func() bool {
				r, ok, err := b.v.journal.load(ref.Operation, ref.Step)
				var n commandNotes
				return err == nil && ok && json.Unmarshal(r.Notes, &n) == nil && n.Process != nil
			})
			second := newBench(t, func(c *Config) { *c = b.v.cfg })
			second.output = b.output
			if !noted {
				r, _, err := second.v.journal.load(ref.Operation, ref.Step)
				require.NoError(t, err)
				r.Notes = json.RawMessage(`{"run":1}`)
				require.NoError(t, second.v.journal.save(r))
			}
			require.NoError(t, os.WriteFile(b.dir+"/pids/second", nil, 0o644))
			out, err := step(second, host.CommandRun, ref, in)
			require.NoError(t, err)
			require.Zero(t, out.ExitCode)
			pids := strings.Fields(read(t, b.dir+"/pids/all"))
			require.Len(t, pids, 2)
			first, err := strconv.Atoi(pids[0])
			require.NoError(t, err)
			s, err := proc.Read(first)
			require.True(t, err != nil || s.Dead(), "the first program is ended")
		})
	}
}

// TestResetDir: only what an interrupted run of this step left is removed, never what was there before.
func TestResetDir(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dir := filepath.Join(b.dir, "data")
	require.NoError(t, os.Mkdir(dir, 0o777))
	require.NoError(t, os.Chmod(dir, 0o777))
	in := host.CommandRunIn{
		Program:  b.script("prog", `ls `+dir+`; [ -z "$(ls `+dir+`)" ] || exit 1; touch `+dir+`/made`),
		ResetDir: dir,
	}
	ref := b.ref()
	_, err := step(b, host.CommandRun, ref, in)
	require.NoError(t, err)
	b.interrupt(ref)
	b.v.cfg.Policy.ProgramFolders = []string{filepath.Join(b.dir, "bin")}
	_, err = step(b, host.CommandRun, ref, in)
	require.NoError(t, err, "the half-made content was reset")

	// Another step finds something there: it is refused by the program, and an interruption does not make it ours.
	ref = b.ref()
	_, err = step(b, host.CommandRun, ref, in)
	wantCode(t, err, op.CodeCommandError)
	b.interrupt(ref)
	_, err = step(b, host.CommandRun, ref, in)
	wantCode(t, err, op.CodeCommandError)
	require.FileExists(t, dir+"/made")
}

func TestProgress(t *testing.T) {
	t.Parallel()
	p := progressFrom("  1234/5678 kB (21%), 0/1 tablespace", 99)
	require.Equal(t,
		host.Progress{Done: 1234 << 10, Total: 5678 << 10, Unit: "bytes", Note: "  1234/5678 kB (21%), 0/1 tablespace"}, p)
	require.Equal(t, int64(42), progressFrom("restored 42% of it", 1).Done)
	require.Equal(t, host.Progress{Done: 7, Unit: "bytes of output", Note: "hello"}, progressFrom("hello", 7))
}

func TestPolicyFile(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := filepath.Join(dir, "policy.yaml")
	p, err := LoadPolicy(file)
	require.NoError(t, err)
	require.NoError(t, p.Validate())

	require.NoError(t, os.WriteFile(file, []byte("instance_os_user: pg\nos_users: [backup]\ncommands: []\n"), 0o644))
	p, err = LoadPolicy(file)
	require.NoError(t, err)
	require.Equal(t, []string{"backup", "pg"}, p.OSUsers)
	require.Empty(t, p.Commands)

	require.NoError(t,
		os.WriteFile(file, []byte("commands: [ls]\ndata_roots: [/a/../b]\nunits: ['[']\nrules: {binaries: []}\n"), 0o644))
	_, err = LoadPolicy(file)
	for _, want := range []string{`"ls"`, "/a/../b", "pattern", "own setting"} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(file, []byte("data_root: /x\n"), 0o644))
	_, err = LoadPolicy(file)
	require.ErrorContains(t, err, "data_root")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.NoError(t, os.Chmod(file, 0o666))
	_, err = LoadPolicy(file)
	require.ErrorContains(t, err, "others may write")
}

func TestUnitsWithoutSystemd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := twice(b, host.UnitControl, host.UnitControlIn{Unit: "postgresql@15-main.service", Action: "start"})
	wantCode(t, err, "no-systemd")
	_, err = twice(b, host.UnitControl, host.UnitControlIn{Unit: "ssh.service", Action: "stop"})
	wantCode(t, err, op.CodeForbidden)
	_, err = twice(b, host.UnitControl, host.UnitControlIn{Unit: "postgresql.service", Action: "mask"})
	wantCode(t, err, op.CodeInvalid)
}
