// Package secret seals passwords and keys with AES-256-GCM under the installation's master key.
//
// The master key comes from the environment or a file, never from the repository. Each sealed value says under which
// version of the key it was sealed, so that a new key can be introduced while old values are still readable. The
// additional data binds a value to the row it belongs to: a sealed value moved to another row does not open.
// Neither values nor keys ever appear in an error.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// KeySize of the master key in bytes.
const KeySize = 32

// ErrWrongKey means that a value does not open: the master key is another one, or the value was changed or moved.
var ErrWrongKey = errors.New("the master key does not open this value")

// Sealer seals under the current key and opens under any key it knows. It is safe for concurrent use.
type Sealer struct {
	current int
	aeads   map[int]cipher.AEAD
}

// New makes a sealer from keys by version; new values are sealed under the version current.
func New(current int, keys map[int][]byte) (*Sealer, error) {
	if _, ok := keys[current]; !ok {
		return nil, fmt.Errorf("read master key: no key of version %d", current)
	}
	s := &Sealer{current: current, aeads: make(map[int]cipher.AEAD, len(keys))}
	for version, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("read master key of version %d: it has %d bytes, not %d", version, len(key), KeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("use master key of version %d: unsuitable key", version)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("use master key of version %d: unsuitable key", version)
		}
		s.aeads[version] = aead
	}
	return s, nil
}

// Version of the key under which new values are sealed.
func (s *Sealer) Version() int { return s.current }

// AAD is the additional data of the row of table secret with this id.
func AAD(id uuid.UUID) []byte { return []byte(id.String()) }

// Seal encrypts plain; the same aad must be given to open it.
func (s *Sealer) Seal(plain, aad []byte) (version int, sealed []byte, err error) {
	return s.current, s.aeads[s.current].Seal(nil, nil, plain, aad), nil //nolint:gosec // it draws its own random nonce
}

// Open decrypts what Seal gave.
func (s *Sealer) Open(version int, sealed, aad []byte) ([]byte, error) {
	aead, ok := s.aeads[version]
	if !ok {
		return nil, fmt.Errorf("open sealed value: it needs the master key of version %d, which was not given", version)
	}
	plain, err := aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("open sealed value: %w", ErrWrongKey)
	}
	return plain, nil
}

// NewKey makes a random key.
func NewKey() ([]byte, error) {
	key := make([]byte, KeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	return key, nil
}
