package embedpostgres

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// BinDir is a folder with a complete set of server programs.
type BinDir struct {
	Path    string // absolute, as found (not resolved, so that a package's upgrade keeps it valid)
	Version string // "15.14"
	Major   int    // 15
}

var (
	// binDirGlobs are where the packages of Debian, PGDG, Postgres Pro and a source build put their programs.
	binDirGlobs = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/pgpro/*/bin", "/usr/local/pgsql/bin"}
	// serverPrograms must all be there: client-only packages bring some of them.
	serverPrograms = []string{"initdb", "pg_ctl", "postgres"}
	// versionPattern takes the number after the product's name: "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)".
	versionPattern = regexp.MustCompile(`\) (\d+)((?:\.\d+)*)`)
)

// FindBinDirs lists the PostgreSQL servers installed on this machine, newest first.
func FindBinDirs(ctx context.Context) []BinDir {
	var candidates []string
	for _, pattern := range binDirGlobs {
		found, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		candidates = append(candidates, found...)
	}
	candidates = append(candidates, filepath.SplitList(os.Getenv("PATH"))...)

	var dirs []BinDir
	seen := map[string]bool{}
	for _, path := range candidates {
		// /usr/local/pgsql and PATH entries are often links to one of the others.
		real, err := filepath.EvalSymlinks(path)
		if err != nil || seen[real] || !filepath.IsAbs(path) {
			continue
		}
		seen[real] = true
		if dir, err := inspectBinDir(ctx, path); err == nil {
			dirs = append(dirs, dir)
		}
	}
	slices.SortStableFunc(dirs, func(a, b BinDir) int {
		return cmp.Or(cmp.Compare(b.Major, a.Major), compareVersions(b.Version, a.Version))
	})
	return dirs
}

// inspectBinDir asks the server program of a folder for its version.
func inspectBinDir(ctx context.Context, path string) (BinDir, error) {
	for _, name := range serverPrograms {
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return BinDir{}, fmt.Errorf("find program %s in %s: not there or not executable", name, path)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(path, "postgres"), "--version").Output()
	if err != nil {
		return BinDir{}, fmt.Errorf("ask the version of postgres in %s: %w", path, err)
	}
	version, major, err := parseVersion(string(out))
	if err != nil {
		return BinDir{}, fmt.Errorf("read the version of postgres in %s: %w", path, err)
	}
	return BinDir{Path: path, Version: version, Major: major}, nil
}

func parseVersion(out string) (version string, major int, err error) {
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return "", 0, fmt.Errorf("no version in %q", out)
	}
	major, err = strconv.Atoi(m[1])
	if err != nil {
		return "", 0, fmt.Errorf("no version in %q: %w", out, err)
	}
	return m[1] + m[2], major, nil
}

// compareVersions compares dotted numbers part by part: 15.9 is older than 15.14.
func compareVersions(a, b string) int {
	return slices.Compare(versionParts(a), versionParts(b))
}

func versionParts(v string) []int {
	var parts []int
	for _, s := range regexp.MustCompile(`\d+`).FindAllString(v, -1) {
		n, _ := strconv.Atoi(s) // digits only; an overflow sorts as zero
		parts = append(parts, n)
	}
	return parts
}

// chooseBinDir picks the programs for a cluster: those asked for, else those of the data's own major version (any other
// refuses to start on it), else the newest.
func chooseBinDir(ctx context.Context, asked string, dataMajor int) (BinDir, error) {
	if asked != "" {
		dir, err := inspectBinDir(ctx, asked)
		if err != nil {
			return BinDir{}, err
		}
		if dataMajor != 0 && dir.Major != dataMajor {
			return BinDir{}, fmt.Errorf("use PostgreSQL %s in %s: the data was made by version %d", dir.Version, asked, dataMajor)
		}
		return dir, nil
	}
	dirs := FindBinDirs(ctx)
	for _, dir := range dirs {
		if dataMajor == 0 || dir.Major == dataMajor {
			return dir, nil
		}
	}
	if len(dirs) == 0 {
		return BinDir{}, fmt.Errorf("find PostgreSQL: no server programs (initdb, pg_ctl, postgres) in %v or PATH", binDirGlobs)
	}
	return BinDir{}, fmt.Errorf("find PostgreSQL %d: the data was made by it, but only %v are installed", dataMajor, dirs)
}
