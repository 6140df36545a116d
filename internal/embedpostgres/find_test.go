package embedpostgres

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]string{
		"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n": "15.14",
		"postgres (PostgreSQL) 18beta2\n":                        "18",
		"postgres (PostgreSQL) 16.4\n":                           "16.4",
		"postgres (PostgresPro) 15.10.1\n":                       "15.10.1",
	} {
		version, major, err := parseVersion(out)
		require.NoError(t, err, out)
		require.Equal(t, want, version)
		require.Positive(t, major)
	}
	_, _, err := parseVersion("something else")
	require.Error(t, err)
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	require.Positive(t, compareVersions("15.14", "15.9"))
	require.Negative(t, compareVersions("15", "15.1"))
	require.Zero(t, compareVersions("16.2", "16.2"))
}
