package gateway

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db/gen"
)

const (
	statusCreating = "creating"
	// sizeStep is the change of size, in percent, that a page is refreshed for.
	sizeStep = 1
)

// instance writes one reported instance.
func (a *applier) instance(ctx context.Context, in host.Instance) error {
	old, known := a.known[in.DataDirectory]
	if !known {
		return a.discovered(ctx, in)
	}
	row := reported(old, in)
	row.Conflict = a.conflict(in, &old)
	if same(old, row) {
		return nil
	}
	if err := a.q.UpdateReported(ctx, gen.UpdateReportedParams{
		ID: row.ID, Status: row.Status, SystemIdentifier: row.SystemIdentifier, Port: row.Port, SocketDir: row.SocketDir,
		BinDir: row.BinDir, OsUser: row.OsUser, Unit: row.Unit, Version: row.Version, Edition: row.Edition, Role: row.Role,
		Pid: row.Pid, StartedAt: row.StartedAt, SizeBytes: row.SizeBytes, Conflict: row.Conflict,
	}); err != nil {
		return err
	}
	if visible(old, row) {
		a.changed[row.ID] = struct{}{}
	}
	return nil
}

func (a *applier) discovered(ctx context.Context, in host.Instance) error {
	row := reported(gen.Instance{ID: uuid.Must(uuid.NewV7()), SizeBytes: -1}, in)
	name, err := a.freeName(ctx, in)
	if err != nil {
		return err
	}
	a.changed[row.ID] = struct{}{}
	return a.q.InsertDiscovered(ctx, gen.InsertDiscoveredParams{
		ID: row.ID, HostID: a.host.ID, Name: name, Status: row.Status, DataDirectory: in.DataDirectory,
		SystemIdentifier: row.SystemIdentifier, Port: row.Port, SocketDir: row.SocketDir, BinDir: row.BinDir, OsUser: row.OsUser,
		Unit: row.Unit, Version: row.Version, Edition: row.Edition, Role: row.Role, Pid: row.Pid, StartedAt: row.StartedAt,
		SizeBytes: row.SizeBytes, Conflict: a.conflict(in, nil),
	})
}

// conflict names the other host record on this machine that holds the instance, if one does. Who had it first has it.
func (a *applier) conflict(in host.Instance, mine *gen.Instance) string {
	for _, h := range a.holders[in.DataDirectory] {
		if in.SystemIdentifier == "" || h.SystemIdentifier != in.SystemIdentifier {
			continue
		}
		if mine == nil || mine.Conflict != "" || h.CreatedAt.Before(mine.CreatedAt) {
			return h.HostName
		}
	}
	return ""
}

// freeName is for people to tell instances apart until one is adopted under a name of their choice.
func (a *applier) freeName(ctx context.Context, in host.Instance) (string, error) {
	suffix := filepath.Base(in.DataDirectory)
	if in.Port > 0 {
		suffix = strconv.Itoa(in.Port)
	}
	base := clip(a.host.Name+"-"+suffix, maxNameLength)
	names, err := a.q.InstanceNames(ctx, base)
	if err != nil {
		return "", err
	}
	taken := make(map[string]bool, len(names))
	for _, n := range names {
		taken[n] = true
	}
	name := base
	for i := 2; taken[name]; i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	return name, nil
}

// reported puts what an agent saw over a row. What it did not see stays as it was: a stopped server tells less.
func reported(row gen.Instance, in host.Instance) gen.Instance {
	settles := in.Status == host.InstanceRunning || in.Status == host.InstanceStopped
	if row.Status != statusCreating || settles {
		row.Status = in.Status
	}
	row.SystemIdentifier = cmp.Or(in.SystemIdentifier, row.SystemIdentifier)
	row.Port = cmp.Or(int32(in.Port), row.Port)
	row.SocketDir = cmp.Or(in.SocketDir, row.SocketDir)
	row.BinDir = cmp.Or(in.BinDir, row.BinDir)
	row.OsUser = cmp.Or(in.OSUser, row.OsUser)
	row.Unit = cmp.Or(in.Unit, row.Unit)
	row.Version = cmp.Or(in.Version, row.Version)
	row.Edition = cmp.Or(in.Edition, row.Edition)
	row.Role = cmp.Or(in.Role, row.Role)
	row.Pid = int32(in.PID)
	row.StartedAt = in.StartedAt
	if row.StartedAt != nil {
		// As the repository keeps it, or it would differ with every report.
		t := row.StartedAt.UTC().Truncate(time.Microsecond)
		row.StartedAt = &t
	}
	if in.SizeBytes >= 0 {
		row.SizeBytes = in.SizeBytes
	}
	return row
}

func same(a, b gen.Instance) bool { return !visible(a, b) && a.SizeBytes == b.SizeBytes }

// visible tells whether a person sees a difference between two states of a row.
func visible(a, b gen.Instance) bool {
	if !sameTime(a.StartedAt, b.StartedAt) || sizeMoved(a.SizeBytes, b.SizeBytes) {
		return true
	}
	return a.Status != b.Status || a.SystemIdentifier != b.SystemIdentifier || a.Port != b.Port || a.SocketDir != b.SocketDir ||
		a.BinDir != b.BinDir || a.OsUser != b.OsUser || a.Unit != b.Unit || a.Version != b.Version || a.Edition != b.Edition ||
		a.Role != b.Role || a.Pid != b.Pid || a.Conflict != b.Conflict
}

func sizeMoved(a, b int64) bool {
	if a < 0 || b < 0 {
		return a != b
	}
	diff := a - b
	if diff < 0 {
		diff = -diff
	}
	return diff > a/100*sizeStep
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

func clip(s string, longest int) string {
	if len(s) > longest {
		return s[:longest]
	}
	return s
}
