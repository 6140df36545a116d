package embedtemporal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"go.temporal.io/server/common/rpc/encryption"
)

const (
	// serverName is in every server certificate: addresses change at each start and prove nothing.
	serverName = "temporal.pgdrover.internal"
	systemName = "system" // Temporal's own workers and the SDK clients of this process
	uiName     = "ui"
	// The authorities die with the process, and nothing renews them.
	validity = 20 * 365 * 24 * time.Hour
)

// authority is a certificate authority whose key never leaves memory.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	pem  []byte
}

func newAuthority(name string) (*authority, error) {
	template := certTemplate(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, key, err := sign(template, nil)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate of authority %s: %w", name, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// issue makes a certificate for the owner of a name; servers answer to serverName besides.
func (a *authority) issue(name string, usage x509.ExtKeyUsage) (tls.Certificate, error) {
	template := certTemplate(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	if usage == x509.ExtKeyUsageServerAuth {
		template.DNSNames = []string{serverName}
	}
	der, key, err := sign(template, a)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func certTemplate(name string) *x509.Certificate {
	// The serial needs to be unique within an authority that signs five certificates.
	serial := new(big.Int).SetBytes([]byte(rand.Text()))
	serial.Rsh(serial, uint(max(0, serial.BitLen()-120)))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), // clocks get set back
		NotAfter:     time.Now().Add(validity),
	}
}

// sign signs a template with an authority, or with its own new key.
func sign(template *x509.Certificate, by *authority) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key of %s: %w", template.Subject.CommonName, err)
	}
	parent, parentKey := template, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate of %s: %w", template.Subject.CommonName, err)
	}
	return der, key, nil
}

// identities holds everything one server needs. It is Temporal's TLSConfigProvider.
type identities struct {
	frontendCA                               *authority
	nodeServer, nodeClient, frontend, system tls.Certificate
	ui                                       tls.Certificate
	nodeCA                                   *authority
}

var _ encryption.TLSConfigProvider = (*identities)(nil)

func newIdentities() (*identities, error) {
	nodeCA, err := newAuthority("pgdrover temporal nodes")
	if err != nil {
		return nil, err
	}
	frontendCA, err := newAuthority("pgdrover temporal frontend")
	if err != nil {
		return nil, err
	}
	ids := &identities{nodeCA: nodeCA, frontendCA: frontendCA}
	for _, w := range []struct {
		to    *tls.Certificate
		by    *authority
		name  string
		usage x509.ExtKeyUsage
	}{
		{&ids.nodeServer, nodeCA, "node", x509.ExtKeyUsageServerAuth},
		{&ids.nodeClient, nodeCA, "node", x509.ExtKeyUsageClientAuth},
		{&ids.frontend, frontendCA, "frontend", x509.ExtKeyUsageServerAuth},
		{&ids.system, frontendCA, systemName, x509.ExtKeyUsageClientAuth},
		{&ids.ui, frontendCA, uiName, x509.ExtKeyUsageClientAuth},
	} {
		if *w.to, err = w.by.issue(w.name, w.usage); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func serverTLS(cert tls.Certificate, clients *authority) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.pool, NextProtos: []string{"h2"},
	}
}

func clientTLS(cert tls.Certificate, servers *authority) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		RootCAs: servers.pool, ServerName: serverName, NextProtos: []string{"h2"},
	}
}

// GetInternodeServerConfig is for history, matching and worker to listen with.
func (i *identities) GetInternodeServerConfig() (*tls.Config, error) {
	return serverTLS(i.nodeServer, i.nodeCA), nil
}

// GetInternodeClientConfig is for the services to call one another with.
func (i *identities) GetInternodeClientConfig() (*tls.Config, error) {
	return clientTLS(i.nodeClient, i.nodeCA), nil
}

// GetFrontendServerConfig is for the frontend to listen with.
func (i *identities) GetFrontendServerConfig() (*tls.Config, error) {
	return serverTLS(i.frontend, i.frontendCA), nil
}

// GetFrontendClientConfig is for Temporal's system workers and for our SDK clients.
func (i *identities) GetFrontendClientConfig() (*tls.Config, error) {
	return clientTLS(i.system, i.frontendCA), nil
}

// GetRemoteClusterClientConfig has nothing to give: there is one cluster.
func (*identities) GetRemoteClusterClientConfig(string) (*tls.Config, error) {
	return nil, nil //nolint:nilnil // the interface's way to say "no TLS"
}

// GetExpiringCerts has nothing to report: the certificates outlive the process.
func (*identities) GetExpiringCerts(time.Duration) (expiring, expired encryption.CertExpirationMap, err error) {
	return nil, nil, nil
}

// uiPEM renders the UI's side as its configuration wants it: base64 of PEM.
func (i *identities) uiPEM() (ca, cert, key string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.ui.PrivateKey)
	if err != nil {
		return "", "", "", fmt.Errorf("encode key of Temporal's UI: %w", err)
	}
	encode := func(kind string, der []byte) string {
		var b bytes.Buffer
		_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a buffer does not fail
		return base64.StdEncoding.EncodeToString(b.Bytes())
	}
	return base64.StdEncoding.EncodeToString(i.frontendCA.pem),
		encode("CERTIFICATE", i.ui.Certificate[0]), encode("PRIVATE KEY", der), nil
}
