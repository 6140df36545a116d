package embedpostgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Superuser is the only role of a new cluster.
const Superuser = "pgdrover"

// maxSocketPath is what fits into sockaddr_un with its closing zero.
const maxSocketPath = 107

// layout names what lies in the folder of a cluster.
type layout struct{ dir string }

func (l layout) data() string     { return filepath.Join(l.dir, "data") }
func (l layout) password() string { return filepath.Join(l.dir, "password") }
func (l layout) port() string     { return filepath.Join(l.dir, "port") }
func (l layout) lock() string     { return filepath.Join(l.dir, "lock") }
func (l layout) run() string      { return filepath.Join(l.dir, "run") }
func (l layout) logFile() string  { return filepath.Join(l.dir, "log", "postgresql.log") }

// socketDir is empty when a socket path would be too long; TCP on the loopback address is always there.
func (l layout) socketDir() string {
	if len(filepath.Join(l.run(), ".s.PGSQL.65535")) > maxSocketPath {
		return ""
	}
	return l.run()
}

// dataMajor reads the version that made the data directory; 0 when there is none yet.
func (l layout) dataMajor() (int, error) {
	raw, err := os.ReadFile(filepath.Join(l.data(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version of %s: %w", l.data(), err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("read version of %s: %q: %w", l.data(), raw, err)
	}
	return major, nil
}

// initialise makes the data directory. It works beside the final place and renames at the end, so that a crash half-way
// leaves nothing that looks like a cluster.
func initialise(ctx context.Context, cfg Config, l layout, r runner, bin BinDir) error {
	if err := writePassword(l, r); err != nil {
		return err
	}
	fresh := l.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clear %s: %w", fresh, err)
	}
	args := []string{
		"-D", fresh, "-U", Superuser, "--pwfile=" + l.password(), "--auth=scram-sha-256",
		"--locale=C.UTF-8", "--encoding=UTF8", "--data-checksums", "--no-instructions",
	}
	if cfg.FastUnsafe {
		args = append(args, "--no-sync")
	}
	if err := r.run(ctx, filepath.Join(bin.Path, "initdb"), args...); err != nil {
		return fmt.Errorf("initialise cluster in %s: %w", l.dir, err)
	}
	if err := os.Rename(fresh, l.data()); err != nil {
		return fmt.Errorf("initialise cluster in %s: %w", l.dir, err)
	}
	return nil
}

// writePassword makes a new password file, or keeps the one of a first try that did not get to its end.
func writePassword(l layout, r runner) error {
	if _, err := os.Stat(l.password()); err == nil {
		return r.own(l.password())
	}
	if err := writeFile(l.password(), rand.Text()+"\n", r); err != nil {
		return fmt.Errorf("keep password of %s: %w", l.dir, err)
	}
	return nil
}

func readPassword(l layout) (string, error) {
	raw, err := os.ReadFile(l.password())
	if err != nil {
		return "", fmt.Errorf("read password of %s: %w", l.dir, err)
	}
	password := strings.TrimSpace(string(raw))
	if password == "" {
		return "", fmt.Errorf("read password of %s: %s is empty", l.dir, l.password())
	}
	return password, nil
}

// ownSettings are decided here alone: callers would break adoption or the loopback rule with them.
var ownSettings = []string{"port", "listen_addresses", "unix_socket_directories", "data_directory", "hba_file"}

func checkSettings(settings map[string]string) error {
	for _, name := range ownSettings {
		if _, ok := settings[name]; ok {
			return fmt.Errorf("check settings: %s is decided by pgdrover", name)
		}
	}
	return nil
}

// writeConfiguration writes the whole postgresql.conf before each start, so that a changed Config takes effect. What a
// person did with ALTER SYSTEM lives in postgresql.auto.conf and still wins.
func writeConfiguration(cfg Config, l layout, r runner, port int) error {
	settings := map[string]string{ //nolint:gosec // password_encryption is a setting, no password
		"cluster_name":                     "pgdrover",
		"max_connections":                  "200",
		"shared_buffers":                   "128MB",
		"max_wal_size":                     "1GB",
		"dynamic_shared_memory_type":       "posix",
		"password_encryption":              "scram-sha-256",
		"log_min_messages":                 "warning",
		"log_line_prefix":                  "%m [%p] %u@%d ",
		"log_timezone":                     "UTC",
		"timezone":                         "UTC",
		"datestyle":                        "iso, ymd",
		"default_text_search_config":       "pg_catalog.simple",
		"idle_session_timeout":             "0",
		"client_connection_check_interval": "10s",
		// Compiling short queries costs more than it saves, and these are all short.
		"jit": "off",
	}
	if cfg.FastUnsafe {
		// Commits stay synchronous: without, a server killed with -9 would forget what it had said was committed.
		maps.Copy(settings, map[string]string{
			"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB",
		})
	}
	maps.Copy(settings, cfg.Settings)
	settings["port"] = strconv.Itoa(port)
	settings["listen_addresses"] = "127.0.0.1"
	settings["unix_socket_directories"] = l.socketDir()
	settings["unix_socket_permissions"] = "0700"

	var b strings.Builder
	b.WriteString("# Written by pgdrover at every start: changes here are lost, ALTER SYSTEM is kept.\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	if err := writeFile(filepath.Join(l.data(), "postgresql.conf"), b.String(), r); err != nil {
		return fmt.Errorf("configure cluster in %s: %w", l.dir, err)
	}
	return nil
}

// writeFile replaces a small private file as a whole.
func writeFile(path, content string, r runner) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := r.own(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
