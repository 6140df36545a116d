package hostimpl

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pgdrover/pgdrover/activities/hostimpl/proc"
)

// collectorRule is how a server says that from now on it logs elsewhere.
var collectorRule = regexp.MustCompile(`Future log output will appear in directory "([^"]+)"`)

// logTail returns the last of what the server wrote since its log had the given length; if it went on in a log
// directory, the last lines there, for they hold the reason.
func (c *control) logTail(from int64) string {
	text := endOf(c.log, from)
	m := collectorRule.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	dir := m[1]
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(c.dir, dir)
	}
	newest := newestFile(dir)
	if newest == "" {
		return text
	}
	return firstOf(endOf(newest, 0), text)
}

func newestFile(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	best, when := "", int64(0)
	for _, e := range entries {
		fi, err := e.Info()
		if err == nil && fi.Mode().IsRegular() && fi.ModTime().UnixNano() > when {
			best, when = filepath.Join(dir, e.Name()), fi.ModTime().UnixNano()
		}
	}
	return best
}

// endOf reads at most the last 4 KiB of a file that are after an offset.
func endOf(file string, from int64) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return ""
	}
	if from > fi.Size() {
		from = 0
	}
	t := newTail(tailBytes)
	if _, err := f.Seek(max(from, fi.Size()-tailBytes-1), io.SeekStart); err != nil {
		return ""
	}
	_, _ = io.Copy(t, f)
	return t.String()
}

// hints are what to do about the usual reasons, by what the server logs.
var hints = []struct {
	rule *regexp.Regexp
	hint string
}{
	{
		regexp.MustCompile(`(?i)address already in use|could not bind`),
		"Another server has the port: choose another one or stop that server.",
	},
	{
		regexp.MustCompile(`(?i)lock file .* already exists`),
		"Another server runs on this data directory or its socket directory holds a left-over lock file.",
	},
	{
		regexp.MustCompile(`(?i)invalid permissions|wrong ownership|permission denied`),
		"Check owner and mode of the data directory (owner: the instance's user, mode: 0700 or 0750).",
	},
	{
		regexp.MustCompile(
			`(?i)unrecognized configuration parameter|invalid value for parameter|syntax error in file|contains errors|invalid line`,
		),
		"A setting is wrong: correct the named line of the configuration.",
	},
	{regexp.MustCompile(`(?i)no space left`), "The file system is full: free space."},
	{
		regexp.MustCompile(`(?i)could not map anonymous shared memory|cannot allocate memory|could not create shared memory`),
		"There is too little memory (or huge pages) for shared_buffers: lower it.",
	},
	{
		regexp.MustCompile(`(?i)incompatible with server|database files are incompatible|initialized by PostgreSQL version`),
		"The data directory belongs to another version: use that version's programs.",
	},
	{
		regexp.MustCompile(`(?i)could not access file|could not load library`),
		"A library of shared_preload_libraries is not installed: install it or take it out of the setting.",
	},
	{
		regexp.MustCompile(
			`(?i)could not locate (required|a valid) checkpoint|invalid (primary|secondary) checkpoint|requested timeline`,
		),
		"The data directory is damaged or an incomplete copy: restore it from a backup.",
	},
	{
		regexp.MustCompile(`(?i)could not load (server certificate|private key)|private key file .* has group`),
		"Check the TLS certificate and its key: both must be readable by the instance's user, the key by nobody else.",
	},
}

func startHint(text string) string {
	for _, h := range hints {
		if h.rule.MatchString(text) {
			return h.hint
		}
	}
	return "Look at the server's log for the reason."
}

// helpers are the server's own processes by their titles; whatever else is below a postmaster serves a client.
var helpers = []string{
	"checkpointer", "background writer", "walwriter", "autovacuum launcher", "autovacuum worker", "logical replication",
	"archiver", "stats collector", "startup", "walreceiver", "logger", "parallel worker", "slotsync", "io worker", "walsummarizer",
	"cfs", "scheduler", "bgworker",
}

// countClients counts the processes below a postmaster that serve clients.
func countClients(pid int) int {
	n := 0
	for _, ch := range proc.Children(pid) {
		title := strings.Join(proc.Cmdline(ch.PID), " ")
		rest, ok := strings.CutPrefix(title, "postgres: ")
		if !ok {
			continue
		}
		if !slices.ContainsFunc(helpers, func(h string) bool { return strings.HasPrefix(rest, h) || strings.Contains(rest, ": "+h) }) {
			n++
		}
	}
	return n
}
