package secret

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// EnvMasterKey holds the master key as base64; it wins over a file.
const EnvMasterKey = "PGDROVER_MASTER_KEY"

// Config says where the master keys are.
type Config struct {
	// File holds 32 bytes as base64; it must be readable by its owner alone.
	File string `yaml:"file"`
	// Version of the key in File or the environment, 1 if 0.
	Version int `yaml:"version"`
	// Previous are files of earlier versions, kept until all values are sealed anew.
	Previous map[int]string `yaml:"previous"`
}

// Load reads the keys.
func Load(c Config) (*Sealer, error) {
	version := c.Version
	if version == 0 {
		version = 1
	}
	keys := map[int][]byte{}
	for old, file := range maps.All(c.Previous) {
		if old == version {
			return nil, fmt.Errorf("read master keys: version %d is both the current and a previous one", old)
		}
		key, err := readFile(file)
		if err != nil {
			return nil, err
		}
		keys[old] = key
	}
	key, err := currentKey(c.File)
	if err != nil {
		return nil, err
	}
	keys[version] = key
	return New(version, keys)
}

func currentKey(file string) ([]byte, error) {
	if text := os.Getenv(EnvMasterKey); text != "" {
		key, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("read master key of environment variable %s: %w", EnvMasterKey, err)
		}
		return key, nil
	}
	if file == "" {
		return nil, fmt.Errorf("read master key: neither a file nor environment variable %s is given", EnvMasterKey)
	}
	return readFile(file)
}

func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read master key: %s may be read by others; chmod 600 it", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	key, err := decode(string(text))
	if err != nil {
		return nil, fmt.Errorf("read master key of %s: %w", file, err)
	}
	return key, nil
}

// decode must not repeat any of the text in its error.
func decode(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("not base64")
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("it has %d bytes, not %d", len(key), KeySize)
	}
	return key, nil
}

// EnsureFile makes a master key file where there is none: for standalone and development. An existing one is left
// alone. Two processes that start together agree on one key.
func EnsureFile(file string) error {
	if _, err := os.Stat(file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := NewKey()
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".master-key-*")
	if err != nil {
		return fmt.Errorf("make master key file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write master key file: %w", err)
	}
	// A link, unlike a rename, fails where another process was quicker.
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write master key file: %w", err)
	}
	return nil
}
