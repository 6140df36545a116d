package postgres

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The editions of servers.
const (
	EditionPostgreSQL      = "postgresql"
	EditionProStandard     = "pgpro-standard"
	EditionProEnterprise   = "pgpro-enterprise"
	proVersionEnterprise   = "enterprise"
	proVersionProductLabel = "postgrespro"
)

// Version is what a server program says of itself.
type Version struct {
	// Full is the number as printed, e.g. "15.18", "9.6.24" or "17.5.1".
	Full string
	// Major is what PG_VERSION holds: "15", or "9.6" before version 10.
	Major string
	// Edition is one of the Edition constants.
	Edition string
}

// versionRule takes the first number after the product's name; packagers append their own in parentheses.
var versionRule = regexp.MustCompile(
	`\((PostgreSQL|PostgresPro|Postgres Pro)[^)]*\)\s+([0-9]+(?:\.[0-9]+)*(?:devel|(?:alpha|beta|rc)[0-9]+)?)`,
)

// ParseVersionOutput reads the output of `postgres --version` (also of initdb and pg_ctl), e.g.
// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" or "postgres (PostgresPro) 16.4.1 (enterprise)".
func ParseVersionOutput(out string) (Version, error) {
	m := versionRule.FindStringSubmatch(out)
	if m == nil {
		return Version{}, fmt.Errorf("read version: %q does not look like the output of postgres --version", clip(out))
	}
	v := Version{Full: m[2], Major: MajorOf(m[2]), Edition: EditionPostgreSQL}
	low := strings.ToLower(out)
	if strings.Contains(strings.ReplaceAll(low, " ", ""), proVersionProductLabel) {
		v.Edition = EditionProStandard
		if strings.Contains(low, proVersionEnterprise) {
			v.Edition = EditionProEnterprise
		}
	}
	return v, nil
}

// EditionOf names the edition as pgpro_edition() says it; servers without that function are plain PostgreSQL.
func EditionOf(pgproEdition string) string {
	switch strings.ToLower(strings.TrimSpace(pgproEdition)) {
	case "":
		return EditionPostgreSQL
	case "enterprise":
		return EditionProEnterprise
	default:
		return EditionProStandard
	}
}

// MajorOf returns the part of a version that data directories depend on.
func MajorOf(version string) string {
	parts := numbers(version)
	switch {
	case len(parts) == 0:
		return ""
	case parts[0] < 10 && len(parts) > 1:
		return fmt.Sprintf("%d.%d", parts[0], parts[1])
	default:
		return strconv.Itoa(parts[0])
	}
}

// CompareVersions orders versions by their numbers; a pre-release comes before its release.
func CompareVersions(a, b string) int {
	na, nb := numbers(a), numbers(b)
	for i := range max(len(na), len(nb)) {
		x, y := at(na, i), at(nb, i)
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return strings.Compare(preRank(a), preRank(b))
}

var preRule = regexp.MustCompile(`(devel|alpha|beta|rc)([0-9]*)$`)

// preRank makes a text that orders devel, alpha, beta, rc and release as they come out.
func preRank(v string) string {
	m := preRule.FindStringSubmatch(v)
	if m == nil {
		return "9"
	}
	rank := map[string]string{"devel": "0", "alpha": "1", "beta": "2", "rc": "3"}[m[1]]
	n, _ := strconv.Atoi(m[2])
	return fmt.Sprintf("%s%04d", rank, n)
}

func numbers(v string) []int {
	v = preRule.ReplaceAllString(strings.TrimSpace(v), "")
	var out []int
	for p := range strings.SplitSeq(v, ".") {
		n, err := strconv.Atoi(p)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}

func at(n []int, i int) int {
	if i < len(n) {
		return n[i]
	}
	return 0
}

func clip(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}
