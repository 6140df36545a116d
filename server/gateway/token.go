package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// HMACKeySize of the key that seals task tokens, in bytes.
const HMACKeySize = 32

const tokenVersion = 1

var errForged = errors.New("the task token was not made for this host")

// taskRef is what any gateway must know of a task to write its step down. It travels inside the sealed token, so that
// no gateway has to remember tasks that another one handed out.
type taskRef struct {
	Operation string `json:"o,omitempty"`
	Step      string `json:"s,omitempty"`
	Attempt   int32  `json:"a,omitempty"`
	// Last: no retry follows this attempt.
	Last bool `json:"l,omitempty"`
}

// tokenSealer binds task tokens to a host. Temporal's own tokens are plain ids: a host that guesses those of another
// host's task could answer it.
type tokenSealer struct{ key []byte }

func (s tokenSealer) mac(host uuid.UUID, body []byte) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write(host[:])
	m.Write(body)
	return m.Sum(nil)
}

func (s tokenSealer) seal(host uuid.UUID, ref taskRef, token []byte) ([]byte, error) {
	meta, err := json.Marshal(ref)
	if err != nil {
		return nil, fmt.Errorf("seal task token: %w", err)
	}
	body := binary.AppendUvarint([]byte{tokenVersion}, uint64(len(meta)))
	body = append(append(body, meta...), token...)
	return append(s.mac(host, body), body...), nil
}

func (s tokenSealer) open(host uuid.UUID, sealed []byte) (ref taskRef, token []byte, err error) {
	if len(sealed) < sha256.Size+2 {
		return ref, nil, errForged
	}
	body := sealed[sha256.Size:]
	if !hmac.Equal(sealed[:sha256.Size], s.mac(host, body)) || body[0] != tokenVersion {
		return ref, nil, errForged
	}
	size, n := binary.Uvarint(body[1:])
	rest := body[1:]
	if n <= 0 || size > uint64(len(rest)-n) {
		return ref, nil, errForged
	}
	end := n + int(size)
	if err := json.Unmarshal(rest[n:end], &ref); err != nil {
		return ref, nil, errForged
	}
	return ref, rest[end:], nil
}
