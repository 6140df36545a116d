package postgres

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// ClusterState is the state that pg_control holds.
type ClusterState string

// The states, as pg_controldata prints them in English.
const (
	StateStartingUp      ClusterState = "starting up"
	StateShutDown        ClusterState = "shut down"
	StateShutDownRecover ClusterState = "shut down in recovery"
	StateShuttingDown    ClusterState = "shutting down"
	StateCrashRecovery   ClusterState = "in crash recovery"
	StateArchiveRecovery ClusterState = "in archive recovery"
	StateInProduction    ClusterState = "in production"
)

// clusterStates is the DBState enumeration of pg_control.h in its order, the same since version 9.1.
var clusterStates = []ClusterState{
	StateStartingUp, StateShutDown, StateShutDownRecover, StateShuttingDown, StateCrashRecovery, StateArchiveRecovery,
	StateInProduction,
}

// Clean tells whether the server was stopped in order, so that no recovery is needed.
func (s ClusterState) Clean() bool { return s == StateShutDown || s == StateShutDownRecover }

// Standby tells whether the server was last in recovery as a standby is.
func (s ClusterState) Standby() bool { return s == StateArchiveRecovery || s == StateShutDownRecover }

// ControlData is what of pg_control is of interest here.
type ControlData struct {
	// SystemIdentifier in decimal: it does not fit a JSON number.
	SystemIdentifier string
	State            ClusterState
	// The rest is known from pg_controldata only.
	CheckpointLocation string
	Timeline           int
	WALSegmentBytes    int64
	DataChecksums      bool
}

// ParseControlData reads the output of pg_controldata, run with LC_MESSAGES=C.
func ParseControlData(out string) (ControlData, error) {
	fields := map[string]string{}
	for line := range strings.SplitSeq(out, "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			fields[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	c := ControlData{
		SystemIdentifier:   fields["Database system identifier"],
		State:              ClusterState(fields["Database cluster state"]),
		CheckpointLocation: fields["Latest checkpoint location"],
	}
	if _, err := strconv.ParseUint(c.SystemIdentifier, 10, 64); err != nil {
		return ControlData{}, fmt.Errorf("read output of pg_controldata: no system identifier in %q", clip(out))
	}
	c.Timeline, _ = strconv.Atoi(fields["Latest checkpoint's TimeLineID"])
	c.WALSegmentBytes, _ = strconv.ParseInt(fields["Bytes per WAL segment"], 10, 64)
	sum, err := strconv.Atoi(fields["Data page checksum version"])
	c.DataChecksums = err == nil && sum > 0
	return c, nil
}

// The control file's version has been a number of three or four digits (major and a counter) since 8.0; Postgres Pro
// Enterprise counts on with its own. A swapped byte order or a foreign file gives something far outside.
const (
	minControlVersion = 800
	maxControlVersion = 1 << 16
	// controlHead is the part of ControlFileData whose layout is the same in all versions: identifier (8 bytes),
	// control version (4), catalogue version (4), state (4).
	controlHead = 20
)

// ParseControlFile reads the head of global/pg_control itself. It costs no process, so it is what a watcher that
// looks every second uses; ok is false where the layout is not the known one and pg_controldata has to be asked.
func ParseControlFile(b []byte) (c ControlData, ok bool) {
	if len(b) < controlHead {
		return c, false
	}
	version := binary.NativeEndian.Uint32(b[8:])
	state := binary.NativeEndian.Uint32(b[16:])
	if version < minControlVersion || version > maxControlVersion || int(state) >= len(clusterStates) {
		return c, false
	}
	id := binary.NativeEndian.Uint64(b)
	if id == 0 {
		return c, false
	}
	return ControlData{SystemIdentifier: strconv.FormatUint(id, 10), State: clusterStates[state]}, true
}
