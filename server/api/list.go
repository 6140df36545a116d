package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/errs"
)

// Page is one page of a list.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Give it as cursor to get the next page; absent on the last"`
	Total      int64  `json:"total" doc:"Rows of all pages"`
}

type pageOut[T any] struct{ Body Page[T] }

// ListIn is the query parameters of all lists. It is exported, like all embedded inputs, because huma does not look into
// unexported ones.
type ListIn struct {
	Cursor string `query:"cursor" maxLength:"2000" doc:"Of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Rows of a page"`
	Sort   string `query:"sort" maxLength:"50" doc:"A column, with a leading minus for descending"`
	Q      string `query:"q" maxLength:"200" doc:"Text to look for"`
}

// query begins a list's query; sort falls back to the list's own order.
func (in ListIn) query(l db.List, order string) (db.List, error) {
	l.Cursor, l.Limit, l.Sort = in.Cursor, in.Limit, in.Sort
	if l.Sort == "" {
		l.Sort = order
	}
	if _, ok := l.Sorts[strings.TrimPrefix(l.Sort, "-")]; !ok {
		names := slices.Sorted(maps.Keys(l.Sorts))
		return l, errs.New(errs.Invalid, "invalid-sort", "This list cannot be sorted by %q; it can by %s.", l.Sort,
			strings.Join(names, ", ")).
			At("query.sort", "unknown column")
	}
	return l, nil
}

// like makes a pattern of a person's text.
func like(q string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(q) + "%"
}

// filterID adds an equality on a UUID parameter where it was given.
func filterID(l *db.List, column, name, value string) error {
	if value == "" {
		return nil
	}
	id, err := uuid.Parse(value)
	if err != nil {
		return errs.New(errs.Invalid, "invalid-input", "%s is not a UUID.", name).At("query."+name, "must be a UUID")
	}
	l.Where(column+" = $?", id)
	return nil
}

// filterLabel takes key=value or key.
func filterLabel(l *db.List, column, value string) {
	if value == "" {
		return
	}
	k, v, ok := strings.Cut(value, "=")
	if ok {
		l.Where(column+" @> $?", map[string]string{k: v})
		return
	}
	l.Where("jsonb_exists("+column+", $?)", k)
}

func filterAny(l *db.List, column string, values []string) {
	if len(values) > 0 {
		l.Where(column+" = ANY($?::text[])", values)
	}
}

func pageOf[R, T any](rows []R, next string, total int64, conv func(R) T) *pageOut[T] {
	out := &pageOut[T]{Body: Page[T]{Items: make([]T, len(rows)), NextCursor: next, Total: total}}
	for i, r := range rows {
		out.Body.Items[i] = conv(r)
	}
	return out
}
