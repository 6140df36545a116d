package db

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrBadCursor is a cursor that was not made by an earlier page of the same list.
var ErrBadCursor = errors.New("the cursor does not belong to this list")

// SortKey is a column people may sort by: a non-null SQL expression and its type.
type SortKey struct {
	Expr string
	Type string
}

// List is a query for one page. Only its authors write SQL: what callers give goes through parameters, sort names
// through Sorts.
type List struct {
	// Select is the column list, From the tables; the row's id is ID (an expression).
	Select, From, ID string
	Sorts            map[string]SortKey
	// Sort is a name of Sorts, with a leading minus for descending.
	Sort   string
	Cursor string
	Limit  int
	where  []string
	args   []any
}

// Where adds a condition with one parameter, written as $? in it, e.g. "o.state = ANY($?)".
func (l *List) Where(cond string, arg any) {
	l.args = append(l.args, arg)
	l.where = append(l.where, strings.ReplaceAll(cond, "$?", fmt.Sprintf("$%d", len(l.args))))
}

// WhereRaw adds a condition without parameters.
func (l *List) WhereRaw(cond string) { l.where = append(l.where, cond) }

type cursor struct {
	Sort string `json:"s"`
	Key  string `json:"k"`
	ID   string `json:"i"`
}

// Page runs the list: rows by column name into T, the next cursor (empty on the last page) and the total.
func Page[T any](ctx context.Context, d *DB, l List) (rows []T, next string, total int64, err error) {
	count := "SELECT count(*) FROM " + l.From + l.whereSQL()
	if err := d.Pool.QueryRow(ctx, count, l.args...).Scan(&total); err != nil {
		return nil, "", 0, fmt.Errorf("count rows: %w", err)
	}
	key, ok := l.Sorts[strings.TrimPrefix(l.Sort, "-")]
	if !ok {
		return nil, "", 0, fmt.Errorf("unknown sort %q", l.Sort)
	}
	dir, cmp := "ASC", ">"
	if strings.HasPrefix(l.Sort, "-") {
		dir, cmp = "DESC", "<"
	}
	if l.Cursor != "" {
		c, err := l.decode()
		if err != nil {
			return nil, "", 0, err
		}
		l.args = append(l.args, c.Key, c.ID)
		n := len(l.args)
		l.where = append(l.where, fmt.Sprintf("(%s, %s) %s ($%d::text::%s, $%d::text::uuid)", key.Expr, l.ID, cmp, n-1, key.Type, n))
	}
	l.args = append(l.args, l.Limit+1)
	sql := fmt.Sprintf("SELECT (%s)::text AS list_key, (%s)::text AS list_id, %s FROM %s%s ORDER BY %s %s, %s %s LIMIT $%d",
		key.Expr, l.ID, l.Select, l.From, l.whereSQL(), key.Expr, dir, l.ID, dir, len(l.args))
	return collect[T](ctx, d, l, sql, total)
}

// One reads the one row of a list's conditions, without counting or sorting. IsNotFound tells that there is none.
func One[T any](ctx context.Context, d *DB, l List) (row T, err error) {
	res, err := d.Pool.Query(ctx, "SELECT "+l.Select+" FROM "+l.From+l.whereSQL(), l.args...)
	if err != nil {
		return row, fmt.Errorf("read a row: %w", err)
	}
	row, err = pgx.CollectExactlyOneRow(res, pgx.RowToStructByName[T])
	if err != nil {
		return row, fmt.Errorf("read a row: %w", err)
	}
	return row, nil
}

func collect[T any](ctx context.Context, d *DB, l List, sql string, total int64) ([]T, string, int64, error) {
	type keyed struct {
		ListKey string
		ListID  string
		Row     T
	}
	res, err := d.Pool.Query(ctx, sql, l.args...)
	if err != nil {
		return nil, "", 0, fmt.Errorf("list rows: %w", err)
	}
	all, err := pgx.CollectRows(res, func(r pgx.CollectableRow) (k keyed, err error) {
		k.Row, err = pgx.RowToStructByName[T](&tail{CollectableRow: r, key: &k.ListKey, id: &k.ListID})
		return k, err
	})
	if err != nil {
		return nil, "", 0, fmt.Errorf("read rows: %w", err)
	}
	next := ""
	if len(all) > l.Limit {
		all = all[:l.Limit]
		last := all[len(all)-1]
		b, err := json.Marshal(cursor{Sort: l.Sort, Key: last.ListKey, ID: last.ListID})
		if err != nil {
			return nil, "", 0, fmt.Errorf("write cursor: %w", err)
		}
		next = base64.RawURLEncoding.EncodeToString(b)
	}
	rows := make([]T, len(all))
	for i, k := range all {
		rows[i] = k.Row
	}
	return rows, next, total, nil
}

// tail hides the two leading columns of a list's row from the scan into T.
type tail struct {
	pgx.CollectableRow
	key, id *string
}

func (t *tail) FieldDescriptions() []pgconn.FieldDescription {
	return t.CollectableRow.FieldDescriptions()[2:]
}

func (t *tail) Scan(dest ...any) error {
	return t.CollectableRow.Scan(append([]any{t.key, t.id}, dest...)...)
}

func (l *List) whereSQL() string {
	if len(l.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(l.where, " AND ")
}

func (l *List) decode() (cursor, error) {
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(l.Cursor)
	if err != nil || json.Unmarshal(b, &c) != nil || c.Sort != l.Sort {
		return c, ErrBadCursor
	}
	if _, err := uuid.Parse(c.ID); err != nil {
		return c, ErrBadCursor
	}
	return c, nil
}
