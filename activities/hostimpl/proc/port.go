package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const tcpListen = "0A"

// Listening tells whether anything listens on a TCP port of this network namespace, and who as far as we may see.
func Listening(port int) (inUse bool, process string) {
	inodes := map[string]bool{}
	for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			c := strings.Fields(line)
			if len(c) < 10 || c[3] != tcpListen {
				continue
			}
			_, hex, _ := strings.Cut(c[1], ":")
			if p, err := strconv.ParseInt(hex, 16, 32); err == nil && int(p) == port {
				inodes["socket:["+c[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return false, ""
	}
	return true, holder(inodes)
}

func holder(inodes map[string]bool) string {
	for _, pid := range All() {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		d, err := os.Open(dir)
		if err != nil {
			continue
		}
		names, _ := d.Readdirnames(-1)
		d.Close()
		for _, n := range names {
			if l, err := os.Readlink(filepath.Join(dir, n)); err == nil && inodes[l] {
				s, err := Read(pid)
				if err != nil {
					return ""
				}
				return s.Comm + " (process " + strconv.Itoa(pid) + ")"
			}
		}
	}
	return ""
}
