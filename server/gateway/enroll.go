package gateway

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/internal/pki"
	"golang.org/x/time/rate"
)

var (
	errTokenUnknown = errs.New(errs.Denied, "token-unknown", "This enrolment token is not known. Make a new one for the host.")
	errTokenUsed    = errs.New(errs.Denied, "token-used", "This enrolment token has been used. Make a new one for the host.")
	errTokenExpired = errs.New(errs.Denied, "token-expired", "This enrolment token has expired. Make a new one for the host.")
	errHostRevoked  = errs.New(errs.Denied, "host-revoked", "The host is revoked. Make a new token for it to take that back.")
	errTooMany      = errs.New(errs.TooMany, "too-many-attempts", "Too many failed enrolments from this address. Wait a minute.")
)

// enroll makes an agent out of a one-time token and a certificate request.
func (g *Gateway) enroll(w http.ResponseWriter, r *http.Request) error {
	from := hostOf(r.RemoteAddr)
	if !g.attempts.allowed(from) {
		return errTooMany
	}
	var in host.EnrollIn
	err := readJSON(w, r, maxSmallBody, &in)
	if err == nil {
		var out *host.EnrollOut
		if out, err = g.enrollHost(r.Context(), in, from); err == nil {
			writeJSON(w, out)
			return nil
		}
	}
	if e := asError(err); e.Kind == errs.Denied || e.Kind == errs.Invalid {
		g.attempts.failed(from)
		g.refuse(refusal{caller: caller{remote: from}, what: "enroll", reason: e.Code})
	}
	return err
}

func (g *Gateway) enrollHost(ctx context.Context, in host.EnrollIn, from string) (*host.EnrollOut, error) {
	if err := checkEnroll(in); err != nil {
		return nil, err
	}
	var cert *x509.Certificate
	err := g.cfg.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		token, err := validToken(ctx, q, in)
		if err != nil {
			return err
		}
		if cert, err = g.cfg.Authority.SignAgent(in.CSRPEM, token.HostID, pki.AgentLife); err != nil {
			return badRequest(err)
		}
		return enrolled(ctx, q, token, in, cert, from)
	})
	if err != nil {
		return nil, err
	}
	id, err := pki.HostIDFrom(cert)
	if err != nil {
		return nil, err
	}
	g.Forget(id.String())
	g.log.Info("host enrolled", "host", id, "hostname", in.Hostname, "remote", from)
	return g.enrollOut(id, cert), nil
}

// validToken locks the token: of two that come at once, one gets it.
func validToken(ctx context.Context, q *gen.Queries, in host.EnrollIn) (gen.GetEnrollmentTokenRow, error) {
	token, err := q.GetEnrollmentToken(ctx, HashTokenSecret(in.Secret))
	switch {
	case db.IsNotFound(err):
		return token, errTokenUnknown
	case err != nil:
		return token, err
	case in.HostID != "" && in.HostID != token.HostID.String():
		return token, errTokenUnknown
	case token.HostState == "revoked":
		return token, errHostRevoked
	case token.UsedAt != nil:
		return token, errTokenUsed
	case !time.Now().Before(token.ExpiresAt):
		return token, errTokenExpired
	}
	return token, nil
}

func enrolled(
	ctx context.Context, q *gen.Queries, token gen.GetEnrollmentTokenRow, in host.EnrollIn, cert *x509.Certificate, from string,
) error {
	if n, err := q.UseEnrollmentToken(ctx, token.ID); err != nil || n == 0 {
		return errors.Join(err, when(err == nil, errTokenUsed))
	}
	if n, err := q.EnrollHost(ctx, in.MachineID, in.Version, token.HostID); err != nil || n == 0 {
		return errors.Join(err, when(err == nil, errHostRevoked))
	}
	// Whoever was enrolled as this host before is so no longer.
	if err := q.RevokeCertificates(ctx, token.HostID); err != nil {
		return err
	}
	if err := insertCertificate(ctx, q, token.HostID, cert); err != nil {
		return err
	}
	detail, err := json.Marshal(map[string]string{
		"hostname": in.Hostname, "version": in.Version, "serial": pki.SerialText(cert.SerialNumber),
	})
	if err != nil {
		return err
	}
	if err := q.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: "agent:" + token.HostName, RemoteAddress: from, Action: "host.enroll", TargetKind: "host",
		TargetID: token.HostID.String(), TargetName: token.HostName, Result: "done", Detail: detail,
	}); err != nil {
		return err
	}
	return db.Notify(ctx, q, db.Event{Kind: "host", ID: token.HostID.String()})
}

