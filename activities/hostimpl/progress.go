package hostimpl

import (
	"regexp"
	"strconv"

	"github.com/pgdrover/pgdrover/activities/host"
)

var (
	// kilobytesRule is how pg_basebackup and pg_checksums tell: "123/456 kB (27%), 0/1 tablespace".
	kilobytesRule = regexp.MustCompile(`(\d+)/(\d+) (kB|MB) \(\d+%\)`)
	percentRule   = regexp.MustCompile(`\b(\d{1,3})(?:\.\d+)?\s?%`)
)

// progressFrom reads a program's last line; where it tells nothing the bytes of output are the progress.
func progressFrom(line string, bytes int64) host.Progress {
	if m := kilobytesRule.FindStringSubmatch(line); m != nil {
		unit := int64(1 << 10)
		if m[3] == "MB" {
			unit = 1 << 20
		}
		done, _ := strconv.ParseInt(m[1], 10, 64)
		total, _ := strconv.ParseInt(m[2], 10, 64)
		return host.Progress{Done: done * unit, Total: total * unit, Unit: "bytes", Note: line}
	}
	if m := percentRule.FindStringSubmatch(line); m != nil {
		if done, _ := strconv.ParseInt(m[1], 10, 64); done <= 100 {
			return host.Progress{Done: done, Total: 100, Unit: "percent", Note: line}
		}
	}
	return host.Progress{Done: bytes, Unit: "bytes of output", Note: line}
}
