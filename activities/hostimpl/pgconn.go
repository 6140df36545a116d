package hostimpl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/postgres"
	"github.com/pgdrover/pgdrover/workflows/op"
	"golang.org/x/sys/unix"
)

const (
	// connectTimeout bounds one try to connect.
	connectTimeout = 10 * time.Second
	// startingWait is how long a server that is starting or has no free slot is waited for.
	startingWait  = 30 * time.Second
	startingPause = 500 * time.Millisecond

	codeWrongPassword = "wrong-password"
	codeConnection    = "connection-failed"
	codeSQL           = "sql-error"
)

// connect opens a connection for one call. The password is fetched each time and kept nowhere.
func (v *Verbs) connect(ctx context.Context, c host.PGConn, operation string, params map[string]string) (*pgconn.PgConn, error) {
	cfg, err := connConfig(c, params)
	if err != nil {
		return nil, err
	}
	if c.Password != "" {
		if cfg.Password, err = v.fetchSecret(ctx, c.Password, operation); err != nil {
			return nil, err
		}
	}
	deadline := time.Now().Add(startingWait)
	for {
		cctx, cancel := context.WithTimeout(ctx, connectTimeout)
		conn, err := pgconn.ConnectConfig(cctx, cfg)
		cancel()
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !comesUp(err) || time.Now().After(deadline) {
			return nil, connectError(c, err)
		}
		select {
		case <-time.After(startingPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func connConfig(c host.PGConn, params map[string]string) (*pgconn.Config, error) {
	if c.Port < 1 || c.Port > 65535 || c.User == "" {
		return nil, op.Permanent(op.CodeInvalid, "connect: a port and a user are needed, got port %d and user %q", "", c.Port, c.User)
	}
	hostName := c.SocketDir
	if hostName == "" {
		hostName = "127.0.0.1"
	} else if !filepath.IsAbs(hostName) {
		return nil, op.Permanent(op.CodeInvalid, "connect: the socket directory %q is no absolute path", "", hostName)
	}
	db := c.Database
	if db == "" {
		db = "postgres"
	}
	// Everything is given, so that neither variables nor files of the agent's user have a say.
	dsn := fmt.Sprintf(
		"host=%s port=%d user=%s dbname=%s sslmode=prefer passfile=/dev/null servicefile=/dev/null application_name=pgdrover-agent",
		postgres.QuoteConninfo(hostName),
		c.Port,
		postgres.QuoteConninfo(c.User),
		postgres.QuoteConninfo(db),
	)
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, op.Permanent(op.CodeInvalid, "connect: the connection's settings are not valid", "")
	}
	cfg.Password = ""
	cfg.DialFunc = dial
	maps.Copy(cfg.RuntimeParams, params)
	// A cancelled call cancels the statement in the server too, instead of leaving it to run on.
	cfg.BuildContextWatcherHandler = func(pc *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: pc, DeadlineDelay: 5 * time.Second}
	}
	return cfg, nil
}

// dial connects to a socket as its server's user: the server sees who connects, and `peer` in pg_hba.conf lets in
// the owner of the instance, not root.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if network == "unix" && os.Geteuid() == 0 {
		if fi, err := os.Stat(addr); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
				return dialAs(addr, int(st.Uid))
			}
		}
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// dialAs changes the effective user of this thread alone for the time of one call; the raw system call leaves the
// other threads as they are. A thread that could not be changed back is given up by not unlocking it.
func dialAs(addr string, uid int) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	ch := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		keep := ^uintptr(0)
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep); e != 0 {
			ch <- result{err: fmt.Errorf("connect as user %d: %w", uid, e)}
			return
		}
		conn, err := dialUnix(addr)
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); e == 0 {
			runtime.UnlockOSThread()
		}
		ch <- result{conn, err}
	}()
	r := <-ch
	return r.conn, r.err
}

func dialUnix(addr string) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	f := os.NewFile(uintptr(fd), addr)
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: addr}); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", err)}
	}
	return net.FileConn(f)
}

// comesUp tells of a server that will let us in a little later.
func comesUp(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "57P03" || pg.Code == "53300"
	}
	return false
}

// connectError says why a connection failed. The text of the driver names user and database and no password.
func connectError(c host.PGConn, err error) error {
	where := "127.0.0.1:" + strconv.Itoa(c.Port)
	if c.SocketDir != "" {
		where = c.SocketDir + "/.s.PGSQL." + strconv.Itoa(c.Port)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		if pg.Code == "28P01" {
			return op.Permanent(codeWrongPassword, "connect to %s as %s: %s",
				"Enter the account's password again in the instance's settings.", where, c.User, pg.Message)
		}
		return op.Permanent(codeConnection, "connect to %s as %s: %s (SQLSTATE %s)", connectHint(pg.Code), where, c.User, pg.Message,
			pg.Code)
	}
	return op.Permanent(codeConnection, "connect to %s as %s: %v", "Check that the instance runs and listens there.", where, c.User,
		lastOf(err))
}

// lastOf is the innermost reason; the driver's own text repeats the settings.
func lastOf(err error) error {
	if ce, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		if u := ce.Unwrap(); u != nil {
			return u
		}
	}
	return err
}

func connectHint(code string) string {
	switch code {
	case "28000":
		return "Let the account in by pg_hba.conf of the instance."
	case "3D000":
		return "Choose a database that exists."
	case "57P03":
		return "The server does not take connections yet; look at its log."
	case "53300":
		return "All connections are taken; raise max_connections or end some."
	}
	return ""
}

// sqlError says what the server answered, with the place in the statement where it told one.
func sqlError(ctx context.Context, what string, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return op.Transient(codeConnection, fmt.Errorf("%s: %w", what, err))
	}
	switch pg.Code {
	case "57014":
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return op.Permanent(op.CodeTimeout, "%s: %s (SQLSTATE %s)", "Raise the time limit, or look what the statement waits for.",
			what, pg.Message, pg.Code)
	case "40001", "40P01", "57P01", "57P02":
		// Another attempt gets through: a conflict of transactions, or the server went down under us.
		return op.Transient(codeSQL, fmt.Errorf("%s: %s (SQLSTATE %s)", what, pg.Message, pg.Code))
	case "53100":
		return op.Permanent(op.CodeDiskFull, "%s: %s (SQLSTATE %s)", "Free space for the instance.", what, pg.Message, pg.Code)
	}
	text := []string{fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code)}
	if pg.Position > 0 {
		text = append(text, fmt.Sprintf("at character %d", pg.Position))
	}
	if pg.Detail != "" {
		text = append(text, "detail: "+pg.Detail)
	}
	return op.Permanent(codeSQL, "%s: %s", pg.Hint, what, strings.Join(text, ", "))
}
