package embedpostgres

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// postmaster is what postmaster.pid says.
type postmaster struct {
	pid   int
	port  int
	ready bool
}

// readPidFile reads postmaster.pid; ok is false when there is none or it is still being written.
func readPidFile(dataDir string) (pm postmaster, ok bool, err error) {
	path := filepath.Join(dataDir, "postmaster.pid")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return postmaster{}, false, nil
	}
	if err != nil {
		return postmaster{}, false, fmt.Errorf("read pid file of %s: %w", dataDir, err)
	}
	// Lines: pid, data directory, start time, port, socket directory, listen address, shared memory, status.
	lines := strings.Split(string(raw), "\n")
	if len(lines) < 4 {
		return postmaster{}, false, nil
	}
	pm.pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pm.pid <= 0 {
		return postmaster{}, false, fmt.Errorf("read pid file of %s: no process id in %q", dataDir, lines[0])
	}
	pm.port, err = strconv.Atoi(strings.TrimSpace(lines[3]))
	if err != nil {
		return postmaster{}, false, fmt.Errorf("read pid file of %s: no port in %q", dataDir, lines[3])
	}
	pm.ready = len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
	return pm, true, nil
}

// runningPostmaster finds the live postmaster of a data directory. A pid alone proves nothing: after a crash or a
// restart of the machine the number may belong to anybody, so the process must be PostgreSQL and work in our folder.
func runningPostmaster(dataDir string) (postmaster, bool, error) {
	pm, ok, err := readPidFile(dataDir)
	if err != nil || !ok {
		return postmaster{}, false, err
	}
	return pm, isServerProcess(pm.pid, dataDir), nil
}

// isServerProcess says whether a pid is a live PostgreSQL process of this data directory.
func isServerProcess(pid int, dataDir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return false
	}
	// "pid (name) state ...": a zombie still answers kill(pid, 0) where nobody reaps it (pid 1 of a container).
	end := bytes.LastIndexByte(stat, ')')
	start := bytes.IndexByte(stat, '(')
	if start < 0 || end < start || len(stat) < end+3 {
		return false
	}
	name, state := string(stat[start+1:end]), stat[end+2]
	if state == 'Z' || state == 'X' || !strings.HasPrefix(name, "postgres") {
		return false
	}
	cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
	return err == nil && cwd == dataDir
}

// serverProcesses lists all live PostgreSQL processes of a data directory, orphaned backends included.
func serverProcesses(dataDir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isServerProcess(pid, dataDir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// clearStaleLocks removes the pid file and socket locks whose number now belongs to another program, or to a dead one
// that nobody reaps: the server would take either for a live postmaster and refuse to start. When the number is free the
// files stay, PostgreSQL clears them itself. The caller has made sure that no process of the data directory is left.
func clearStaleLocks(l layout) error {
	paths, err := filepath.Glob(filepath.Join(l.run(), ".s.PGSQL.*.lock"))
	if err != nil {
		return fmt.Errorf("look for socket locks of %s: %w", l.dir, err)
	}
	for _, path := range append(paths, filepath.Join(l.data(), "postmaster.pid")) {
		raw, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read lock %s: %w", path, err)
		}
		first, _, _ := strings.Cut(string(raw), "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(first))
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove stale lock %s: %w", path, err)
		}
	}
	return nil
}
