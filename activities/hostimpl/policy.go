package hostimpl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/workflows/op"
	"gopkg.in/yaml.v3"
)

// Policy is what the host allows the manager to do. It is read from a file that belongs to the host's administrator;
// no verb can change it, so a manager in wrong hands is held by it too. The zero value, completed by Defaults, suits
// a host that only runs databases.
type Policy struct {
	// File is where it was read from, for messages.
	File string `yaml:"-"`
	// InstanceOSUser owns instances unless told otherwise.
	InstanceOSUser string `yaml:"instance_os_user"`
	// OSUsers are the users that commands and servers may run as; InstanceOSUser always is.
	OSUsers []string `yaml:"os_users"`
	// ProgramFolders hold PostgreSQL's programs, beside those found in the usual places. Patterns are allowed.
	ProgramFolders []string `yaml:"program_folders"`
	// Commands are the programs of the rule "command", by their exact path.
	Commands []string `yaml:"commands"`
	// Rules are further named lists of programs.
	Rules map[string][]string `yaml:"rules"`
	// DataRoots are the folders under which files may be read and written; system folders are left out always.
	DataRoots []string `yaml:"data_roots"`
	// ReadRoots may be read besides.
	ReadRoots []string `yaml:"read_roots"`
	// DeniedPaths are left out besides the system's.
	DeniedPaths []string `yaml:"denied_paths"`
	// Units are patterns of systemd units that may be controlled.
	Units []string `yaml:"units"`
}

// The names of the two rules that always exist.
const (
	RuleBinaries = "binaries"
	RuleCommand  = "command"
)

// DefaultPolicyFile is where the package puts the policy.
const DefaultPolicyFile = "/etc/pgdrover/agent-policy.yaml"

