package agent

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/pki"
	"github.com/stretchr/testify/require"
)

func encodeToken(t *testing.T, v host.EnrollmentToken) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestEnroll(t *testing.T) {
	t.Parallel()
	g := newFakeGateway(t)
	g.start()
	dir := filepath.Join(t.TempDir(), "new", "state")
	token := g.token()
	// A token copied from a mail has line breaks in it.
	id, err := Enroll(t.Context(), " "+token[:20]+"\n  "+token[20:]+"\n",
		EnrollOptions{StateDir: dir, Hostname: "db1", MachineID: "m1", Version: "1.2"})
	require.NoError(t, err)
	require.Equal(t, g.hostID.String(), id)
	in := g.enrolled[0]
	require.Equal(t, "one-time", in.Secret)
	require.Equal(t, "db1 m1 1.2", in.Hostname+" "+in.MachineID+" "+in.Version)

	fi, err := os.Stat(filepath.Join(dir, identityFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	ident, err := loadIdentity(dir)
	require.NoError(t, err)
	require.Equal(t, g.address, ident.get().Gateway)
	require.NotContains(t, in.CSRPEM, "PRIVATE")

	// Once more only if it is meant.
	_, err = Enroll(t.Context(), token, EnrollOptions{StateDir: dir})
	require.ErrorContains(t, err, "--force")
	require.Len(t, g.enrolled, 1)
	_, err = Enroll(t.Context(), token, EnrollOptions{StateDir: dir, Force: true})
	require.NoError(t, err)
	changed, err := ident.reload()
	require.NoError(t, err)
	require.True(t, changed, "a running agent takes it over")
}

func TestEnrollErrors(t *testing.T) {
	t.Parallel()
	g := newFakeGateway(t)
	g.start()
	dir := t.TempDir()
	enroll := func(token string) error {
		_, err := Enroll(t.Context(), token, EnrollOptions{StateDir: dir})
		return err
	}
	require.ErrorContains(t, enroll("garbage"), "copy it again")
	require.ErrorContains(t, enroll(g.token()[:50]), "copy it again")
	require.ErrorContains(t, enroll(g.token(func(x *host.EnrollmentToken) { x.ExpiresAt = time.Now().Add(-time.Minute) })),
		"expired")
	require.Zero(t, g.count(host.PathEnroll), "nothing was sent")

	g.refuse(host.PathEnroll, &GatewayError{Status: 403, Code: "token-used", Detail: "This enrolment token has been used."})
	err := enroll(g.token())
	require.ErrorContains(t, err, "has been used")
	require.ErrorContains(t, err, "token-used")
	g.refuse(host.PathEnroll, nil)

	other, err := pki.NewAuthority()
	require.NoError(t, err)
	before := g.count(host.PathEnroll)
	require.ErrorIs(t, enroll(g.token(func(x *host.EnrollmentToken) { x.Fingerprint = other.Fingerprint() })), errWrongAuthority)
	require.Equal(t, before, g.count(host.PathEnroll), "the secret was not shown to a stranger")

	require.ErrorContains(t, enroll(g.token(func(x *host.EnrollmentToken) { x.Gateway = "127.0.0.1:1" })), "127.0.0.1:1")
	_, err = os.Stat(filepath.Join(dir, identityFile))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = loadIdentity(dir)
	require.ErrorIs(t, err, ErrNotEnrolled)
}

// TestAgentCannotPoseAsGateway: a certificate of the same authority, but an agent's.
func TestAgentCannotPoseAsGateway(t *testing.T) {
	t.Parallel()
	g := newFakeGateway(t)
	key, csr, err := newKey("x")
	require.NoError(t, err)
	cert, err := g.authority.SignAgent(csr, g.hostID, time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair([]byte(pki.EncodeCertificate(cert)+g.authority.CertificatePEM()), []byte(key))
	require.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}})
	require.NoError(t, err)
	seen := make(chan struct{}, 1)
	s := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen <- struct{}{} }),
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	_, err = Enroll(t.Context(), g.token(func(x *host.EnrollmentToken) { x.Gateway = l.Addr().String() }),
		EnrollOptions{StateDir: t.TempDir()})
	require.ErrorContains(t, err, "not signed by")
	require.Empty(t, seen)
}

func TestHostThatBecomesAnotherForgetsItsReports(t *testing.T) {
	t.Parallel()
	g := newFakeGateway(t)
	g.start()
	dir := t.TempDir()
	g.enroll(dir)
	s, err := openSpool(dir, discardLog())
	require.NoError(t, err)
	require.NoError(t, s.add(host.Report{Instances: []host.Instance{}}))
	second := newFakeGateway(t)
	second.start()
	_, err = Enroll(t.Context(), second.token(), EnrollOptions{StateDir: dir})
	require.ErrorContains(t, err, "enrolled already, as "+g.hostID.String())
	_, err = Enroll(t.Context(), second.token(), EnrollOptions{StateDir: dir, Force: true})
	require.NoError(t, err)
	s, err = openSpool(dir, discardLog())
	require.NoError(t, err)
	require.Zero(t, s.length())
}

func TestDamagedIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, identityFile), []byte(`{"key_pem":"x"}`), 0o600))
	_, err := loadIdentity(dir)
	require.Error(t, err)
	g := newFakeGateway(t)
	_, err = Enroll(t.Context(), g.token(), EnrollOptions{StateDir: dir})
	require.ErrorContains(t, err, "--force")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	require.NoError(t, os.WriteFile(file, []byte("state_dir: /srv/state\ndata_directories: [/srv/pg]\nlog_level: debug\n"), 0o600))
	c, err := LoadConfig(
		file,
		[]string{
			"PGDROVER_AGENT_LOG_LEVEL=warn",
			"PGDROVER_AGENT_IGNORE_DATA_DIRECTORIES=/a, /b",
			"PGDROVER_AGENT_NO_SYSTEMD=true",
			"HOME=/x",
		},
	)
	require.NoError(t, err)
	require.Equal(t, "/srv/state", c.StateDir)
	require.Equal(t, "warn", c.LogLevel)
	require.Equal(t, []string{"/a", "/b"}, c.IgnoreDataDirectories)
	require.True(t, c.NoSystemd)

	_, err = LoadConfig(file,
		[]string{"PGDROVER_AGENT_LOG_LEVEL=loud", "PGDROVER_AGENT_GATEWAY=nowhere", "PGDROVER_AGENT_DATA_ROOT=relative"})
	for _, want := range []string{"log_level", "gateway", "data_root"} {
		require.ErrorContains(t, err, want)
	}
	_, err = LoadConfig(file, []string{"PGDROVER_AGENT_LOGLEVEL=warn", "PGDROVER_AGENT_NO_SYSTEMD=perhaps"})
	require.ErrorContains(t, err, "PGDROVER_AGENT_LOGLEVEL")
	require.ErrorContains(t, err, "true or false")
	require.NoError(t, os.WriteFile(file, []byte("stat_dir: /x\n"), 0o600))
	_, err = LoadConfig(file, nil)
	require.ErrorContains(t, err, "stat_dir")
	_, err = LoadConfig(filepath.Join(dir, "none.yaml"), nil)
	require.Error(t, err)
}

// TestGatewayThatIsNone: an answer of something else on the port is no success.
func TestGatewayThatIsNone(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH\r\n"))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	g := newFakeGateway(t)
	_, err = Enroll(t.Context(), g.token(func(x *host.EnrollmentToken) { x.Gateway = l.Addr().String() }),
		EnrollOptions{StateDir: t.TempDir()})
	require.ErrorContains(t, err, "reach the gateway")
}
