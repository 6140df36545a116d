// Package proc reads /proc: which process is which (a number alone says nothing once it was reused), who are the
// members of a process group, who listens on a port. A process is named by its number and its start time since boot;
// two with both the same do not exist.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ID names a process for as long as the machine runs, and is safe to keep in a file.
type ID struct {
	PID int `json:"pid"`
	// Start is the start time in clock ticks since boot.
	Start uint64 `json:"start"`
	// Boot is the boot's id: after a reboot both numbers may come again.
	Boot string `json:"boot,omitempty"`
}

// Stat is what of /proc/PID/stat is of use here.
type Stat struct {
	PID, PPID, PGRP, Session int
	State                    byte
	Start                    uint64
	Comm                     string
}

// ErrGone says that there is no such process.
var ErrGone = errors.New("no such process")

// userHZ is the unit of times in /proc; it is 100 on every Linux that PostgreSQL runs on.
const userHZ = 100

// BootID tells one run of the kernel from another.
var BootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

var bootTime = sync.OnceValue(func() time.Time {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if s, ok := strings.CutPrefix(line, "btime "); ok {
			sec, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			return time.Unix(sec, 0).UTC()
		}
	}
	return time.Time{}
})

// Read returns the state of a process; ErrGone where it does not exist.
func Read(pid int) (Stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, fmt.Errorf("read state of process %d: %w", pid, ErrGone)
	}
	// The name is in parentheses and may hold anything, so count from the last one.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return Stat{}, fmt.Errorf("read state of process %d: %q", pid, b)
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 {
		return Stat{}, fmt.Errorf("read state of process %d: %q", pid, b)
	}
	s := Stat{PID: pid, State: f[0][0], Comm: string(b[open+1 : end])}
	s.PPID, _ = strconv.Atoi(f[1])
	s.PGRP, _ = strconv.Atoi(f[2])
	s.Session, _ = strconv.Atoi(f[3])
	s.Start, _ = strconv.ParseUint(f[19], 10, 64)
	return s, nil
}

// Dead tells whether the process only waits for its parent to notice its end.
func (s Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// StartedAt is the start time on the wall clock, true to about a second.
func (s Stat) StartedAt() time.Time {
	return bootTime().Add(time.Duration(s.Start) * time.Second / userHZ)
}

// Identify names a living process.
func Identify(pid int) (ID, error) {
	s, err := Read(pid)
	if err != nil {
		return ID{}, err
	}
	if s.Dead() {
		return ID{}, fmt.Errorf("identify process %d: %w", pid, ErrGone)
	}
	return ID{PID: pid, Start: s.Start, Boot: BootID()}, nil
}

// Alive tells whether exactly this process still runs.
func (id ID) Alive() bool {
	if id.PID <= 0 || (id.Boot != "" && id.Boot != BootID()) {
		return false
	}
	s, err := Read(id.PID)
	return err == nil && s.Start == id.Start && !s.Dead()
}

// All lists the process numbers.
func All() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	out := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// Children lists the living children of a process.
func Children(pid int) []Stat {
	var out []Stat
	for _, p := range All() {
		if s, err := Read(p); err == nil && s.PPID == pid && !s.Dead() {
			out = append(out, s)
		}
	}
	return out
}

// Cmdline returns the arguments; kernel threads and processes that ended have none.
func Cmdline(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// Exe returns the program; a program replaced by an upgrade keeps its old path.
func Exe(pid int) string { return link(pid, "exe") }

// Cwd returns the working directory.
func Cwd(pid int) string { return link(pid, "cwd") }

func link(pid int, what string) string {
	s, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), what))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(s, " (deleted)")
}

// SameWorld tells whether a process shares our process and network namespaces: one in a container does not, its
// paths and ports are not ours. Where that cannot be read the answer is yes.
func SameWorld(pid int) bool {
	for _, ns := range []string{"ns/pid", "ns/net"} {
		theirs := link(pid, ns)
		ours, err := os.Readlink("/proc/self/" + ns)
		if err == nil && theirs != "" && theirs != ours {
			return false
		}
	}
	return true
}

// OwnerUID returns the user a process runs as.
func OwnerUID(pid int) (int, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if s, ok := strings.CutPrefix(line, "Uid:"); ok {
			f := strings.Fields(s)
			if len(f) > 1 {
				uid, err := strconv.Atoi(f[1])
				return uid, err == nil
			}
		}
	}
	return 0, false
}

// Unit returns the systemd service a process belongs to, empty if to none.
func Unit(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		for part := range strings.SplitSeq(line, "/") {
			if strings.HasSuffix(part, ".service") {
				return part
			}
		}
	}
	return ""
}
