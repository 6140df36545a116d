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
	why := v.ownOrDenied(real)
	if why == "" && want == toRead && slices.Contains(v.cfg.Policy.ReadRoots, real) {
		return nil
	}
	if why == "" && want == toRead && secretName(real) {
		why = "its name says that it holds a secret"
	}
	if why == "" && want == toRead && underAny(real, v.cfg.Policy.ReadRoots) {
		return nil
	}
	if why == "" && want != toRead && v.inProgramFolder(real) {
		why = "a folder of programs that may be run"
	}
	if why == "" {
		why = v.outsideRoots(real)
	}
	if why == "" && want == toReplace && v.isRoot(real) {
		why = "it may not be removed itself, only things below it"
	}
	if why == "" {
		return nil
	}
	return op.Permanent(op.CodeForbidden, "use path %s: the policy of this host does not allow it (%s)",
		fmt.Sprintf("Choose another path, or edit `data_roots` or `denied_paths` in %s on the host.", v.cfg.Policy.File), real, why)
}

// ownOrDenied says why a path is out of reach whatever is wanted. What the agent itself lives by is, else the manager
// could lift the policy.
func (v *Verbs) ownOrDenied(real string) string {
	own := []string{v.cfg.StateDir, v.cfg.RuntimeDir, filepath.Dir(v.cfg.Policy.File), "/etc/pgdrover", "/run/pgdrover-agent"}
	for _, dir := range own {
		if dir != "" && dir != "/" && under(real, dir) && !unitSettings(real) {
			return "it belongs to the agent"
		}
	}
	if underAny(real, v.cfg.Policy.DeniedPaths) {
		return "listed in denied_paths"
	}
	return ""
}

// outsideRoots says why a path is no place for data.
func (v *Verbs) outsideRoots(real string) string {
	// The agent's own data root was chosen on the host, wherever it is.
	root := v.cfg.DataRoot
	if root == "" || !under(real, root) {
		root = ""
		if !underAny(real, v.cfg.Policy.DataRoots) {
			return "outside data_roots"
		}
		if underAny(real, systemDirs) && !underAny(real, systemExceptions) {
			return "a folder of the operating system"
		}
	}
	if hidden(strings.TrimPrefix(real, root)) {
		return "a hidden file or folder"
	}
	return ""
}

func (v *Verbs) isRoot(real string) bool {
	return slices.Contains(systemItself, real) || slices.Contains(v.cfg.Policy.DataRoots, real) || real == v.cfg.DataRoot
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
