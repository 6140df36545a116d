package postgres

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The status words of the last line of postmaster.pid (since version 10).
const (
	PMStarting = "starting"
	PMStopping = "stopping"
	PMReady    = "ready"
	PMStandby  = "standby"
)

// Postmaster is the content of postmaster.pid.
type Postmaster struct {
	// PID of the postmaster; a single-user backend writes a negative one, see SingleUser.
	PID           int
	SingleUser    bool
	DataDirectory string
	StartedAt     time.Time
	Port          int
	SocketDir     string
	// ListenAddress is the first one, "*" for all, empty if the server listens on no TCP address.
	ListenAddress string
	// Status is one of the PM constants; empty where the server has not written it yet.
	Status string
}

// ParsePostmaster reads postmaster.pid. A server that just starts has written only the first lines; what is not
// there yet stays zero. A file without a process number is an error.
func ParsePostmaster(content []byte) (Postmaster, error) {
	lines := strings.Split(string(content), "\n")
	line := func(i int) string {
		if i < len(lines) {
			return strings.TrimSpace(lines[i])
		}
		return ""
	}
	pid, err := strconv.Atoi(line(0))
	if err != nil || pid == 0 {
		return Postmaster{}, fmt.Errorf("read postmaster.pid: %q is no process number", clip(line(0)))
	}
	p := Postmaster{PID: pid, DataDirectory: line(1), SocketDir: line(4), ListenAddress: line(5)}
	if pid < 0 {
		p.PID, p.SingleUser = -pid, true
	}
	if sec, err := strconv.ParseInt(line(2), 10, 64); err == nil && sec > 0 {
		p.StartedAt = time.Unix(sec, 0).UTC()
	}
	if port, err := strconv.Atoi(line(3)); err == nil {
		p.Port = port
	}
	switch s := line(7); s {
	case PMStarting, PMStopping, PMReady, PMStandby:
		p.Status = s
	}
	return p, nil
}
