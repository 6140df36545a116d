package facts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
	"github.com/pgdrover/pgdrover/internal/postgres"
)

// startSkew is how far the start times of /proc and of postmaster.pid may be apart: the first is computed from the
// boot time, which moves when the clock is set.
const startSkew = 10 * time.Second

// LivePostmaster returns the server that runs on a data directory; ok is false where none does, a left-over
// postmaster.pid whose number another process has now included.
func LivePostmaster(dir string) (postgres.Postmaster, bool) {
	b, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return postgres.Postmaster{}, false
	}
	pm, err := postgres.ParsePostmaster(b)
	if err != nil {
		return pm, false
	}
	return pm, isPostmaster(pm, dir)
}

func isPostmaster(pm postgres.Postmaster, dir string) bool {
	st, err := proc.Read(pm.PID)
	if err != nil || st.Dead() {
		return false
	}
	// The server works in its data directory, which tells it from any stranger; reading that takes the same user or root.
	if cwd := proc.Cwd(pm.PID); cwd != "" {
		return cwd == real(dir)
	}
	if st.Comm != "postgres" && st.Comm != "postmaster" {
		return false
	}
	d := st.StartedAt().Sub(pm.StartedAt)
	return pm.StartedAt.IsZero() || d > -startSkew && d < startSkew
}

// Look describes a data directory by its files alone.
func (c *Collector) Look(dir string) host.Instance {
	dir = real(dir)
	in := host.Instance{DataDirectory: dir, Status: host.InstanceMissing, SizeBytes: -1}
	ctl, err := control(dir)
	if errors.Is(err, os.ErrNotExist) {
		return in
	}
	in.SystemIdentifier = ctl.SystemIdentifier
	if b, err := os.ReadFile(filepath.Join(dir, "PG_VERSION")); err == nil {
		in.Version = strings.TrimSpace(string(b))
	}
	in.OSUser = owner(dir)
	signal := standbySignal(dir)
	pm, live := LivePostmaster(dir)
	if live {
		c.running(&in, pm, ctl, signal)
		return in
	}
	in.Status = host.InstanceStopped
	if !ctl.State.Clean() && ctl.State != "" {
		in.Status = host.InstanceCrashed
	}
	in.Role = "primary"
	if signal || ctl.State == postgres.StateShutDownRecover {
		in.Role = "standby"
	}
	in.Port = c.configuredPort(dir)
	in.BinDir = lastBinDir(dir)
	return in
}

func (c *Collector) running(in *host.Instance, pm postgres.Postmaster, ctl postgres.ControlData, signal bool) {
	in.Status, in.PID, in.Port, in.SocketDir = host.InstanceRunning, pm.PID, pm.Port, firstDir(pm.SocketDir)
	if pm.Status == postgres.PMStarting || pm.Status == "" && pm.Port == 0 {
		in.Status = host.InstanceStarting
	}
	if !pm.StartedAt.IsZero() {
		t := pm.StartedAt
		in.StartedAt = &t
	}
	switch {
	case ctl.State == postgres.StateArchiveRecovery, signal && ctl.State != postgres.StateInProduction:
		in.Role = "standby"
	default:
		in.Role = "primary"
	}
	s := c.server(in.DataDirectory, pm)
	in.BinDir, in.Unit = s.binDir, s.unit
	if s.user != "" {
		in.OSUser = s.user
	}
}

// server is what does not change in the life of a postmaster.
type server struct {
	pid                int
	started            time.Time
	binDir, user, unit string
}

