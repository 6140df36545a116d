package postgres

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseVersionOutput(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]Version{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": {"15.18", "15", EditionPostgreSQL},
		"postgres (PostgreSQL) 9.6.24":                           {"9.6.24", "9.6", EditionPostgreSQL},
		"postgres (PostgreSQL) 18beta1":                          {"18beta1", "18", EditionPostgreSQL},
		"postgres (PostgreSQL) 19devel":                          {"19devel", "19", EditionPostgreSQL},
		"initdb (PostgreSQL) 10.23":                              {"10.23", "10", EditionPostgreSQL},
		"postgres (PostgresPro) 16.4.1":                          {"16.4.1", "16", EditionProStandard},
		"postgres (PostgresPro) 16.4.1 (enterprise)":             {"16.4.1", "16", EditionProEnterprise},
		"postgres (Postgres Pro Enterprise) 15.7.1":              {"15.7.1", "15", EditionProEnterprise},
	} {
		got, err := ParseVersionOutput(out)
		require.NoError(t, err, out)
		require.Equal(t, want, got, out)
	}
	for _, bad := range []string{"", "sh: postgres: not found", "postgres (PostgreSQL)", strings.Repeat("x", 10000)} {
		_, err := ParseVersionOutput(bad)
		require.Error(t, err)
		require.Less(t, len(err.Error()), 400)
	}
	require.Equal(t, EditionPostgreSQL, EditionOf(""))
	require.Equal(t, EditionProEnterprise, EditionOf(" Enterprise "))
	require.Equal(t, EditionProStandard, EditionOf("standard"))
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	want := []string{"9.6.2", "9.6.24", "10devel", "10beta1", "10beta2", "10rc1", "10", "10.1", "15.9", "15.18", "16.4.1"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, CompareVersions)
	require.Equal(t, want, got)
	require.Zero(t, CompareVersions("15", "15.0"))
	require.Equal(t, "9.6", MajorOf("9.6"))
	require.Equal(t, "15", MajorOf("15\n"))
	require.Empty(t, MajorOf(""))
}

func TestParsePostmaster(t *testing.T) {
	t.Parallel()
	p, err := ParsePostmaster([]byte("4711\n/srv/pg/main\n1700000000\n5433\n/run/postgresql\n*\n  5433001    32768\nready   \n"))
	require.NoError(t, err)
	require.Equal(t, Postmaster{
		PID: 4711, DataDirectory: "/srv/pg/main", StartedAt: time.Unix(1700000000, 0).UTC(), Port: 5433, SocketDir: "/run/postgresql",
		ListenAddress: "*", Status: PMReady,
	}, p)
	p, err = ParsePostmaster([]byte("4711\n/srv/pg/main\n"))
	require.NoError(t, err)
	require.Empty(t, p.Status)
	p, err = ParsePostmaster([]byte("-4711\n/srv"))
	require.NoError(t, err)
	require.True(t, p.SingleUser)
	require.Equal(t, 4711, p.PID)
	for _, bad := range []string{"", "x", "0\n"} {
		_, err := ParsePostmaster([]byte(bad))
		require.Error(t, err)
	}
}

const controlOutput = `pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7298471298471298471
Database cluster state:               in production
Latest checkpoint location:           0/152B9D8
Latest checkpoint's TimeLineID:       3
Bytes per WAL segment:                16777216
Data page checksum version:           1
`

func TestParseControlData(t *testing.T) {
	t.Parallel()
	c, err := ParseControlData(controlOutput)
	require.NoError(t, err)
	require.Equal(t, ControlData{
		SystemIdentifier: "7298471298471298471", State: StateInProduction, CheckpointLocation: "0/152B9D8", Timeline: 3,
		WALSegmentBytes: 16 << 20, DataChecksums: true,
	}, c)
	_, err = ParseControlData("pg_controldata: error: could not open file")
	require.Error(t, err)
	_, ok := ParseControlFile(make([]byte, 512))
	require.False(t, ok)
	_, ok = ParseControlFile(nil)
	require.False(t, ok)
	require.True(t, StateShutDownRecover.Clean() && StateShutDownRecover.Standby() && !StateInProduction.Clean())
}

func TestQuote(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"a""b"`, QuoteIdent(`a"b`))
	require.Equal(t, `'it''s'`, QuoteLiteral(`it's`))
	require.Equal(t, ` E'a\\''b'`, QuoteLiteral(`a\'b`))
	require.Equal(t, `'a\'b\\c d'`, QuoteConninfo(`a'b\c d`))
	require.Equal(
		t,
		[]string{"/usr/lib/postgresql/15/bin/postgres", "-D", "/srv/a b"},
		SplitOptions(`/usr/lib/postgresql/15/bin/postgres "-D" "/srv/a b"`+"\n"),
	)
	require.Equal(t, []string{"x", "-D"}, SplitOptions(`x "-D" "open`))
}

func TestScramVerifier(t *testing.T) {
	t.Parallel()
	// RFC 7677's example: user "user", password "pencil".
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	require.NoError(t, err)
	v, err := scramVerifier("pencil", salt)
	require.NoError(t, err)
	require.Equal(
		t,
		"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="+
			":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		v,
	)
	a, err := ScramVerifier("x")
	require.NoError(t, err)
	b, err := ScramVerifier("x")
	require.NoError(t, err)
	require.NotEqual(t, a, b, "the salt is random")
}