func when(yes bool, err error) error {
	if yes {
		return err
	}
	return nil
}

func insertCertificate(ctx context.Context, q *gen.Queries, id uuid.UUID, cert *x509.Certificate) error {
	return q.InsertCertificate(ctx, gen.InsertCertificateParams{
		Serial: pki.SerialText(cert.SerialNumber), HostID: id, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter,
	})
}

// renew makes a certificate for a new key, authorised by the old one. The old one stays good: were the answer lost,
// the agent would be shut out.
func (g *Gateway) renew(w http.ResponseWriter, r *http.Request, c caller) error {
	var in host.RenewIn
	if err := readJSON(w, r, maxSmallBody, &in); err != nil {
		return err
	}
	cert, err := g.cfg.Authority.SignAgent(in.CSRPEM, c.hostID, pki.AgentLife)
	if err != nil {
		return badRequest(err)
	}
	if err := insertCertificate(r.Context(), g.cfg.DB.Queries, c.hostID, cert); err != nil {
		return err
	}
	g.log.Info("certificate renewed", "host", c.hostID, "until", cert.NotAfter)
	writeJSON(w, g.enrollOut(c.hostID, cert))
	return nil
}

func (g *Gateway) enrollOut(id uuid.UUID, cert *x509.Certificate) *host.EnrollOut {
	return &host.EnrollOut{
		HostID: id.String(), CertificatePEM: pki.EncodeCertificate(cert), AuthorityPEM: g.cfg.Authority.CertificatePEM(),
		Namespace: g.cfg.Namespace,
	}
}

func badRequest(err error) error {
	if errors.Is(err, pki.ErrBadRequest) {
		return errs.New(errs.Invalid, "csr-invalid", "The certificate request cannot be signed: %v.", err).Because(err)
	}
	return err
}

func checkEnroll(in host.EnrollIn) error {
	e := errs.New(errs.Invalid, "invalid-input", "The enrolment request is not valid.")
	for field, value := range map[string]string{
		"hostname": in.Hostname, "machine_id": in.MachineID, "version": in.Version, "host_id": in.HostID, "secret": in.Secret,
	} {
		if m := textFault(value, maxNameLength); m != "" {
			_ = e.At("body."+field, m)
		}
	}
	if in.Secret == "" {
		_ = e.At("body.secret", "is required")
	}
	if len(e.Fields) > 0 {
		return e
	}
	return nil
}

// attempts slows down who guesses tokens. They are too long to guess; this keeps the log and the repository quiet.
type attempts struct {
	mu     sync.Mutex
	byAddr map[string]*rate.Limiter
}

const (
	attemptBurst = 20
	maxAddresses = 10000
)

func newAttempts() *attempts { return &attempts{byAddr: map[string]*rate.Limiter{}} }

func (a *attempts) allowed(addr string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.byAddr[addr]
	return l == nil || l.Tokens() >= 1
}

func (a *attempts) failed(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.byAddr[addr]
	if l == nil {
		if len(a.byAddr) >= maxAddresses {
			clear(a.byAddr)
		}
		l = rate.NewLimiter(rate.Every(6*time.Second), attemptBurst)
		a.byAddr[addr] = l
	}
	l.Allow()
}