func (c *Collector) server(dir string, pm postgres.Postmaster) server {
	c.mu.Lock()
	s, ok := c.servers[dir]
	c.mu.Unlock()
	if ok && s.pid == pm.PID && s.started.Equal(pm.StartedAt) {
		return s
	}
	s = server{pid: pm.PID, started: pm.StartedAt}
	if exe := proc.Exe(pm.PID); exe != "" {
		s.binDir = filepath.Dir(exe)
	} else {
		s.binDir = lastBinDir(dir)
	}
	if uid, ok := proc.OwnerUID(pm.PID); ok {
		s.user = username(uid)
	}
	if u := proc.Unit(pm.PID); !strings.HasPrefix(u, "pgdrover-agent") {
		s.unit = u
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[dir] = s
	return s
}

// firstDir takes the first of several socket directories.
func firstDir(s string) string {
	d, _, _ := strings.Cut(s, ",")
	return strings.TrimSpace(d)
}

func control(dir string) (postgres.ControlData, error) {
	f, err := os.Open(filepath.Join(dir, "global", "pg_control"))
	if err != nil {
		return postgres.ControlData{}, fmt.Errorf("read pg_control of %s: %w", dir, err)
	}
	defer f.Close()
	// The file has 8 KiB, what is told of it is in its first bytes.
	b := make([]byte, 64)
	n, err := f.Read(b)
	if err != nil {
		return postgres.ControlData{}, fmt.Errorf("read pg_control of %s: %w", dir, err)
	}
	c, ok := postgres.ParseControlFile(b[:n])
	if !ok {
		return c, fmt.Errorf("read pg_control of %s: unknown layout", dir)
	}
	return c, nil
}

func standbySignal(dir string) bool {
	for _, f := range []string{"standby.signal", "recovery.signal", "recovery.conf"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
			return true
		}
	}
	return false
}

// lastBinDir reads where the server was last started from.
func lastBinDir(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "postmaster.opts"))
	if err != nil {
		return ""
	}
	program := postgres.SplitOptions(string(b))[0]
	if !filepath.IsAbs(program) {
		return ""
	}
	return filepath.Dir(program)
}

var portRule = regexp.MustCompile(`(?m)^[ \t]*port[ \t]*=?[ \t]*'?([0-9]+)`)

// configuredPort is the port a stopped server will take, as far as its plain files tell.
func (c *Collector) configuredPort(dir string) int {
	conf := filepath.Join(dir, "postgresql.conf")
	if f := c.ConfigFile(dir); f != "" {
		conf = f
	}
	port := 5432
	for _, f := range []string{conf, filepath.Join(dir, "postgresql.auto.conf")} {
		if p := c.portIn(f); p > 0 {
			port = p
		}
	}
	return port
}

// portSetting is the port a file sets, 0 if none, as long as the file does not change.
type portSetting struct {
	modified time.Time
	size     int64
	port     int
}

func (c *Collector) portIn(file string) int {
	fi, err := os.Stat(file)
	if err != nil {
		return 0
	}
	c.mu.Lock()
	s, ok := c.ports[file]
	c.mu.Unlock()
	if ok && s.size == fi.Size() && s.modified.Equal(fi.ModTime()) {
		return s.port
	}
	s = portSetting{modified: fi.ModTime(), size: fi.Size()}
	if b, err := os.ReadFile(file); err == nil {
		if all := portRule.FindAllSubmatch(b, -1); len(all) > 0 {
			s.port, _ = strconv.Atoi(string(all[len(all)-1][1]))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ports[file] = s
	return s.port
}

func owner(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return username(int(st.Uid))
	}
	return ""
}

// Inspect describes a data directory with its server's full version; the directory is known from now on. It is
// answered under the path it was asked by.
func (c *Collector) Inspect(ctx context.Context, dir, binDir string) (host.Instance, error) {
	in := c.Look(dir)
	if binDir != "" && in.PID == 0 {
		in.BinDir = binDir
	}
	c.Complete(ctx, &in)
	if in.Status != host.InstanceMissing && c.reported(in.DataDirectory) {
		c.known.add(in.DataDirectory)
	}
	in.DataDirectory = dir
	return in, nil
}

// Complete adds what asking a program costs: version and edition of the server.
func (c *Collector) Complete(ctx context.Context, in *host.Instance) {
	if in.Status == host.InstanceMissing {
		return
	}
	bin, ok := host.Binaries{}, false
	if in.BinDir != "" {
		bin, ok = c.binaries.at(ctx, in.BinDir)
	}
	if !ok && in.PID == 0 {
		if bin, ok = c.binaries.forMajor(ctx, c.o.Folders(), postgres.MajorOf(in.Version)); ok {
			in.BinDir = bin.Dir
		}
	}
	if ok && bin.Major == postgres.MajorOf(in.Version) {
		in.Version, in.Edition = bin.Version, bin.Edition
	}
}
