package embedpostgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Config says where the cluster lives and how it runs. Only Dir is needed.
type Config struct {
	Dir        string            // the cluster's own folder: data, password, port, log, socket
	BinDir     string            // server programs; empty: those fitting the data, else the newest found
	OSUser     string            // as root: the unprivileged user to run as; empty: "postgres"
	Settings   map[string]string // postgresql.conf over our defaults
	FastUnsafe bool              // no fsync: for tests only, a crash of the machine loses the cluster
	Logger     *slog.Logger
}

// Cluster is a running cluster. Its methods may be called from several goroutines.
type Cluster struct {
	Port     int
	Password string
	Version  string // of the server programs: "15.14"

	cfg    Config
	layout layout
	runner runner
	bin    BinDir
	log    *slog.Logger
	lock   *os.File

	mu      sync.Mutex // guards the fields below and serialises start, restart and stop
	pid     int
	stopped bool
}

// Start initialises the cluster if needed and starts it, or adopts the one that already runs there.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if err := checkSettings(cfg.Settings); err != nil {
		return nil, err
	}
	if cfg.Dir == "" {
		return nil, errors.New("start PostgreSQL: no folder given")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL in %s: %w", cfg.Dir, err)
	}
	// The kernel shows working directories without links, and adoption compares them.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder %s: %w", dir, err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("resolve folder %s: %w", cfg.Dir, err)
	}
	c := &Cluster{cfg: cfg, layout: layout{dir}, log: cfg.Logger}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := c.open(ctx); err != nil {
		c.unlock()
		return nil, err
	}
	return c, nil
}

// open takes the folder and brings the server up in it.
func (c *Cluster) open(ctx context.Context) error {
	l := c.layout
	var err error
	if c.runner, err = newRunner(c.cfg.OSUser, l.dir); err != nil {
		return err
	}
	for _, path := range []string{l.dir, filepath.Dir(l.logFile()), l.run()} {
		if err := c.runner.mkdir(path); err != nil {
			return err
		}
	}
	if err := c.runner.checkReachable(ctx, l.dir); err != nil {
		return err
	}
	if err := c.takeLock(); err != nil {
		return err
	}
	major, err := l.dataMajor()
	if err != nil {
		return err
	}
	if c.bin, err = chooseBinDir(ctx, c.cfg.BinDir, major); err != nil {
		return err
	}
	c.Version = c.bin.Version
	if major == 0 {
		if err := initialise(ctx, c.cfg, l, c.runner, c.bin); err != nil {
			return err
		}
	}
	if c.Password, err = readPassword(l); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bringUp(ctx, true)
}

// takeLock makes sure that one process manages the folder. The kernel drops the lock with the process, however it ends.
func (c *Cluster) takeLock() error {
	f, err := os.OpenFile(c.layout.lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock folder %s: %w", c.layout.dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("lock folder %s: another pgdrover process manages it: %w", c.layout.dir, err)
	}
	c.lock = f
	return nil
}

func (c *Cluster) unlock() {
	if c.lock != nil {
		_ = c.lock.Close() // closing is what unlocks; there is nothing to do about a failure
		c.lock = nil
	}
}

// DSN is the connection string of the superuser for a database.
func (c *Cluster) DSN(db string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(Superuser, c.Password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)),
		Path:     "/" + db,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketDir is the folder of the Unix socket, empty when the path of Dir is too long for one.
func (c *Cluster) SocketDir() string { return c.layout.socketDir() }

// LogFile is where the server writes its log.
func (c *Cluster) LogFile() string { return c.layout.logFile() }

// DataDir is the data directory.
func (c *Cluster) DataDir() string { return c.layout.data() }

// BinDir is where the server programs in use are.
func (c *Cluster) BinDir() string { return c.bin.Path }

// Pid is the process id of the postmaster; it changes when Supervise restarts it.
func (c *Cluster) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// CreateDatabase creates a database unless it is there.
func (c *Cluster) CreateDatabase(ctx context.Context, name string) (err error) {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()

	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil {
		return fmt.Errorf("look for database %s: %w", name, err)
	}
	if there {
		return nil
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	var pgErr *pgconn.PgError
	// Somebody may create it at the same moment: duplicate_database, or unique_violation on pg_database.
	if errors.As(err, &pgErr) && (pgErr.Code == "42P04" || pgErr.Code == "23505") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// logTail gives the last lines of the server's log, for errors.
func (c *Cluster) logTail() string {
	raw, err := os.ReadFile(c.layout.logFile())
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
