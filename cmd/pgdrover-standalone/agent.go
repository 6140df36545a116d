package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
)

// agent is the agent of this machine: the ordinary program as a process of its own, enrolled like any other.
type agent struct {
	s       *system
	program string
	dir     string
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func startAgent(ctx context.Context, s *system) (*agent, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the agent's program: %w", err)
	}
	a := &agent{s: s, program: filepath.Join(filepath.Dir(self), "pgdrover-agent"), dir: filepath.Join(s.home, "agent")}
	if _, err := os.Stat(a.program); err != nil {
		return nil, fmt.Errorf("find the agent's program beside this one (make build makes it): %w", err)
	}
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the agent's folder: %w", err)
	}
	if err := a.configure(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(a.dir, "state", "identity")); errors.Is(err, fs.ErrNotExist) {
		if err := a.enroll(ctx); err != nil {
			return nil, err
		}
	}
	rctx, cancel := context.WithCancel(s.background)
	a.cancel = cancel
	a.done.Go(func() { a.keepRunning(rctx) })
	return a, nil
}

func (a *agent) configFile() string { return filepath.Join(a.dir, "agent.yaml") }

// configure writes the agent's file once; a person may change it.
func (a *agent) configure() error {
	if _, err := os.Stat(a.configFile()); err == nil {
		return nil
	}
	text := fmt.Sprintf("# Made by pgdrover-standalone; change it as you like and restart.\nstate_dir: %s\ndata_root: %s\n"+
		"ignore_data_directories:\n  - %s\n",
		filepath.Join(a.dir, "state"), filepath.Join(a.s.home, "instances"), a.s.postgres.DataDir())
	if err := os.WriteFile(a.configFile(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the agent's configuration: %w", err)
	}
	return nil
}

// enroll records this machine as a host and lets the agent enrol itself with a one-time token.
func (a *agent) enroll(ctx context.Context) error {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	m := a.s.manager
	var token string
	err = m.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		h, err := q.GetHostByName(ctx, name)
		if db.IsNotFound(err) {
			h, err = q.InsertHost(ctx, uuid.Must(uuid.NewV7()), name, []byte(`{}`))
		}
		if err != nil {
			return fmt.Errorf("record this machine: %w", err)
		}
		if err := q.VoidEnrollmentTokens(ctx, h.ID); err != nil {
			return err
		}
		text, hash, expires, err := m.Gateway.Invite(h.ID, 10*time.Minute)
		if err != nil {
			return err
		}
		token = text
		return q.InsertEnrollmentToken(ctx, gen.InsertEnrollmentTokenParams{
			ID: uuid.Must(uuid.NewV7()), HostID: h.ID, SecretHash: hash, ExpiresAt: expires,
		})
	})
	if err != nil {
		return fmt.Errorf("invite this machine's agent: %w", err)
	}
	// By file: arguments are seen by everyone on the machine.
	file := filepath.Join(a.dir, "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return fmt.Errorf("hand the token to the agent: %w", err)
	}
	defer os.Remove(file)
	out, err := exec.CommandContext(ctx, a.program, "--config", a.configFile(), "enroll", "--token-file", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("enrol this machine's agent: %w: %s", err, out)
	}
	return nil
}

// keepRunning starts the agent again when it ends, as systemd would.
func (a *agent) keepRunning(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.runOnce(ctx); err != nil && ctx.Err() == nil {
			a.s.log.Warn("the agent ended; starting it again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (a *agent) runOnce(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(a.dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the agent's log: %w", err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, a.program, "--config", a.configFile(), "run")
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C in the terminal is for us, and we end the agent in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}

func (a *agent) stop() {
	a.cancel()
	a.done.Wait()
}
