package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// session is a sign-in, kept in a file that only its owner reads.
type session struct {
	Server          string    `json:"server"`
	Login           string    `json:"login"`
	AccessToken     string    `json:"access_token"`
	RefreshToken    string    `json:"refresh_token"`
	AccessExpiresAt time.Time `json:"access_expires_at"`
	ExpiresAt       time.Time `json:"expires_at"`
}

// sessions keeps the one session of a person on this machine.
type sessions struct{ dir string }

func (s sessions) file() string { return filepath.Join(s.dir, "session.json") }

// load gives nil where nobody is signed in.
func (s sessions) load() (*session, error) {
	if s.dir == "" {
		return nil, nil //nolint:nilnil // no home is no session
	}
	b, err := os.ReadFile(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no file is no session
	}
	if err != nil {
		return nil, fmt.Errorf("read the session: %w", err)
	}
	if info, err := os.Stat(s.file()); err == nil && info.Mode().Perm()&0o077 != 0 {
		// A copy or a restored backup may have widened it.
		if err := os.Chmod(s.file(), 0o600); err != nil {
			return nil, fmt.Errorf("close the session's file to others: %w", err)
		}
	}
	var v session
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("read the session in %s (remove it and sign in again): %w", s.file(), err)
	}
	return &v, nil
}

// save replaces the file in one step: a reader sees the old session or the new one, and a crash leaves one of them.
func (s sessions) save(v session) error {
	if s.dir == "" {
		return errors.New("keep the session: neither XDG_CONFIG_HOME nor HOME is set")
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the session's folder: %w", err)
	}
	b, err := json.MarshalIndent(v, "", "  ") //nolint:gosec // keeping the tokens, readable to their owner only, is its purpose
	if err != nil {
		return fmt.Errorf("write the session: %w", err)
	}
	// CreateTemp makes files of mode 0600.
	f, err := os.CreateTemp(s.dir, "session-*")
	if err != nil {
		return fmt.Errorf("write the session: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the session: %w", err)
	}
	if err := os.Rename(f.Name(), s.file()); err != nil {
		return fmt.Errorf("replace the session: %w", err)
	}
	return nil
}

func (s sessions) remove() error {
	if err := os.Remove(s.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the session: %w", err)
	}
	return nil
}

// lock keeps other processes of the person from refreshing at the same time: a refresh token is good once.
func (s sessions) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "session.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the session: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the session: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
