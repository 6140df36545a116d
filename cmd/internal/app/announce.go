package app

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// Logger makes the process's logger on standard error.
func Logger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("log format %q is neither text nor json", format)
}

// Announce tells the person at the terminal the first login, once: it is kept nowhere.
func (m *Manager) Announce(w io.Writer) {
	if !m.MadeAdministrator {
		return
	}
	fmt.Fprintf(w, "First administrator: login %s", FirstLogin)
	if m.FirstPassword != "" {
		fmt.Fprintf(w, ", password %s (shown only now)", m.FirstPassword)
	} else {
		fmt.Fprint(w, ", password as given in PGDROVER_ADMIN_PASSWORD")
	}
	fmt.Fprintln(w)
}

// AgentProgram finds the agent's program beside this one; empty if it is not there.
func AgentProgram() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	p := filepath.Join(filepath.Dir(self), "pgdrover-agent")
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}
