package gateway

import (
	"time"

	"github.com/google/uuid"
)

// Invite makes an enrolment token for a host of this gateway; the caller keeps the hash.
func (g *Gateway) Invite(hostID uuid.UUID, life time.Duration) (text string, hash []byte, expires time.Time, err error) {
	i, err := Invite(g.cfg.Authority, g.cfg.PublicAddress, hostID, life)
	return i.Text, i.Hash, i.ExpiresAt, err
}
