// Package pki is the manager's certificate authority: an ECDSA P-256 root that all managers share, certificates of
// agents with their host's id as only name, and the gateway's own server certificate.
//
// It is pure: where the root's key is kept is the caller's business (server/gateway seals it in the repository).
// Agents trust this root and nothing else; server and agent certificates differ in their extended key usage, so that
// no agent can pose as a gateway.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	// RootLife is how long the authority's own certificate is valid.
	RootLife = 10 * 365 * 24 * time.Hour
	// AgentLife is how long an agent's certificate is valid; agents renew at two thirds of it.
	AgentLife = 90 * 24 * time.Hour

	// backdate covers hosts whose clock is behind.
	backdate  = time.Hour
	agentHost = "pgdrover"
	agentPath = "/agent/"
)

// ErrBadRequest is wrapped by errors that are the fault of a certificate request.
var ErrBadRequest = errors.New("certificate request refused")

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// NewAuthority makes a new root.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "pgdrover authority " + SerialText(serial)[:8]},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(RootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	return newAuthority(der, key)
}

// ParseAuthority reads what CertificatePEM and KeyDER gave.
func ParseAuthority(certPEM []byte, keyDER []byte) (*Authority, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("read the authority's certificate: not a PEM certificate")
	}
	// The parser's error is left out on purpose: nothing about the key may reach a log.
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, errors.New("read the authority's key: not a PKCS #8 key")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("read the authority's key: not an ECDSA key")
	}
	a, err := newAuthority(block.Bytes, key)
	if err != nil {
		return nil, err
	}
	if pub, ok := a.cert.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("read the authority: certificate and key do not belong together")
	}
	return a, nil
}

func newAuthority(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &Authority{cert: cert, key: key, pool: pool}, nil
}

// KeyDER is the private key as PKCS #8, to be sealed.
func (a *Authority) KeyDER() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("write the authority's key: %w", err)
	}
	return der, nil
}

// Certificate is the root.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertificatePEM is the root for agents to trust.
func (a *Authority) CertificatePEM() string { return encodeCert(a.cert.Raw) }

// Pool trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool { return a.pool }

// Fingerprint is the hex SHA-256 of the root's DER, as in enrolment tokens.
func (a *Authority) Fingerprint() string { return Fingerprint(a.cert) }

// Fingerprint is the hex SHA-256 of a certificate's DER.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// SignAgent makes an agent's certificate. Of the request only the key is taken: names, usages and extensions a host
// asks for are ignored.
func (a *Authority) SignAgent(csrPEM string, hostID uuid.UUID, ttl time.Duration) (*x509.Certificate, error) {
	pub, err := requestKey(csrPEM)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: hostID.String()},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: agentHost, Path: agentPath + hostID.String()}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              earliest(now.Add(ttl), a.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of host %s: %w", hostID, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate of host %s: %w", hostID, err)
	}
	return cert, nil
}

func requestKey(csrPEM string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(csrPEM))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, fmt.Errorf("%w: not one PEM certificate request", ErrBadRequest)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: its signature is wrong", ErrBadRequest)
	}
	switch pub := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() || pub.Curve == elliptic.P384() {
			return pub, nil
		}
	case ed25519.PublicKey:
		return pub, nil
	}
	return nil, fmt.Errorf("%w: the key must be ECDSA P-256, ECDSA P-384 or Ed25519", ErrBadRequest)
}

// EncodeCertificate writes a certificate as PEM.
func EncodeCertificate(cert *x509.Certificate) string { return encodeCert(cert.Raw) }

// HostIDFrom takes the host's id out of an agent's certificate. Whether the certificate is trusted is for TLS to say.
func HostIDFrom(cert *x509.Certificate) (uuid.UUID, error) {
	if len(cert.URIs) != 1 {
		return uuid.Nil, errors.New("read host of certificate: it has not exactly one URI name")
	}
	u := cert.URIs[0]
	id, ok := strings.CutPrefix(u.Path, agentPath)
	if u.Scheme != "spiffe" || u.Host != agentHost || !ok {
		return uuid.Nil, errors.New("read host of certificate: its name is not an agent's")
	}
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.String() != id {
		return uuid.Nil, errors.New("read host of certificate: its name holds no host id")
	}
	return parsed, nil
}

// SerialText is how serial numbers are kept in the repository.
func SerialText(n *big.Int) string { return fmt.Sprintf("%032x", n) }

func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 127)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func encodeCert(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
