package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func csrOf(t *testing.T, key crypto.Signer, template x509.CertificateRequest) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func ecKey(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	require.NoError(t, err)
	return key
}

func TestAgentCertificateHoldsTheHostAloneWhateverIsAskedFor(t *testing.T) {
	t.Parallel()
	a, err := NewAuthority()
	require.NoError(t, err)
	id := uuid.New()
	csr := csrOf(t, ecKey(t, elliptic.P256()), x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root of all"}, DNSNames: []string{"gateway.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	cert, err := a.SignAgent(csr, id, AgentLife)
	require.NoError(t, err)

	got, err := HostIDFrom(cert)
	require.NoError(t, err)
	require.Equal(t, id, got)
	require.Empty(t, cert.DNSNames)
	require.Empty(t, cert.IPAddresses)
	require.False(t, cert.IsCA)
	require.Equal(t, id.String(), cert.Subject.CommonName)
	require.WithinDuration(t, time.Now().Add(AgentLife), cert.NotAfter, time.Minute)

	_, err = cert.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	_, err = cert.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	require.Error(t, err, "an agent must not pose as a gateway")
}

func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	a, err := NewAuthority()
	require.NoError(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	good := csrOf(t, ecKey(t, elliptic.P384()), x509.CertificateRequest{})
	block, _ := pem.Decode([]byte(good))
	block.Bytes[len(block.Bytes)-1] ^= 1

	for name, csr := range map[string]string{
		"rsa":       csrOf(t, weak, x509.CertificateRequest{}),
		"p521":      csrOf(t, ecKey(t, elliptic.P521()), x509.CertificateRequest{}),
		"signature": string(pem.EncodeToMemory(block)),
		"empty":     "",
		"garbage":   "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
		"two":       good + good,
	} {
		_, err := a.SignAgent(csr, uuid.New(), AgentLife)
		require.ErrorIs(t, err, ErrBadRequest, name)
	}
}

func TestEd25519AndP384AreAccepted(t *testing.T) {
	t.Parallel()
	a, err := NewAuthority()
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for _, key := range []crypto.Signer{ed, ecKey(t, elliptic.P384())} {
		_, err := a.SignAgent(csrOf(t, key, x509.CertificateRequest{}), uuid.New(), AgentLife)
		require.NoError(t, err)
	}
}

func TestAuthoritySurvivesStorage(t *testing.T) {
	t.Parallel()
	a, err := NewAuthority()
	require.NoError(t, err)
	key, err := a.KeyDER()
	require.NoError(t, err)
	b, err := ParseAuthority([]byte(a.CertificatePEM()), key)
	require.NoError(t, err)
	require.Equal(t, a.Fingerprint(), b.Fingerprint())
	require.Len(t, a.Fingerprint(), 64)

	other, err := NewAuthority()
	require.NoError(t, err)
	_, err = ParseAuthority([]byte(other.CertificatePEM()), key)
	require.ErrorContains(t, err, "do not belong together")
}

func TestServerCertificateIsMadeAnewBeforeItExpires(t *testing.T) {
	t.Parallel()
	a, err := NewAuthority()
	require.NoError(t, err)
	s, err := a.ServerCertificate([]string{"gw.example"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	first, err := s.GetCertificate(&tls.ClientHelloInfo{})
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(first.Certificate[0])
	require.NoError(t, err)
	for _, name := range []string{"gw.example", "127.0.0.1"} {
		_, err = leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name})
		require.NoError(t, err)
	}
	again, err := s.GetCertificate(nil)
	require.NoError(t, err)
	require.Same(t, first, again)

	s.now = func() time.Time { return time.Now().Add(21 * 24 * time.Hour) }
	renewed, err := s.GetCertificate(nil)
	require.NoError(t, err)
	require.NotSame(t, first, renewed)
}

func TestHostIDIsTakenFromAgentNamesOnly(t *testing.T) {
	t.Parallel()
	a, err := NewAuthority()
	require.NoError(t, err)
	_, err = HostIDFrom(a.Certificate())
	require.Error(t, err)
}
