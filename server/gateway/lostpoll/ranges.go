package lostpoll

import (
	"strconv"
	"strings"
)

// maxRanges are kept; the oldest are forgotten first, their tasks have run out of time anyway.
const maxRanges = 64

// Range is a run of poll numbers, both ends included. On a bad link hundreds of polls in a row end without an answer.
type Range struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Contains tells whether n is in the range.
func (r Range) Contains(n uint64) bool { return r.From <= n && n <= r.To }

// Ranges is a small set of numbers.
type Ranges []Range

// Contains tells whether n is in any of the ranges.
func (rs Ranges) Contains(n uint64) bool {
	for _, r := range rs {
		if r.Contains(n) {
			return true
		}
	}
	return false
}

// Covers tells whether all of r is in one of the ranges.
func (rs Ranges) Covers(r Range) bool {
	for _, have := range rs {
		if have.From <= r.From && r.To <= have.To {
			return true
		}
	}
	return false
}

// Add returns the set with one more range, joined to its neighbours.
func (rs Ranges) Add(add Range) Ranges {
	out := make(Ranges, 0, len(rs)+1)
	for _, r := range rs {
		if r.To+1 < add.From || add.To+1 < r.From {
			out = append(out, r)
			continue
		}
		add.From, add.To = min(add.From, r.From), max(add.To, r.To)
	}
	out = append(out, add)
	if len(out) > maxRanges {
		out = out[len(out)-maxRanges:]
	}
	return out
}

func (rs Ranges) String() string {
	var b strings.Builder
	for i, r := range rs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(r.From, 10))
		if r.To != r.From {
			b.WriteByte('-')
			b.WriteString(strconv.FormatUint(r.To, 10))
		}
	}
	return b.String()
}

// parse leaves out what it cannot read: the worst that follows is that a task waits for its time limit.
func parse(text string) Ranges {
	var rs Ranges
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRun := strings.Cut(part, "-")
		if !isRun {
			to = from
		}
		a, err1 := strconv.ParseUint(from, 10, 63)
		b, err2 := strconv.ParseUint(to, 10, 63)
		if err1 == nil && err2 == nil && a <= b && len(rs) < maxRanges {
			rs = append(rs, Range{From: a, To: b})
		}
	}
	return rs
}
