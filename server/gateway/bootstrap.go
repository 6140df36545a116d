package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/pki"
	"github.com/pgdrover/pgdrover/internal/secret"
)

const (
	settingCheck     = "master-key-check"
	settingAuthority = "authority"
	settingTokenKey  = "gateway-token-key"

	purposeAuthority = "authority"
	purposeTokenKey  = "gateway-token-key"
)

// ErrMasterKey means that the given master key is not the one the repository's secrets are sealed under.
var ErrMasterKey = errors.New("the master key is not the one this repository was set up with: " +
	"give the right key file or environment variable")

// Keys are what all gateways of an installation share.
type Keys struct {
	Authority *pki.Authority
	// HMACKey seals task tokens.
	HMACKey []byte
}

type checkValue struct {
	Version int    `json:"version"`
	Sealed  []byte `json:"sealed"`
}

type keyPlace struct {
	Secret      uuid.UUID `json:"secret"`
	Certificate string    `json:"certificate,omitempty"`
}

// LoadKeys checks the master key and reads the shared keys; the first manager makes them. Managers that start
// together agree on one set.
func LoadKeys(ctx context.Context, d *db.DB, sealer *secret.Sealer) (Keys, error) {
	var k Keys
	err := d.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if err := q.LockKey(ctx, "gateway-keys"); err != nil {
			return fmt.Errorf("serialise with other managers: %w", err)
		}
		if err := checkMasterKey(ctx, q, sealer); err != nil {
			return err
		}
		var err error
		if k.Authority, err = loadAuthority(ctx, q, sealer); err != nil {
			return err
		}
		k.HMACKey, err = loadTokenKey(ctx, q, sealer)
		return err
	})
	if err != nil {
		return Keys{}, fmt.Errorf("load the installation's keys: %w", err)
	}
	return k, nil
}

// checkMasterKey compares with a value sealed by the first manager, so that a wrong key is told at the start and not
// by the first secret that does not open.
func checkMasterKey(ctx context.Context, q *gen.Queries, sealer *secret.Sealer) error {
	var c checkValue
	aad := []byte(settingCheck)
	found, err := readSetting(ctx, q, settingCheck, &c)
	if err != nil {
		return err
	}
	if found {
		if _, err := sealer.Open(c.Version, c.Sealed, aad); err != nil {
			return fmt.Errorf("%w (%w)", ErrMasterKey, err)
		}
		if c.Version == sealer.Version() {
			return nil
		}
	}
	if c.Version, c.Sealed, err = sealer.Seal([]byte("pgdrover"), aad); err != nil {
		return fmt.Errorf("seal the check value: %w", err)
	}
	return writeSetting(ctx, q, settingCheck, c)
}

func loadAuthority(ctx context.Context, q *gen.Queries, sealer *secret.Sealer) (*pki.Authority, error) {
	var place keyPlace
	found, err := readSetting(ctx, q, settingAuthority, &place)
	if err != nil {
		return nil, err
	}
	if found {
		der, err := openSecret(ctx, q, sealer, place.Secret)
		if err != nil {
			return nil, fmt.Errorf("read the authority's key: %w", err)
		}
		return pki.ParseAuthority([]byte(place.Certificate), der)
	}
	authority, err := pki.NewAuthority()
	if err != nil {
		return nil, err
	}
	der, err := authority.KeyDER()
	if err != nil {
		return nil, err
	}
	if place.Secret, err = keepSecret(ctx, q, sealer, purposeAuthority, der); err != nil {
		return nil, err
	}
	place.Certificate = authority.CertificatePEM()
	return authority, writeSetting(ctx, q, settingAuthority, place)
}

func loadTokenKey(ctx context.Context, q *gen.Queries, sealer *secret.Sealer) ([]byte, error) {
	var place keyPlace
	found, err := readSetting(ctx, q, settingTokenKey, &place)
	if err != nil {
		return nil, err
	}
	if found {
		return openSecret(ctx, q, sealer, place.Secret)
	}
	key := make([]byte, HMACKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make the token key: %w", err)
	}
	if place.Secret, err = keepSecret(ctx, q, sealer, purposeTokenKey, key); err != nil {
		return nil, err
	}
	return key, writeSetting(ctx, q, settingTokenKey, place)
}

func keepSecret(ctx context.Context, q *gen.Queries, sealer *secret.Sealer, purpose string, plain []byte) (uuid.UUID, error) {
	id := uuid.Must(uuid.NewV7())
	version, sealed, err := sealer.Seal(plain, secret.AAD(id))
	if err != nil {
		return id, fmt.Errorf("seal %s: %w", purpose, err)
	}
	p := gen.InsertSecretParams{ID: id, Purpose: purpose, KeyVersion: int32(version), Sealed: sealed}
	if err := q.InsertSecret(ctx, p); err != nil {
		return id, fmt.Errorf("keep %s: %w", purpose, err)
	}
	return id, nil
}

func openSecret(ctx context.Context, q *gen.Queries, sealer *secret.Sealer, id uuid.UUID) ([]byte, error) {
	row, err := q.GetSecret(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", id, err)
	}
	return sealer.Open(int(row.KeyVersion), row.Sealed, secret.AAD(id))
}

func readSetting(ctx context.Context, q *gen.Queries, key string, v any) (bool, error) {
	raw, err := q.GetSetting(ctx, key)
	if db.IsNotFound(err) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		return false, fmt.Errorf("read setting %s: %w", key, err)
	}
	return true, nil
}

func writeSetting(ctx context.Context, q *gen.Queries, key string, v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		err = q.PutSetting(ctx, key, raw)
	}
	if err != nil {
		return fmt.Errorf("write setting %s: %w", key, err)
	}
	return nil
}

// Invitation is a new enrolment token: Text is what a person pastes on the host, Hash goes into
// enrollment_token.secret_hash. The secret itself is kept nowhere.
type Invitation struct {
	Text      string
	Hash      []byte
	ExpiresAt time.Time
}

// Invite makes an enrolment token for a host. The caller inserts the row.
func Invite(authority *pki.Authority, gatewayAddress string, hostID uuid.UUID, ttl time.Duration) (Invitation, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return Invitation{}, fmt.Errorf("make enrolment token: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(random)
	token := host.EnrollmentToken{
		Gateway: gatewayAddress, Fingerprint: authority.Fingerprint(), Secret: text,
		HostID: hostID.String(), ExpiresAt: time.Now().Add(ttl).UTC().Truncate(time.Second),
	}
	raw, err := json.Marshal(token) //nolint:gosec // the token is what the person is given
	if err != nil {
		return Invitation{}, fmt.Errorf("write enrolment token: %w", err)
	}
	return Invitation{
		Text: base64.RawURLEncoding.EncodeToString(raw), Hash: HashTokenSecret(text), ExpiresAt: token.ExpiresAt,
	}, nil
}

// HashTokenSecret is how the secret of an enrolment token is kept. It is random and long: a plain hash is enough.
func HashTokenSecret(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
