package postgres

import "strings"

// QuoteIdent quotes an identifier always, also where it would not be needed.
func QuoteIdent(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), `"`, `""`) + `"`
}

// QuoteLiteral quotes a text; with a backslash in it the escape form is used, which reads the same whatever
// standard_conforming_strings is.
func QuoteLiteral(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), `'`, `''`)
	if strings.Contains(s, `\`) {
		return ` E'` + strings.ReplaceAll(s, `\`, `\\`) + `'`
	}
	return `'` + s + `'`
}

// QuoteConninfo quotes a value of a libpq connection string.
func QuoteConninfo(s string) string {
	return `'` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `'`, `\'`) + `'`
}

// SplitOptions splits postmaster.opts: the program first, then each argument in double quotes as pg_ctl writes them.
func SplitOptions(line string) []string {
	line = strings.TrimSpace(line)
	program, rest, _ := strings.Cut(line, " ")
	out := []string{program}
	for {
		start := strings.IndexByte(rest, '"')
		if start < 0 {
			return out
		}
		end := strings.IndexByte(rest[start+1:], '"')
		if end < 0 {
			return out
		}
		out = append(out, rest[start+1:start+1+end])
		rest = rest[start+end+2:]
	}
}
