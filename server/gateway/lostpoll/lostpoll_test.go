package lostpoll

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

var errCut = errors.New("cut")

func TestLossesAreToldUntilAnAnswerProvesThatTheyWereHeard(t *testing.T) {
	t.Parallel()
	tr := &tracker{}
	one, lost := tr.begin()
	require.EqualValues(t, 1, one)
	require.Empty(t, lost)
	tr.end(one, errCut)
	two, lost := tr.begin()
	require.Equal(t, "1", lost.String())
	// A second poller is on its way when the first one is cut again.
	three, _ := tr.begin()
	tr.end(two, errCut)
	tr.end(three, nil)
	_, lost = tr.begin()
	require.Equal(t, "1-2", lost.String(), "poll 3 did not tell of poll 2")
	tr.end(4, nil)
	_, lost = tr.begin()
	require.Empty(t, lost)
}

func TestManyLossesInARowAreOneRange(t *testing.T) {
	t.Parallel()
	tr := &tracker{}
	for range 100000 {
		n, _ := tr.begin()
		tr.end(n, errCut)
	}
	_, lost := tr.begin()
	require.Equal(t, "1-100000", lost.String())
	for range 1000 {
		a, _ := tr.begin()
		b, _ := tr.begin()
		tr.end(b, errCut)
		_ = a
	}
	require.LessOrEqual(t, len(tr.losses), maxRanges)
}

func TestRanges(t *testing.T) {
	t.Parallel()
	rs := parse("3,7-9,x,5-4,-1,99999999999999999999")
	require.Equal(t, Ranges{{3, 3}, {7, 9}}, rs)
	rs = rs.Add(Range{4, 6})
	require.Equal(t, Ranges{{3, 9}}, rs)
	require.True(t, rs.Contains(5))
	require.False(t, rs.Contains(10))
	require.Equal(t, "3-9", rs.String())
	require.Empty(t, parse(""))
}
