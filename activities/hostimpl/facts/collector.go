// Package facts finds out what a database host is and which instances live on it: the machine, the installed servers,
// the data directories with and without a running server. It only looks. One look at an instance reads a few small
// files and starts no process, because the agent looks every second; what is expensive (sizes, versions) is cached.
package facts

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"golang.org/x/sys/unix"
)

// Options say what to look for.
type Options struct {
	Version        string
	Capabilities   []string
	Systemd        bool
	InstanceOSUser string
	DataRoot       string
	// Folders lists the folders of programs to look for servers in.
	Folders func() []string
	// StateDir keeps the data directories ever seen; nothing is kept if empty.
	StateDir string
	// ExtraDirs are looked at besides the usual places, and one and two levels below.
	ExtraDirs []string
	// IgnoreDirs are never reported: the manager's own repository.
	IgnoreDirs []string
	// OnlyUnder, where given, is all that is reported: for several agents on one machine.
	OnlyUnder []string
	// Hostname and MachineID are told instead of the real ones where given.
	Hostname  string
	MachineID string
	// Dropped counts lost reports.
	Dropped func() int64
	Logger  *slog.Logger
}

// Collector answers questions about the host. It is safe for use by many.
type Collector struct {
	o   Options
	log *slog.Logger

	binaries binaries
	sizes    sizes
	known    *known

	mu        sync.Mutex
	conflicts map[string]string
	// managed maps real paths of data directories to how the manager writes them.
	managed map[string]string
	// servers and ports are looked up again only when they changed.
	servers map[string]server
	ports   map[string]portSetting
}

// New makes a collector.
func New(o Options) *Collector {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Folders == nil {
		o.Folders = func() []string { return nil }
	}
	for _, list := range [][]string{o.IgnoreDirs, o.OnlyUnder} {
		for i, d := range list {
			list[i] = real(d)
		}
	}
	return &Collector{
		o: o, log: o.Logger, known: loadKnown(o.StateDir, o.Logger), conflicts: map[string]string{},
		managed: map[string]string{}, servers: map[string]server{}, ports: map[string]portSetting{},
		binaries: binaries{user: o.InstanceOSUser, cache: map[string]cachedBinary{}},
		sizes:    sizes{by: map[string]size{}},
	}
}

// Facts collects everything.
func (c *Collector) Facts(ctx context.Context) (host.Facts, error) {
	f := host.Facts{
		CollectedAt: time.Now().UTC(),
		Agent:       c.agent(),
		OS:          c.os(),
		CPU:         cpuFacts(ctx),
		Memory:      memory(ctx),
		Disks:       disks(ctx),
	}
	f.Binaries = c.binaries.list(ctx, c.o.Folders())
	f.Instances = c.Discover(ctx)
	c.sizes.fill(ctx, f.Instances)
	return f, nil
}

func (c *Collector) agent() host.AgentFacts {
	a := host.AgentFacts{
		Version:        c.o.Version,
		Capabilities:   c.o.Capabilities,
		Systemd:        c.o.Systemd,
		InstanceOSUser: c.o.InstanceOSUser,
		DataRoot:       c.o.DataRoot,
	}
	if c.o.Dropped != nil {
		a.DroppedReports = c.o.Dropped()
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			a.ResidentBytes = pages * int64(os.Getpagesize())
		}
	}
	return a
}

func (c *Collector) os() host.OS {
	o := host.OS{Hostname: c.o.Hostname, MachineID: c.o.MachineID}
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname()
	}
	if o.MachineID == "" {
		b, _ := os.ReadFile("/etc/machine-id")
		o.MachineID = strings.TrimSpace(string(b))
	}
	rel := releaseFile()
	o.Name, o.Version = rel["NAME"], rel["VERSION_ID"]
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		o.Kernel = unix.ByteSliceToString(u.Release[:])
		o.Architecture = unix.ByteSliceToString(u.Machine[:])
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		o.BootedAt = time.Now().Add(-time.Duration(si.Uptime) * time.Second).UTC().Truncate(time.Minute)
	}
	return o
}

func releaseFile() map[string]string {
	out := map[string]string{}
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if k, v, ok := strings.Cut(line, "="); ok {
				out[k] = strings.Trim(v, `"'`)
			}
		}
		return out
	}
	return out
}

func cpuFacts(ctx context.Context) host.CPU {
	var out host.CPU
	if infos, err := cpu.InfoWithContext(ctx); err == nil && len(infos) > 0 {
		out.Model = strings.TrimSpace(infos[0].ModelName)
	}
	out.Cores, _ = cpu.CountsWithContext(ctx, true)
	if avg, err := load.AvgWithContext(ctx); err == nil {
		out.Load1 = avg.Load1
	}
	// With no interval it is the use since the call before.
	if p, err := cpu.PercentWithContext(ctx, 0, false); err == nil && len(p) > 0 {
		out.UsedPercent = float64(int(p[0]*10)) / 10
	}
	return out
}

func memory(ctx context.Context) host.Memory {
	var out host.Memory
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		out = host.Memory{
			Total: int64(m.Total), Available: int64(m.Available), SwapTotal: int64(m.SwapTotal),
			SwapUsed: int64(m.SwapTotal) - int64(m.SwapFree),
		}
	}
	return out
}

// unreal file systems hold no data of ours.
var unreal = []string{"squashfs", "overlay", "tmpfs", "devtmpfs", "iso9660", "autofs", "fuse.lxcfs", "ramfs"}

func disks(ctx context.Context) []host.Disk {
	out := []host.Disk{}
	parts, err := disk.PartitionsWithContext(ctx, false)
	if err != nil {
		return out
	}
	seen := map[string]bool{}
	for _, p := range parts {
		if slices.Contains(unreal, p.Fstype) || seen[p.Device] {
			continue
		}
		var st unix.Statfs_t
		if unix.Statfs(p.Mountpoint, &st) != nil || st.Blocks == 0 {
			continue
		}
		// A device mounted twice (bind mounts) is one disk.
		seen[p.Device] = true
		out = append(out, host.Disk{
			Mount: p.Mountpoint, Device: p.Device, Type: p.Fstype, Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize,
		})
	}
	return out
}

// SetConflicts remembers what the manager said: these data directories belong to another agent.
func (c *Collector) SetConflicts(list []host.InstanceConflict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conflicts = map[string]string{}
	for _, x := range list {
		c.conflicts[x.DataDirectory] = x.HeldBy
	}
}

// Conflict names the other agent that holds a data directory.
func (c *Collector) Conflict(dir string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conflicts[dir]
}

// SetManaged says which data directories the manager knows; those are reported even when they are gone.
func (c *Collector) SetManaged(dirs []string) {
	m := map[string]string{}
	for _, d := range dirs {
		m[real(d)] = d
	}
	c.mu.Lock()
	c.managed = m
	c.mu.Unlock()
	for d := range m {
		c.known.add(d)
	}
}

// spelling is how the manager writes a data directory, if it knows it: links in the path may make that differ.
func (c *Collector) spelling(dir string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.managed[dir]; ok {
		return s, true
	}
	return dir, false
}

// reported tells whether a data directory is this agent's business.
func (c *Collector) reported(dir string) bool {
	within := func(list []string) bool {
		return slices.ContainsFunc(list,
			func(f string) bool { return dir == f || strings.HasPrefix(dir, strings.TrimSuffix(f, "/")+"/") })
	}
	return !within(c.o.IgnoreDirs) && (len(c.o.OnlyUnder) == 0 || within(c.o.OnlyUnder))
}

func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return filepath.Clean(path)
}
