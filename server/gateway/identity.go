package gateway

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/internal/pki"
)

// caller is the agent behind a certificate.
type caller struct {
	hostID   uuid.UUID
	hostName string
	serial   string
	remote   string
}

const (
	// identityTime is how long an answer of the repository is believed.
	identityTime = 2 * time.Second
	// identityOutage is how long it is believed while the repository is away: nobody can be revoked in that time, and
	// running steps must not die of it.
	identityOutage = 5 * time.Minute
	maxIdentities  = 50000
)

var (
	errNoCertificate = errs.New(errs.Unauthorized, "certificate-required", "The agent's certificate is required.")
	errUnknownCert   = errs.New(errs.Unauthorized, "certificate-unknown", "The certificate is not known here; enrol the host again.")
	errRevokedCert   = errs.New(errs.Unauthorized, "certificate-revoked", "The certificate is revoked.")
	errExpiredCert   = errs.New(errs.Unauthorized, "certificate-expired", "The certificate has expired; enrol the host again.")
)

type identity struct {
	host    uuid.UUID
	name    string
	refused *errs.Error
	at      time.Time
}

// identities answers who a certificate belongs to and whether it is still good.
type identities struct {
	db  *db.DB
	now func() time.Time

	mu       sync.Mutex
	bySerial map[string]identity
}

func newIdentities(d *db.DB) *identities {
	return &identities{db: d, now: time.Now, bySerial: map[string]identity{}}
}

// caller trusts TLS to have verified the chain.
func (i *identities) caller(ctx context.Context, state *tls.ConnectionState, remote string) (caller, error) {
	c := caller{remote: remote}
	if state == nil || len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return c, errNoCertificate
	}
	cert := state.PeerCertificates[0]
	host, err := pki.HostIDFrom(cert)
	if err != nil {
		return c, errUnknownCert
	}
	c.hostID, c.serial = host, pki.SerialText(cert.SerialNumber)
	// TLS looks at the dates only when a connection begins.
	if i.now().After(cert.NotAfter) {
		return c, errExpiredCert
	}
	known, err := i.lookup(ctx, c.serial)
	if err != nil {
		return c, err
	}
	c.hostName = known.name
	if known.refused != nil {
		return c, known.refused
	}
	if known.host != host {
		return c, errUnknownCert
	}
	return c, nil
}

func (i *identities) lookup(ctx context.Context, serial string) (identity, error) {
	i.mu.Lock()
	known, ok := i.bySerial[serial]
	i.mu.Unlock()
	age := i.now().Sub(known.at)
	if ok && age < identityTime {
		return known, nil
	}
	fresh := identity{at: i.now()}
	row, err := i.db.CertificateState(ctx, serial)
	switch {
	case db.IsNotFound(err):
		fresh.refused = errUnknownCert
	case err != nil && ok && age < identityOutage && ctx.Err() == nil:
		return known, nil
	case err != nil:
		return identity{}, unavailable(err)
	default:
		fresh.host, fresh.name = row.HostID, row.HostName
		if !row.Good {
			fresh.refused = errRevokedCert
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.bySerial) >= maxIdentities {
		clear(i.bySerial)
	}
	i.bySerial[serial] = fresh
	return fresh, nil
}

// forget makes the next call of the host ask the repository.
func (i *identities) forget(host uuid.UUID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for serial, known := range i.bySerial {
		if known.host == host {
			// Kept for an outage of the repository, but not believed otherwise.
			known.at = known.at.Add(-identityTime)
			i.bySerial[serial] = known
		}
	}
}

func (i *identities) forgetAll() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for serial, known := range i.bySerial {
		known.at = known.at.Add(-identityTime)
		i.bySerial[serial] = known
	}
}
