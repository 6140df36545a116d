package agent

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
)

// EnrollOptions are what enrolment needs besides the token.
type EnrollOptions struct {
	StateDir string
	// Gateway overrides the token's address.
	Gateway   string
	Hostname  string
	MachineID string
	Version   string
	// Force replaces an identity that the host has already.
	Force bool
}

// enrollTimeout bounds the one call.
const enrollTimeout = 30 * time.Second

// DecodeToken reads what a person pasted; white space in it is theirs.
func DecodeToken(text string) (host.EnrollmentToken, error) {
	var t host.EnrollmentToken
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.Join(strings.Fields(text), ""), "="))
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil || t.Gateway == "" || t.Fingerprint == "" || t.Secret == "" || t.HostID == "" {
		return t, errors.New("read token: this is no enrolment token, or a part of it is missing; copy it again as a whole")
	}
	t.Fingerprint = strings.ToLower(t.Fingerprint)
	return t, nil
}

// Enroll makes this host known to the manager: the key is made here, the certificate comes from the manager's
// authority, and both are stored together. It returns the host's id.
func Enroll(ctx context.Context, token string, o EnrollOptions) (string, error) {
	t, err := DecodeToken(token)
	if err != nil {
		return "", err
	}
	if time.Now().After(t.ExpiresAt) {
		return "", fmt.Errorf("enrol: the token expired at %s; make a new one (or set this host's clock, which says %s)",
			t.ExpiresAt.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
	}
	if err := mayEnroll(o, t.HostID); err != nil {
		return "", err
	}
	if o.Gateway != "" {
		t.Gateway = o.Gateway
	}
	// The folder first: a token is used up by the call.
	if err := os.MkdirAll(o.StateDir, 0o711); err != nil {
		return "", fmt.Errorf("enrol: %w", err)
	}
	key, csr, err := newKey(t.HostID)
	if err != nil {
		return "", err
	}
	in := host.EnrollIn{
		Secret: t.Secret, HostID: t.HostID, CSRPEM: csr, Hostname: o.Hostname, MachineID: o.MachineID, Version: o.Version,
	}
	var out host.EnrollOut
	c := newGateway(t.Gateway, &http.Transport{TLSClientConfig: pinnedConfig(t.Fingerprint), ForceAttemptHTTP2: true})
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	if err := c.post(ctx, host.PathEnroll, in, &out); err != nil {
		return "", enrollError(t, err)
	}
	return out.HostID, storeEnrolled(o.StateDir, t, key, out)
}

func mayEnroll(o EnrollOptions, hostID string) error {
	id, err := loadIdentity(o.StateDir)
	if errors.Is(err, ErrNotEnrolled) || o.Force {
		return nil
	}
	if err != nil {
		return fmt.Errorf("enrol: there is a damaged identity in %s (%w); use --force to replace it", o.StateDir, err)
	}
	if have := id.get().HostID; have != hostID {
		return fmt.Errorf("enrol: this host is enrolled already, as %s; use --force to make it %s", have, hostID)
	}
	return errors.New("enrol: this host is enrolled already; use --force to enrol it again")
}

func storeEnrolled(stateDir string, t host.EnrollmentToken, key string, out host.EnrollOut) error {
	block, _ := pem.Decode([]byte(out.AuthorityPEM))
	if block == nil {
		return errors.New("enrol: the manager sent no certificate of its authority")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil || fingerprintOf(ca) != t.Fingerprint {
		return fmt.Errorf("enrol: %w", errWrongAuthority)
	}
	s := storedIdentity{
		HostID:      out.HostID,
		Gateway:     t.Gateway,
		Namespace:   out.Namespace,
		Key:         key,
		Certificate: out.CertificatePEM,
		Authority:   out.AuthorityPEM,
	}
	if _, _, err := s.parse(); err != nil {
		return fmt.Errorf("enrol: the manager's answer does not fit: %w", err)
	}
	// A host that is another one now must not send what it spooled as the old one.
	if old, err := loadIdentity(stateDir); err == nil && old.get().HostID != out.HostID {
		if err := os.RemoveAll(filepath.Join(stateDir, spoolDir)); err != nil {
			return fmt.Errorf("enrol: forget old reports: %w", err)
		}
	}
	return s.save(stateDir)
}

// enrollError says what to do about it.
func enrollError(t host.EnrollmentToken, err error) error {
	if g, ok := errors.AsType[*GatewayError](err); ok {
		return fmt.Errorf("enrol: the manager refused: %s (%s)", g.Detail, g.Code)
	}
	if errors.Is(err, errWrongAuthority) {
		return fmt.Errorf("enrol at %s: %w", t.Gateway, errWrongAuthority)
	}
	return fmt.Errorf("enrol: reach the gateway at %s: %w; check that this host may connect there", t.Gateway, err)
}
