package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func summarise(t *testing.T, events string) (string, bool) {
	t.Helper()
	var out strings.Builder
	s := newSummary(&out)
	require.NoError(t, s.read(strings.NewReader(events)))
	ok := s.report(3)
	return out.String(), ok
}

func TestPassingSubtestsCountOnce(t *testing.T) {
	t.Parallel()
	out, ok := summarise(t, `{"Action":"run","Package":"p","Test":"A"}
{"Action":"run","Package":"p","Test":"A/one"}
{"Action":"output","Package":"p","Test":"A/one","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"A/one","Elapsed":0.5}
{"Action":"pass","Package":"p","Test":"A","Elapsed":0.5}
{"Action":"skip","Package":"p","Test":"B"}
{"Action":"pass","Package":"p","Elapsed":1}
`)
	require.True(t, ok)
	require.True(t, strings.HasSuffix(out, "\n1 passed, 0 failed\n"), out)
	require.NotContains(t, out, "chatter")
	require.Contains(t, out, "p.B: no reason given")
}

func TestFailedSubtestCountsOnceAndIsShown(t *testing.T) {
	t.Parallel()
	out, ok := summarise(t, `{"Action":"run","Package":"p","Test":"A"}
{"Action":"run","Package":"p","Test":"A/one"}
{"Action":"output","Package":"p","Test":"A/one","Output":"why\n"}
{"Action":"fail","Package":"p","Test":"A/one"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p","Elapsed":1}
`)
	require.False(t, ok)
	require.True(t, strings.HasSuffix(out, "\n0 passed, 1 failed\n"), out)
	require.Contains(t, out, "why")
}

func TestBrokenPackageIsAFailure(t *testing.T) {
	t.Parallel()
	out, ok := summarise(t, `{"ImportPath":"q","Action":"build-output","Output":"undefined: x\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"fail","Package":"q","Elapsed":0,"FailedBuild":"q"}
{"Action":"run","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"A","Output":"panic: timed out\n"}
{"Action":"fail","Package":"p","Elapsed":9}
plain words
`)
	require.False(t, ok)
	require.Contains(t, out, "undefined: x")
	require.Contains(t, out, "panic: timed out")
	require.Contains(t, out, "plain words")
	require.True(t, strings.HasSuffix(out, "0 passed, 2 failed\n"), out)
}

func TestNothingRunIsAFailure(t *testing.T) {
	t.Parallel()
	_, ok := summarise(t, "")
	require.False(t, ok)
}
