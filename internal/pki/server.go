package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"sync"
	"time"
)

// serverLife is short: the certificate is made anew in the process, nobody has to be asked.
const serverLife = 30 * 24 * time.Hour

// ServerCertificate is a gateway's certificate, made anew before it expires. Put GetCertificate into tls.Config.
type ServerCertificate struct {
	authority *Authority
	names     []string
	ips       []net.IP
	life      time.Duration
	now       func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	renewAt time.Time
}

// ServerCertificate makes a certificate for the names and addresses under which agents reach the gateway. The key
// stays in memory.
func (a *Authority) ServerCertificate(names []string, ips []net.IP) (*ServerCertificate, error) {
	s := &ServerCertificate{authority: a, names: names, ips: ips, life: serverLife, now: time.Now}
	if _, err := s.get(); err != nil {
		return nil, err
	}
	return s, nil
}

// GetCertificate serves tls.Config.
func (s *ServerCertificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.get()
}

func (s *ServerCertificate) get() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.current != nil && now.Before(s.renewAt) {
		return s.current, nil
	}
	cert, err := s.issue(now)
	if err != nil {
		return nil, err
	}
	s.current, s.renewAt = cert, now.Add(s.life*2/3)
	return cert, nil
}

func (s *ServerCertificate) issue(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the gateway's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "pgdrover gateway"},
		DNSNames:              s.names,
		IPAddresses:           s.ips,
		NotBefore:             now.Add(-backdate),
		NotAfter:              earliest(now.Add(s.life), s.authority.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.authority.cert, key.Public(), s.authority.key)
	if err != nil {
		return nil, fmt.Errorf("sign the gateway's certificate: %w", err)
	}
	// The root goes along: an agent that enrols knows only its fingerprint.
	return &tls.Certificate{Certificate: [][]byte{der, s.authority.cert.Raw}, PrivateKey: key}, nil
}
