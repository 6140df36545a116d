package hostimpl

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// access is what a verb wants to do with a path.
type access int

const (
	toRead access = iota
	toWrite
	// toReplace removes or renames the thing itself, which its being a root of data forbids.
	toReplace
)

// target is a path after resolution: where it really is, and what of it does not exist yet.
type target struct {
	// Asked is the path as it was given, for messages.
	Asked string
	// Existing is the real path of the deepest existing part.
	Existing string
	// Missing are the components below that do not exist.
	Missing []string
}

// Real is the whole real path.
func (t target) Real() string { return filepath.Join(append([]string{t.Existing}, t.Missing...)...) }

// Exists tells whether the path itself exists.
func (t target) Exists() bool { return len(t.Missing) == 0 }

// locate resolves a path and checks the result against the policy. What counts is where the path leads, not how it
// is written, so links in the way are followed before the check and none is accepted after it.
func (v *Verbs) locate(path string, want access, followLast bool) (target, error) {
	t := target{Asked: path}
	if err := safefs.Check(path); err != nil {
		return t, op.Permanent(op.CodeInvalid, "%v", "Give an absolute path without `..` and without a slash at its end.", err)
	}
	var err error
	t.Existing, t.Missing, err = safefs.Resolve(path, followLast)
	if err != nil {
		return t, classify(err)
	}
	return t, v.allowed(t.Real(), want)
}

func (v *Verbs) allowed(real string, want access) error {
	p := v.cfg.Policy
	deny := func(why string) error {
		return op.Permanent(op.CodeForbidden, "use path %s: the policy of this host does not allow it (%s)",
			fmt.Sprintf("Choose another path, or edit `data_roots` or `denied_paths` in %s on the host.", p.File), real, why)
	}
	// What the agent itself lives by is out of reach, else the manager could lift the policy.
	own := []string{v.cfg.StateDir, v.cfg.RuntimeDir, filepath.Dir(p.File), "/etc/pgdrover", "/run/pgdrover-agent"}
	for _, dir := range own {
		if dir != "" && dir != "/" && under(real, dir) && !unitSettings(real) {
			return deny("it belongs to the agent")
		}
	}
	if underAny(real, p.DeniedPaths) {
		return deny("listed in denied_paths")
	}
	if want == toRead && slices.Contains(p.ReadRoots, real) {
		return nil
	}
	if want == toRead && secretName(real) {
		return deny("its name says that it holds a secret")
	}
	if want == toRead && underAny(real, p.ReadRoots) {
		return nil
	}
	if want != toRead && v.inProgramFolder(real) {
		return deny("a folder of programs that may be run")
	}
	// The agent's own data root was chosen on the host, wherever it is.
	root := v.cfg.DataRoot
	if root == "" || !under(real, root) {
		root = ""
		if !underAny(real, p.DataRoots) {
			return deny("outside data_roots")
		}
		if underAny(real, systemDirs) && !underAny(real, systemExceptions) {
			return deny("a folder of the operating system")
		}
	}
	if hidden(strings.TrimPrefix(real, root)) {
		return deny("a hidden file or folder")
	}
	if want == toReplace && (slices.Contains(systemItself, real) || slices.Contains(p.DataRoots, real) || real == v.cfg.DataRoot) {
		return deny("it may not be removed itself, only things below it")
	}
	return nil
}

// inProgramFolder keeps the manager from bringing its own programs to where the policy lets programs run from.
func (v *Verbs) inProgramFolder(real string) bool {
	for dir := real; dir != "/"; dir = filepath.Dir(dir) {
		if v.cfg.Policy.binaryFolder(dir) {
			return true
		}
	}
	return false
}

// unitSettingsDir has one file for each instance that runs as a unit: where its programs and data are. The unit asks
// the policy again before it runs anything.
const unitSettingsDir = "/etc/pgdrover/instances"

func unitSettings(real string) bool {
	return real == unitSettingsDir || filepath.Dir(real) == unitSettingsDir && strings.HasSuffix(real, ".env")
}

// hidden tells of a component that begins with a dot: keys and start-up files of people are so.
func hidden(real string) bool {
	return strings.Contains(real, "/.")
}

func secretName(real string) bool {
	base := filepath.Base(real)
	return strings.HasSuffix(base, ".key") || strings.Contains(base, "pgpass") || base == "passfile"
}
