package secret

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

func TestSealedValueOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	s, err := New(1, map[int][]byte{1: testKey(1)})
	require.NoError(t, err)
	id := uuid.New()
	version, sealed, err := s.Seal([]byte("hunter2"), AAD(id))
	require.NoError(t, err)
	require.Equal(t, 1, version)
	require.NotContains(t, string(sealed), "hunter2")

	plain, err := s.Open(version, sealed, AAD(id))
	require.NoError(t, err)
	require.Equal(t, "hunter2", string(plain))

	_, err = s.Open(version, sealed, AAD(uuid.New()))
	require.ErrorIs(t, err, ErrWrongKey)
	sealed[len(sealed)-1] ^= 1
	_, err = s.Open(version, sealed, AAD(id))
	require.ErrorIs(t, err, ErrWrongKey)
	_, err = s.Open(version, nil, AAD(id))
	require.ErrorIs(t, err, ErrWrongKey)
}

func TestRotationKeepsOldValuesReadable(t *testing.T) {
	t.Parallel()
	old, err := New(1, map[int][]byte{1: testKey(1)})
	require.NoError(t, err)
	version, sealed, err := old.Seal([]byte("v"), nil)
	require.NoError(t, err)
	both, err := New(2, map[int][]byte{1: testKey(1), 2: testKey(2)})
	require.NoError(t, err)
	plain, err := both.Open(version, sealed, nil)
	require.NoError(t, err)
	require.Equal(t, "v", string(plain))
	newVersion, _, err := both.Seal([]byte("v"), nil)
	require.NoError(t, err)
	require.Equal(t, 2, newVersion)

	only, err := New(2, map[int][]byte{2: testKey(2)})
	require.NoError(t, err)
	_, err = only.Open(version, sealed, nil)
	require.ErrorContains(t, err, "version 1")
}

func TestLoadFromFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _ = EnsureFile(file) })
	}
	wg.Wait()
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, EnsureFile(file))
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after)

	s, err := Load(Config{File: file})
	require.NoError(t, err)
	require.Equal(t, 1, s.Version())

	require.NoError(t, os.Chmod(file, 0o644))
	_, err = Load(Config{File: file})
	require.ErrorContains(t, err, "chmod 600")
}

func TestLoadFromEnvironmentAndErrorsHoldNoKey(t *testing.T) {
	t.Setenv(EnvMasterKey, base64.StdEncoding.EncodeToString(testKey(7)))
	_, err := Load(Config{})
	require.NoError(t, err)

	short := base64.StdEncoding.EncodeToString([]byte("too short"))
	t.Setenv(EnvMasterKey, short)
	_, err = Load(Config{})
	require.ErrorContains(t, err, "9 bytes")
	require.NotContains(t, err.Error(), short)

	t.Setenv(EnvMasterKey, "")
	_, err = Load(Config{})
	require.ErrorContains(t, err, EnvMasterKey)
}
