package embedpostgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// superviseEvery is how often Supervise looks; looking is reading one file in /proc.
	superviseEvery = 500 * time.Millisecond
	// orphanPatience is how long a start waits for the backends of a killed postmaster to notice and leave.
	orphanPatience = 10 * time.Second
	startPatience  = 60 * time.Second
	shortPoll      = 10 * time.Millisecond
	// maxLogBytes is where a start moves the log aside; the server itself appends for ever.
	maxLogBytes = 16 << 20
)

// bringUp adopts the running postmaster or starts one. The caller holds c.mu. A restart may not move the port: pools
// hold on to the DSN they were given.
func (c *Cluster) bringUp(ctx context.Context, mayMovePort bool) error {
	pm, running, err := runningPostmaster(c.layout.data())
	if err != nil {
		return err
	}
	if running {
		return c.adopt(ctx, pm)
	}
	if err := c.awaitOrphans(ctx); err != nil {
		return err
	}
	if err := clearStaleLocks(c.layout); err != nil {
		return err
	}
	kept := c.Port
	if kept == 0 {
		if kept, err = readPort(c.layout.port()); err != nil {
			return err
		}
	}
	if !mayMovePort {
		return c.startOn(ctx, kept)
	}
	for try := 0; ; try++ {
		port, err := pickPort(ctx, kept)
		if err != nil {
			return err
		}
		err = c.startOn(ctx, port)
		// Somebody may take the port between our look and the server's: then another one, a few times.
		if err == nil || try == 3 || portFree(ctx, port) {
			return err
		}
	}
}

// adopt takes over a postmaster left by an earlier life of ours.
func (c *Cluster) adopt(ctx context.Context, pm postmaster) error {
	if c.Port != 0 && c.Port != pm.port {
		return fmt.Errorf("adopt PostgreSQL in %s: it listens on port %d, not on %d", c.layout.dir, pm.port, c.Port)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for !pm.ready {
		if err := pause(ctx, shortPoll); err != nil {
			return fmt.Errorf("wait for running PostgreSQL in %s: %w", c.layout.dir, err)
		}
		var running bool
		var err error
		if pm, running, err = runningPostmaster(c.layout.data()); err != nil {
			return err
		}
		if !running {
			return fmt.Errorf("wait for running PostgreSQL in %s: it ended: %s", c.layout.dir, c.logTail())
		}
	}
	c.Port, c.pid = pm.port, pm.pid
	if err := c.keepPort(); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("adopt running PostgreSQL in %s: %w", c.layout.dir, err)
	}
	c.log.Info("adopted running PostgreSQL", "dir", c.layout.dir, "pid", c.pid, "port", c.Port)
	return conn.Close(ctx)
}

// startOn starts the server on a port and waits until it takes connections.
func (c *Cluster) startOn(ctx context.Context, port int) error {
	begin := time.Now()
	if err := writeConfiguration(c.cfg, c.layout, c.runner, port); err != nil {
		return err
	}
	if err := c.rotateLog(); err != nil {
		return err
	}
	err := c.runner.run(ctx, filepath.Join(c.bin.Path, "pg_ctl"), "start", "-w", "-s",
		"-t", strconv.Itoa(int(startPatience/time.Second)), "-D", c.layout.data(), "-l", c.layout.logFile())
	if err != nil {
		return fmt.Errorf("start PostgreSQL in %s: %w; its log ends: %s", c.layout.dir, err, c.logTail())
	}
	pm, running, err := runningPostmaster(c.layout.data())
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("start PostgreSQL in %s: it ended at once: %s", c.layout.dir, c.logTail())
	}
	c.Port, c.pid = pm.port, pm.pid
	c.log.Info("started PostgreSQL", "dir", c.layout.dir, "version", c.bin.Version, "pid", c.pid, "port", c.Port,
		"took", time.Since(begin).Round(time.Millisecond))
	return c.keepPort()
}

func (c *Cluster) keepPort() error {
	if err := writeFile(c.layout.port(), strconv.Itoa(c.Port)+"\n", c.runner); err != nil {
		return fmt.Errorf("keep port of %s: %w", c.layout.dir, err)
	}
	return nil
}

func (c *Cluster) rotateLog() error {
	info, err := os.Stat(c.layout.logFile())
	if errors.Is(err, os.ErrNotExist) || (err == nil && info.Size() < maxLogBytes) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at log of %s: %w", c.layout.dir, err)
	}
	if err := os.Rename(c.layout.logFile(), c.layout.logFile()+".1"); err != nil {
		return fmt.Errorf("move log of %s aside: %w", c.layout.dir, err)
	}
	return nil
}

// awaitOrphans waits until the backends of a dead postmaster are gone; the server refuses to start beside them.
func (c *Cluster) awaitOrphans(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, orphanPatience)
	defer cancel()
	for {
		pids := serverProcesses(c.layout.data())
		if len(pids) == 0 {
			return nil
		}
		if err := pause(ctx, shortPoll); err != nil {
			return fmt.Errorf("wait for orphaned PostgreSQL processes %v of %s to end: %w", pids, c.layout.dir, err)
		}
	}
}

// Supervise restarts the server when its postmaster dies, until ctx ends or Stop is called. The port stays the same.
func (c *Cluster) Supervise(ctx context.Context) {
	for failures := 0; ; {
		// After failures look less often: a full disk or a taken port does not pass in a second.
		if pause(ctx, superviseEvery<<min(failures, 5)) != nil {
			return
		}
		done, err := c.check(ctx)
		if done {
			return
		}
		if err == nil {
			failures = 0
			continue
		}
		failures++
		c.log.Error("restart of PostgreSQL failed", "dir", c.layout.dir, "error", err, "failures", failures)
	}
}

// check restarts a dead server; done says that there is nothing to supervise any more.
func (c *Cluster) check(ctx context.Context) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return true, nil
	}
	if isServerProcess(c.pid, c.layout.data()) {
		return false, nil
	}
	c.log.Warn("PostgreSQL ended unexpectedly", "dir", c.layout.dir, "pid", c.pid)
	return false, c.bringUp(ctx, false)
}

// Stop ends the server in fast mode (open transactions are rolled back) and gives the folder free. When ctx ends first
// it falls back to immediate mode, which costs a recovery at the next start but no committed data.
func (c *Cluster) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	defer c.unlock()
	if err := c.signal(syscall.SIGINT); err != nil {
		return err
	}
	if c.awaitEnd(ctx) == nil {
		return nil
	}
	c.log.Warn("PostgreSQL does not stop in time, ending it at once", "dir", c.layout.dir)
	if err := c.signal(syscall.SIGQUIT); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return c.awaitEnd(last)
}

// Release gives the folder free and leaves the server running, as the end of our process would.
func (c *Cluster) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.unlock()
}

// Kill9 kills the postmaster as a crash would, for tests. Supervise, if it runs, brings it back.
func (c *Cluster) Kill9(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return c.awaitEnd(ctx)
}

func (c *Cluster) signal(sig syscall.Signal) error {
	if !isServerProcess(c.pid, c.layout.data()) {
		return nil // gone already; never signal a number that may be somebody else's
	}
	if err := syscall.Kill(c.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to PostgreSQL %d in %s: %w", strings.ToLower(sig.String()), c.pid, c.layout.dir, err)
	}
	return nil
}

func (c *Cluster) awaitEnd(ctx context.Context) error {
	for isServerProcess(c.pid, c.layout.data()) {
		if err := pause(ctx, shortPoll); err != nil {
			return fmt.Errorf("wait for PostgreSQL %d in %s to end: %w", c.pid, c.layout.dir, err)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
