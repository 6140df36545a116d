package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
)

const identityFile = "identity"

// ErrNotEnrolled says that the host has no identity yet.
var ErrNotEnrolled = errors.New(
	"this host is not enrolled: make a token for it in pgdrover and run `pgdrover-agent enroll TOKEN`",
)

// storedIdentity is one file, so that key, certificate and authority change together or not at all.
type storedIdentity struct {
	HostID      string `json:"host_id"`
	Gateway     string `json:"gateway"`
	Namespace   string `json:"namespace"`
	Key         string `json:"key_pem"`
	Certificate string `json:"certificate_pem"`
	Authority   string `json:"authority_pem"`
}

// identity is who this agent is. Its certificate may be replaced while it runs; connections made later use the new one.
type identity struct {
	file string

	mu       sync.Mutex
	stored   storedIdentity
	cert     *tls.Certificate
	roots    *x509.CertPool
	modified time.Time
}

// newKey makes the key, which never leaves this host, and the request for its certificate.
func newKey(hostID string) (keyPEM, csrPEM string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: hostID}}, key)
	if err != nil {
		return "", "", fmt.Errorf("make certificate request: %w", err)
	}
	enc := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return enc("PRIVATE KEY", der), enc("CERTIFICATE REQUEST", csr), nil
}

// parse checks that the parts belong together.
func (s storedIdentity) parse() (*tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.X509KeyPair([]byte(s.Certificate), []byte(s.Key))
	if err != nil {
		return nil, nil, fmt.Errorf("read identity: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(s.Authority)) {
		return nil, nil, errors.New("read identity: no certificate of the authority")
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, nil, fmt.Errorf("read identity: %w", err)
		}
	}
	return &cert, roots, nil
}

func (s storedIdentity) save(stateDir string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	// CreateTemp makes it 0600: the key is in it.
	f, err := os.CreateTemp(stateDir, ".identity-*")
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(stateDir, identityFile))
	}
	if err != nil {
		return fmt.Errorf("save identity: %w", errors.Join(err, os.Remove(f.Name())))
	}
	d, err := os.Open(stateDir)
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	defer d.Close()
	return d.Sync()
}

// loadIdentity reads what enrolment stored.
func loadIdentity(stateDir string) (*identity, error) {
	i := &identity{file: filepath.Join(stateDir, identityFile)}
	if _, err := i.reload(); err != nil {
		return nil, err
	}
	return i, nil
}

// reload takes a changed file over: the host was enrolled again while the agent ran.
func (i *identity) reload() (changed bool, err error) {
	fi, err := os.Stat(i.file)
	if errors.Is(err, os.ErrNotExist) {
		return false, ErrNotEnrolled
	}
	if err != nil {
		return false, fmt.Errorf("read identity: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cert != nil && fi.ModTime().Equal(i.modified) {
		return false, nil
	}
	b, err := os.ReadFile(i.file)
	if err != nil {
		return false, fmt.Errorf("read identity: %w", err)
	}
	var s storedIdentity
	if err := json.Unmarshal(b, &s); err != nil {
		return false, fmt.Errorf("read identity %s: %w", i.file, err)
	}
	cert, roots, err := s.parse()
	if err != nil {
		return false, err
	}
	i.stored, i.cert, i.roots, i.modified = s, cert, roots, fi.ModTime()
	return true, nil
}

func (i *identity) get() storedIdentity {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stored
}

// renewAt is two thirds of the certificate's life.
func (i *identity) renewAt() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	life := i.cert.Leaf.NotAfter.Sub(i.cert.Leaf.NotBefore)
	return i.cert.Leaf.NotBefore.Add(life * 2 / 3)
}

func (i *identity) expires() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cert.Leaf.NotAfter
}

// renewed stores a new certificate.
func (i *identity) renewed(key string, out host.EnrollOut) error {
	s := i.get()
	s.Key, s.Certificate, s.Authority = key, out.CertificatePEM, out.AuthorityPEM
	if out.Namespace != "" {
		s.Namespace = out.Namespace
	}
	if _, _, err := s.parse(); err != nil {
		return err
	}
	if err := s.save(filepath.Dir(i.file)); err != nil {
		return err
	}
	_, err := i.reload()
	return err
}

// tlsConfig authenticates both sides: us by the certificate of the moment, the gateway by a server certificate of our
// authority. The gateway's name is not compared: behind a load balancer it has several, and the authority signs server
// certificates for gateways alone.
func (i *identity) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the chain against our own authority
		VerifyConnection: func(cs tls.ConnectionState) error {
			i.mu.Lock()
			roots := i.roots
			i.mu.Unlock()
			return verifyServer(cs.PeerCertificates, roots)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			i.mu.Lock()
			defer i.mu.Unlock()
			return i.cert, nil
		},
	}
}

// verifyServer wants a chain of a server certificate to the authority; an agent's own certificate is none.
func verifyServer(chain []*x509.Certificate, roots *x509.CertPool) error {
	if len(chain) == 0 {
		return errors.New("the gateway showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("the gateway's certificate is not signed by this host's authority: %w", err)
	}
	return nil
}

// pinnedConfig trusts nothing but the authority of a fingerprint, for the one call before there is an identity.
func pinnedConfig(fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the chain against the pinned authority
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				if fingerprintOf(c) == fingerprint {
					roots := x509.NewCertPool()
					roots.AddCert(c)
					return verifyServer(cs.PeerCertificates, roots)
				}
			}
			return errWrongAuthority
		},
	}
}

var errWrongAuthority = errors.New(
	"the gateway belongs to another authority than the token: it is not the manager that made the token",
)

func fingerprintOf(c *x509.Certificate) string {
	h := sha256.Sum256(c.Raw)
	return hex.EncodeToString(h[:])
}