// defaultProgramFolders are where distributions and vendors put PostgreSQL's programs.
var defaultProgramFolders = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/pgpro/*/bin", "/usr/local/pgsql/bin",
}

// defaultCommands look and do not touch.
var defaultCommands = []string{
	"/usr/bin/df", "/usr/bin/du", "/usr/bin/free", "/usr/bin/uptime", "/usr/bin/id", "/usr/bin/uname", "/usr/bin/lsblk",
	"/usr/bin/ls", "/usr/bin/true", "/usr/bin/false", "/usr/bin/date", "/usr/bin/hostname", "/usr/bin/nproc",
	"/usr/bin/vmstat", "/usr/bin/iostat", "/usr/bin/lscpu", "/usr/bin/locale", "/usr/bin/stat", "/usr/bin/sleep", "/usr/bin/echo",
}

var defaultUnits = []string{
	"pgdrover-postgresql@*.service", "postgresql.service", "postgresql@*.service", "postgresql-*.service", "postgrespro-*.service",
}

// systemDirs are never written below, whatever the roots; exceptions are the places of PostgreSQL within.
var systemDirs = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys",
	"/usr", "/var/cache", "/var/log", "/var/mail", "/var/run", "/var/spool", "/var/lib/apt", "/var/lib/dpkg",
	"/var/lib/rpm", "/var/lib/dnf", "/var/lib/systemd", "/var/lib/private", "/var/lib/dbus", "/var/lib/pam",
	"/var/lib/polkit-1", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet",
	"/var/lib/sudo", "/var/lib/cloud", "/var/lib/NetworkManager", "/lost+found", "/opt/pgpro",
}

var systemExceptions = []string{
	"/etc/postgresql",
	"/etc/pgbackrest",
	"/etc/pgpro",
	unitSettingsDir,
	"/run/postgresql",
	"/var/log/postgresql",
	"/var/log/pgbackrest",
	"/var/spool/pgbackrest",
	"/usr/local/pgsql/data",
}

// systemItself may not be removed or replaced as such, though things below some of them may.
var systemItself = []string{
	"/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp", "/etc/postgresql", "/run/postgresql",
	"/var/lib/postgresql", "/var/lib/pgsql", "/var/lib/pgpro", "/var/log/postgresql",
}

// Defaults fills what the file does not say.
func (p Policy) Defaults() Policy {
	if p.InstanceOSUser == "" {
		p.InstanceOSUser = "postgres"
		// An agent that is not root can only own what it runs.
		if u, err := user.Current(); err == nil && os.Geteuid() != 0 {
			p.InstanceOSUser = u.Username
		}
	}
	if p.File == "" {
		p.File = DefaultPolicyFile
	}
	if !slices.Contains(p.OSUsers, p.InstanceOSUser) {
		p.OSUsers = append(slices.Clone(p.OSUsers), p.InstanceOSUser)
	}
	if p.Commands == nil {
		p.Commands = defaultCommands
	}
	if p.DataRoots == nil {
		p.DataRoots = []string{"/"}
	}
	if p.ReadRoots == nil {
		p.ReadRoots = []string{"/etc/os-release", "/usr/lib/os-release", "/proc/meminfo", "/proc/cpuinfo", "/proc/loadavg"}
	}
	if p.Units == nil {
		p.Units = defaultUnits
	}
	return p
}

// LoadPolicy reads and checks the file; a file that does not exist is the default policy.
func LoadPolicy(file string) (Policy, error) {
	var p Policy
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return p, fmt.Errorf("read policy: %w", err)
	default:
		dec := yaml.NewDecoder(bytes.NewReader(b))
		dec.KnownFields(true)
		if err := dec.Decode(&p); err != nil && !errors.Is(err, io.EOF) {
			return p, fmt.Errorf("read policy %s: %w", file, err)
		}
		if err := onlyOwnerWrites(file); err != nil {
			return p, err
		}
	}
	p.File = file
	p = p.Defaults()
	return p, p.Validate()
}

// onlyOwnerWrites refuses a policy that everybody may rewrite: it would allow nothing and forbid nothing.
func onlyOwnerWrites(file string) error {
	fi, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("read policy: %w", err)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("read policy %s: others may write it (mode %04o); make it 0644", file, fi.Mode().Perm())
	}
	return nil
}

// Validate checks everything at once.
func (p Policy) Validate() error {
	var errs []error
	lists := map[string][]string{
		"program_folders": p.ProgramFolders, "commands": p.Commands, "data_roots": p.DataRoots, "read_roots": p.ReadRoots,
		"denied_paths": p.DeniedPaths,
	}
	for name, list := range p.Rules {
		if name == RuleBinaries || name == RuleCommand {
			errs = append(errs, fmt.Errorf("rules: %q has its own setting", name))
		}
		lists["rules."+name] = list
	}
	for name, list := range lists {
		for _, v := range list {
			if err := safefs.Check(v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	for _, list := range [][]string{p.ProgramFolders, p.Units} {
		for _, v := range list {
			if _, err := path.Match(v, ""); err != nil {
				errs = append(errs, fmt.Errorf("pattern %q: %w", v, err))
			}
		}
	}
	if slices.Contains(p.OSUsers, "") {
		errs = append(errs, errors.New("os_users: an empty name"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("policy %s: %w", p.File, err)
	}
	return nil
}

// Program checks a program against a rule and returns its real path, the one to execute.
func (p Policy) Program(rule, program string) (string, error) {
	if err := safefs.Check(program); err != nil {
		return "", op.Permanent(op.CodeInvalid, "run program: %v", "Give the absolute path of the program.", err)
	}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return "", op.Permanent(op.CodeNotFound, "run %s: %v", "Check that the program is installed on this host.", program, err)
	}
	fi, err := os.Stat(real)
	if err != nil || !fi.Mode().IsRegular() || fi.Mode().Perm()&0o111 == 0 {
		return "", op.Permanent(op.CodeInvalid, "run %s: it is no program", "", program)
	}
	if rule == "" {
		rule = RuleBinaries
	}
	switch rule {
	case RuleBinaries:
		// Debian links from one allowed folder into another; what counts is where the program really is.
		if p.binaryFolder(filepath.Dir(real)) {
			return real, nil
		}
		return "", p.forbid(program, fmt.Sprintf("add its folder %s to `program_folders`", filepath.Dir(real)))
	default:
		list, ok := p.Rules[rule]
		if rule == RuleCommand {
			list, ok = p.Commands, true
		}
		if !ok {
			return "", p.forbid(program, fmt.Sprintf("add a list %q to `rules`", rule))
		}
		if slices.Contains(list, program) {
			return p.sameNameOrListed(list, program, real)
		}
		where := "`commands`"
		if rule != RuleCommand {
			where = "`rules." + rule + "`"
		}
		return "", p.forbid(program, "add it to "+where)
	}
}

// sameNameOrListed lets /usr/bin/df be a link to /bin/df or the alternatives' target, not to a program of another
// name: such a link would turn a harmless entry into something else (as busybox does, by its argument 0).
func (p Policy) sameNameOrListed(list []string, program, real string) (string, error) {
	if filepath.Base(real) == filepath.Base(program) || slices.Contains(list, real) {
		return real, nil
	}
	return "", p.forbid(program, fmt.Sprintf("it is a link to %s; add that to the list if it is meant", real))
}

func (p Policy) binaryFolder(dir string) bool {
	for _, list := range [][]string{defaultProgramFolders, p.ProgramFolders} {
		for _, pattern := range list {
			if ok, _ := path.Match(pattern, dir); ok {
				return true
			}
			// A folder may be given by a path that goes through a link.
			if real, err := filepath.EvalSymlinks(pattern); err == nil && real == dir {
				return true
			}
		}
	}
	return false
}

// Folders lists the existing folders of programs, in which to look for servers.
func (p Policy) Folders() []string {
	var out []string
	for _, list := range [][]string{defaultProgramFolders, p.ProgramFolders} {
		for _, pattern := range list {
			found, _ := filepath.Glob(pattern)
			out = append(out, found...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// OSUser checks a user that something is to run as; empty is the owner of instances.
func (p Policy) OSUser(name string) (string, error) {
	if name == "" {
		return p.InstanceOSUser, nil
	}
	if slices.Contains(p.OSUsers, name) {
		return name, nil
	}
	return "", op.Permanent(op.CodeForbidden, "run as user %s: the policy of this host does not allow it",
		fmt.Sprintf("Add %s to `os_users` in %s on the host if it is meant.", name, p.File), name)
}

// Unit checks a systemd unit.
func (p Policy) Unit(unit string) error {
	for _, pattern := range p.Units {
		if ok, _ := path.Match(pattern, unit); ok {
			return nil
		}
	}
	return op.Permanent(op.CodeForbidden, "control unit %s: the policy of this host does not allow it",
		fmt.Sprintf("Add it to `units` in %s on the host if it is meant.", p.File), unit)
}

func (p Policy) forbid(what, remedy string) error {
	return op.Permanent(op.CodeForbidden, "use %s: the policy of this host does not allow it",
		fmt.Sprintf("If it is meant, edit %s on the host: %s, then restart the agent.", p.File, remedy), what)
}

// under tells whether a path is a folder or below it.
func under(path, folder string) bool {
	return path == folder || folder == "/" || strings.HasPrefix(path, folder+"/")
}

func underAny(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return under(path, f) })
}
