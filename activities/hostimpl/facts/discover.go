package facts

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
)

// usualPlaces are where packages put data directories.
var usualPlaces = []string{"/var/lib/postgresql/*/*", "/var/lib/pgsql/*/data", "/var/lib/pgsql/data", "/var/lib/pgpro/*/data"}

// Discover looks everywhere for instances and returns what there is, by data directory.
func (c *Collector) Discover(ctx context.Context) []host.Instance {
	dirs := c.runningDirs()
	for _, d := range c.candidates() {
		if isCluster(d) {
			dirs = append(dirs, real(d))
		}
	}
	for _, d := range dirs {
		if c.reported(d) {
			c.known.add(d)
		}
	}
	out := c.Known()
	for i := range out {
		c.Complete(ctx, &out[i])
	}
	return out
}

// Known looks at the instances found before. It reads a few small files of each, so that it can be done every second.
func (c *Collector) Known() []host.Instance {
	out := []host.Instance{}
	for _, d := range c.known.list() {
		if !c.reported(d) {
			continue
		}
		in := c.Look(d)
		spelling, managed := c.spelling(d)
		if in.Status == host.InstanceMissing && !managed {
			// Nobody asked for it and it is gone: a removed instance.
			c.known.remove(d)
			continue
		}
		in.DataDirectory = spelling
		in.Conflict = c.Conflict(spelling)
		out = append(out, in)
	}
	return out
}

func (c *Collector) candidates() []string {
	patterns := slices.Clone(usualPlaces)
	for _, d := range append([]string{c.o.DataRoot}, c.o.ExtraDirs...) {
		if d != "" {
			patterns = append(patterns, d, filepath.Join(d, "*"), filepath.Join(d, "*", "*"), filepath.Join(d, "*", "*", "*"))
		}
	}
	var out []string
	for _, p := range patterns {
		found, _ := filepath.Glob(filepath.Join(p, "PG_VERSION"))
		for _, f := range found {
			out = append(out, filepath.Dir(f))
		}
	}
	for dir := range debianConfigs() {
		out = append(out, dir)
	}
	return out
}

func isCluster(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "global", "pg_control"))
	return err == nil
}

// runningDirs finds the data directories of running servers: a postmaster works in it.
func (c *Collector) runningDirs() []string {
	var out []string
	for _, pid := range proc.All() {
		st, err := proc.Read(pid)
		if err != nil || st.Dead() || st.Comm != "postgres" && st.Comm != "postmaster" {
			continue
		}
		// Children of a postmaster share its directory; the postmaster's own parent is none.
		if parent, err := proc.Read(st.PPID); err == nil && parent.Comm == st.Comm {
			continue
		}
		dir := proc.Cwd(pid)
		if dir == "" || !proc.SameWorld(pid) || !isCluster(dir) {
			continue
		}
		if pm, ok := LivePostmaster(dir); ok && pm.PID == pid {
			out = append(out, dir)
		}
	}
	return out
}

var dataDirRule = regexp.MustCompile(`(?m)^[ \t]*data_directory[ \t]*=?[ \t]*'([^']+)'`)

// debianConfigs maps data directories to configuration files kept apart from them.
func debianConfigs() map[string]string {
	out := map[string]string{}
	files, _ := filepath.Glob("/etc/postgresql/*/*/postgresql.conf")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if m := dataDirRule.FindSubmatch(b); m != nil {
			out[real(string(m[1]))] = f
		}
	}
	return out
}

// ConfigFile is where the cluster's postgresql.conf is, if not in the data directory.
func (c *Collector) ConfigFile(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, "postgresql.conf")); err == nil {
		return ""
	}
	return debianConfigs()[real(dir)]
}

var userNames sync.Map

func username(uid int) string {
	if n, ok := userNames.Load(uid); ok {
		return n.(string)
	}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
		userNames.Store(uid, name)
	}
	return name
}

// known is the data directories ever seen, kept over restarts: a stopped instance is found again wherever it is.
type known struct {
	file string
	log  *slog.Logger

	mu   sync.Mutex
	dirs map[string]bool
}

func loadKnown(stateDir string, log *slog.Logger) *known {
	k := &known{log: log, dirs: map[string]bool{}}
	if stateDir == "" {
		return k
	}
	k.file = filepath.Join(stateDir, "instances.json")
	b, err := os.ReadFile(k.file)
	if err != nil {
		return k
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		log.Warn("forget the known data directories", "error", err)
	}
	for _, d := range list {
		k.dirs[d] = true
	}
	return k
}

func (k *known) add(dir string) { k.change(dir, true) }

func (k *known) remove(dir string) { k.change(dir, false) }

func (k *known) change(dir string, present bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dirs[dir] == present {
		return
	}
	if present {
		k.dirs[dir] = true
	} else {
		delete(k.dirs, dir)
	}
	if k.file == "" {
		return
	}
	// What is lost here is found again by looking, so it need not be durable.
	b, err := json.Marshal(k.sorted())
	if err == nil {
		err = os.WriteFile(k.file+".tmp", b, 0o600)
	}
	if err == nil {
		err = os.Rename(k.file+".tmp", k.file)
	}
	if err != nil {
		k.log.Warn("keep the known data directories", "error", err)
	}
}

func (k *known) list() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sorted()
}

func (k *known) sorted() []string {
	out := make([]string, 0, len(k.dirs))
	for d := range k.dirs {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}
