package hostimpl

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/postgres"
	"github.com/pgdrover/pgdrover/workflows/op"
)

const (
	defaultMaxRows = 1000
	// maxResultBytes keeps an answer below what a payload may hold.
	maxResultBytes = 200 << 10
	queryTimeout   = 60 * time.Second
	execTimeout    = time.Hour
)

func (v *Verbs) pgQuery(ctx context.Context, in host.PGQueryIn) (out host.PGQueryOut, err error) {
	ref, _ := op.Ref(ctx)
	timeout := seconds(in.TimeoutSeconds, queryTimeout)
	conn, err := v.connect(ctx, in.Conn, ref.Operation,
		sessionParams(timeout, map[string]string{"default_transaction_read_only": "on"}))
	if err != nil {
		return out, err
	}
	defer closeConn(ctx, conn)
	// Should the server not keep to its own limit, this does.
	ctx, cancel := context.WithTimeoutCause(ctx, timeout+connectTimeout, errStatementTimeout)
	defer cancel()
	const what = "run the query"
	if err := run(ctx, conn, "BEGIN READ ONLY"); err != nil {
		return out, sqlError(ctx, what, err)
	}
	begun := time.Now()
	res, err := readRows(ctx, conn, in.SQL, texts(in.Params), rowLimit(in.MaxRows), true)
	if err != nil {
		return out, sqlError(ctx, what, err)
	}
	res.out.Seconds = time.Since(begun).Seconds()
	if err := v.nameTypes(ctx, conn, in.Conn, ref.Operation, &res); err != nil {
		return out, sqlError(ctx, "name the types of the result", err)
	}
	return res.out, nil
}

var errStatementTimeout = op.Permanent(
	op.CodeTimeout,
	"the statement did not end in time",
	"Raise the time limit, or look what the statement waits for.",
)

func seconds(n int, def time.Duration) time.Duration {
	if n <= 0 {
		return def
	}
	return time.Duration(n) * time.Second
}

func rowLimit(n int) int {
	if n <= 0 {
		return defaultMaxRows
	}
	return n
}

func sessionParams(timeout time.Duration, more map[string]string) map[string]string {
	p := map[string]string{"statement_timeout": strconv.FormatInt(timeout.Milliseconds(), 10), "client_encoding": "UTF8"}
	maps.Copy(p, more)
	return p
}

// closeConn says good-bye, also for a call that was cancelled.
func closeConn(ctx context.Context, c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

func run(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	return conn.ExecParams(ctx, sql, nil, nil, nil, nil).Read().Err
}

func texts(params []*string) [][]byte {
	out := make([][]byte, len(params))
	for i, p := range params {
		if p != nil {
			out[i] = []byte(*p)
		}
	}
	return out
}

// resultSet is a result with the types as numbers, which are named afterwards.
type resultSet struct {
	out  host.PGQueryOut
	oids []uint32
	mods []int32
	// broken: the rest of the rows was cancelled, the transaction is of no more use.
	broken bool
}

// readRows runs one statement by the extended protocol, so that it can only be one, and keeps as much of the result
// as an answer may hold. With stop the statement is cancelled when that is reached, else it runs to its end.
func readRows(ctx context.Context, conn *pgconn.PgConn, sql string, params [][]byte, maxRows int, stop bool) (resultSet, error) {
	res := resultSet{out: host.PGQueryOut{Columns: []host.PGColumn{}, Rows: [][]*string{}}}
	rr := conn.ExecParams(ctx, sql, params, nil, nil, nil)
	bytes := 0
	for rr.NextRow() {
		if len(res.out.Columns) == 0 {
			res.describe(rr.FieldDescriptions())
		}
		if res.out.Truncated {
			continue
		}
		row, n := textRow(rr.Values())
		if len(res.out.Rows) >= maxRows || bytes+n > maxResultBytes {
			res.out.Truncated = true
			if stop {
				res.broken = true
				_ = conn.CancelRequest(ctx)
			}
			continue
		}
		bytes += n
		res.out.Rows = append(res.out.Rows, row)
	}
	if len(res.out.Columns) == 0 {
		res.describe(rr.FieldDescriptions())
	}
	tag, err := rr.Close()
	if res.broken {
		return res, ctx.Err()
	}
	res.out.Command = tag.String()
	return res, err
}

func (r *resultSet) describe(fields []pgconn.FieldDescription) {
	for _, f := range fields {
		r.out.Columns = append(r.out.Columns, host.PGColumn{Name: f.Name})
		r.oids = append(r.oids, f.DataTypeOID)
		r.mods = append(r.mods, f.TypeModifier)
	}
}

// textRow copies a row and counts what it takes in an answer.
func textRow(values [][]byte) (row []*string, bytes int) {
	row = make([]*string, len(values))
	for i, val := range values {
		bytes += len(val) + 4
		if val != nil {
			s := string(val)
			row[i] = &s
		}
	}
	return row, bytes
}

// nameTypes lets the server name the types, which knows those of extensions too.
func (v *Verbs) nameTypes(ctx context.Context, conn *pgconn.PgConn, c host.PGConn, operation string, r *resultSet) error {
	if len(r.oids) == 0 {
		return nil
	}
	if r.broken {
		// The cancelled statement took its transaction with it, and the request to cancel may hit what comes next.
		fresh, err := v.connect(ctx, c, operation, nil)
		if err != nil {
			return err
		}
		defer closeConn(ctx, fresh)
		conn = fresh
	}
	oids, mods := make([]string, len(r.oids)), make([]string, len(r.oids))
	for i := range r.oids {
		oids[i] = strconv.FormatUint(uint64(r.oids[i]), 10)
		mods[i] = strconv.FormatInt(int64(r.mods[i]), 10)
	}
	const sql = `SELECT pg_catalog.format_type(t.o, t.m)
		FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::int4[])) WITH ORDINALITY AS t(o, m, n) ORDER BY t.n`
	params := [][]byte{[]byte("{" + strings.Join(oids, ",") + "}"), []byte("{" + strings.Join(mods, ",") + "}")}
	names := conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	if names.Err != nil {
		return names.Err
	}
	for i, row := range names.Rows {
		if i < len(r.out.Columns) && len(row) == 1 {
			r.out.Columns[i].Type = string(row[0])
		}
	}
	return nil
}

// execNotes let an interrupted attempt find out what became of its work.
type execNotes struct {
	// Transaction is the id under which the work was about to be committed.
	Transaction string `json:"transaction,omitempty"`
	// Done counts the statements that ended, with Autocommit.
	Done int `json:"done,omitempty"`
}

func (v *Verbs) pgExec(ctx context.Context, at *attempt, in host.PGExecIn) (out host.PGExecOut, err error) {
	if len(in.Statements) == 0 {
		return out, op.Permanent(op.CodeInvalid, "run statements: there is none", "")
	}
	timeout := seconds(in.TimeoutSeconds, execTimeout)
	conn, err := v.connect(ctx, in.Conn, at.Ref.Operation, sessionParams(timeout, nil))
	if err != nil {
		return out, err
	}
	defer closeConn(ctx, conn)
	x := &execution{v: v, at: at, in: in, conn: conn}
	if _, err := at.Notes(&x.notes); err != nil {
		return out, err
	}
	begun := time.Now()
	if in.Autocommit {
		err = x.each(ctx)
	} else {
		err = x.together(ctx)
	}
	if err != nil {
		return out, err
	}
	out = host.PGExecOut{PGQueryOut: x.res.out, AlreadyDone: x.already}
	out.Seconds = time.Since(begun).Seconds()
	if out.Columns == nil {
		out.Columns, out.Rows = []host.PGColumn{}, [][]*string{}
	}
	return out, nil
}

// execution is one attempt of pg-exec.
type execution struct {
	v       *Verbs
	at      *attempt
	in      host.PGExecIn
	conn    *pgconn.PgConn
	notes   execNotes
	res     resultSet
	already bool
}

// together runs all in one transaction. Its id is noted before the commit, so that after a lost answer the server can
// be asked whether it was committed: the work is done once even where no guard is given.
func (x *execution) together(ctx context.Context) error {
	if done, err := x.committed(ctx); err != nil || done {
		x.already = done
		return err
	}
	if err := run(ctx, x.conn, "BEGIN"); err != nil {
		return sqlError(ctx, "begin", err)
	}
	if done, err := x.guard(ctx); err != nil || done {
		x.already = done
		return err
	}
	for i := range x.in.Statements {
		if err := x.statement(ctx, i); err != nil {
			return err
		}
	}
	if err := x.v.nameTypes(ctx, x.conn, x.in.Conn, x.at.Ref.Operation, &x.res); err != nil {
		return sqlError(ctx, "name the types of the result", err)
	}
	id := x.conn.ExecParams(ctx, "SELECT pg_catalog.txid_current_if_assigned()", nil, nil, nil, nil).Read()
	if id.Err != nil {
		return sqlError(ctx, "prepare the commit", id.Err)
	}
	if len(id.Rows) == 1 && id.Rows[0][0] != nil {
		x.notes.Transaction = string(id.Rows[0][0])
		if err := x.at.Save(x.notes); err != nil {
			return err
		}
	}
	if err := run(ctx, x.conn, "COMMIT"); err != nil {
		return sqlError(ctx, "commit", err)
	}
	return nil
}

// committed asks what became of an interrupted attempt's transaction; one still in progress is waited for.
func (x *execution) committed(ctx context.Context) (bool, error) {
	if !x.at.Interrupted || x.notes.Transaction == "" {
		return false, nil
	}
	for {
		r := x.conn.ExecParams(ctx, "SELECT pg_catalog.txid_status($1::bigint)", [][]byte{[]byte(x.notes.Transaction)}, nil, nil, nil).
			Read()
		if r.Err != nil {
			return false, sqlError(ctx, "ask for the interrupted transaction", r.Err)
		}
		status := ""
		if len(r.Rows) == 1 {
			status = string(r.Rows[0][0])
		}
		switch status {
		case "committed":
			return true, nil
		case "in progress":
			select {
			case <-time.After(startingPause):
			case <-ctx.Done():
				return false, context.Cause(ctx)
			}
		default:
			return false, nil
		}
	}
}

// each runs statements that refuse a transaction, from the first that has not ended.
func (x *execution) each(ctx context.Context) error {
	if done, err := x.guard(ctx); err != nil || done {
		x.already = done
		return err
	}
	for i := range x.in.Statements {
		if i < x.notes.Done {
			continue
		}
		if err := x.statement(ctx, i); err != nil {
			return err
		}
		x.notes.Done = i + 1
		if err := x.at.Save(x.notes); err != nil {
			return err
		}
	}
	if err := x.v.nameTypes(ctx, x.conn, x.in.Conn, x.at.Ref.Operation, &x.res); err != nil {
		return sqlError(ctx, "name the types of the result", err)
	}
	return nil
}

func (x *execution) guard(ctx context.Context) (bool, error) {
	if x.in.Guard == "" {
		return false, nil
	}
	r := x.conn.ExecParams(ctx, x.in.Guard, nil, nil, nil, nil).Read()
	if r.Err != nil {
		return false, sqlError(ctx, "run the guard", r.Err)
	}
	return len(r.Rows) > 0 && len(r.Rows[0]) > 0 && string(r.Rows[0][0]) == "t", nil
}

func (x *execution) statement(ctx context.Context, i int) error {
	st := x.in.Statements[i]
	params := texts(st.Params)
	for _, ref := range st.SecretParams {
		value, err := x.v.fetchSecret(ctx, ref, x.at.Ref.Operation)
		if err != nil {
			return err
		}
		if st.HashSecrets {
			if value, err = postgres.ScramVerifier(value); err != nil {
				return err
			}
		}
		params = append(params, []byte(value))
	}
	x.at.Progress(host.Progress{Done: int64(i), Total: int64(len(x.in.Statements)), Unit: "statements"})
	res, err := readRows(ctx, x.conn, st.SQL, params, rowLimit(x.in.MaxRows), false)
	if err != nil {
		return sqlError(ctx, fmt.Sprintf("run statement %d of %d", i+1, len(x.in.Statements)), err)
	}
	x.res = res
	return nil
}
