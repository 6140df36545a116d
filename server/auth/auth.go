// Package auth signs people in and says what they may do: local accounts with argon2id, sessions with short access
// tokens and rotating refresh tokens, a limit on failures kept in the repository so that all managers agree.
// Tokens are random; only their SHA-256 is stored.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
)

// Lifetimes of tokens, and the limits on failed sign-ins within 15 minutes.
const (
	accessLife      = 15 * time.Minute
	sessionLife     = 7 * 24 * time.Hour
	maxLoginFails   = 10
	maxAddressFails = 50
)

// hashing cost: 64 MiB, three passes; RFC 9106's second recommended choice.
var params = &argon2id.Params{Memory: 64 * 1024, Iterations: 3, Parallelism: 2, SaltLength: 16, KeyLength: 32}

// Service signs in and identifies.
type Service struct {
	DB *db.DB
	// decoy is compared with where there is no such account, so that both cases take the same time.
	decoy string
	// slots bound the memory that hashing may use at one time.
	slots chan struct{}
}

// New makes the service.
func New(d *db.DB) (*Service, error) {
	decoy, err := argon2id.CreateHash(rand.Text(), params)
	if err != nil {
		return nil, fmt.Errorf("hash a decoy: %w", err)
	}
	return &Service{DB: d, decoy: decoy, slots: make(chan struct{}, 4)}, nil
}

// Tokens are what a sign-in or refresh gives.
type Tokens struct {
	SessionID       uuid.UUID
	Access, Refresh string
	AccessExpiresAt time.Time
	ExpiresAt       time.Time
}

// Identity is the person behind a request.
type Identity struct {
	SessionID   uuid.UUID
	AccountID   uuid.UUID
	Login       string
	DisplayName string
	Role        string
}

func errWrongPassword() error {
	return errs.New(errs.Unauthorized, "wrong-credentials", "Login or password is wrong.")
}

// SignIn checks a password and opens a session. Every attempt is audited.
func (s *Service) SignIn(ctx context.Context, login, password, remote, agent string) (Tokens, Identity, error) {
	login = strings.ToLower(strings.TrimSpace(login))
	keys := []string{"login:" + login, "address:" + addressKey(remote)}
	for i, limit := range []int64{maxLoginFails, maxAddressFails} {
		n, err := s.DB.CountLoginFailures(ctx, keys[i])
		if err != nil {
			return Tokens{}, Identity{}, fmt.Errorf("count failed sign-ins: %w", err)
		}
		if n >= limit {
			e := errs.New(errs.TooMany, "too-many-failures", "Too many failed sign-ins. Try again in 15 minutes.")
			e.RetryAfterSeconds = 900
			return Tokens{}, Identity{}, e
		}
	}
	a, err := s.DB.GetAccountByLogin(ctx, login)
	if err != nil && !db.IsNotFound(err) {
		return Tokens{}, Identity{}, fmt.Errorf("look up account: %w", err)
	}
	known := err == nil && !a.Disabled
	hash := s.decoy
	if known {
		hash = a.PasswordHash
	}
	match, err := s.compare(ctx, password, hash)
	if err != nil {
		return Tokens{}, Identity{}, err
	}
	if !known || !match {
		return Tokens{}, Identity{}, s.failed(ctx, login, remote, keys)
	}
	return s.open(ctx, a, remote, agent)
}

func (s *Service) compare(ctx context.Context, password, hash string) (bool, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return match, nil
}

func (s *Service) failed(ctx context.Context, login, remote string, keys []string) error {
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		for _, k := range keys {
			if err := q.InsertLoginFailure(ctx, k); err != nil {
				return err
			}
		}
		return audit(ctx, q, clip(login, 100), nil, remote, "session-create", "refused")
	})
	if err != nil {
		return fmt.Errorf("record a failed sign-in: %w", err)
	}
	return errWrongPassword()
}

func (s *Service) open(ctx context.Context, a gen.Account, remote, agent string) (Tokens, Identity, error) {
	t := newTokens()
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if err := q.DeleteLoginFailures(ctx, "login:"+a.Login); err != nil {
			return err
		}
		if _, err := q.InsertSession(ctx, gen.InsertSessionParams{
			ID: t.SessionID, AccountID: a.ID, AccessHash: digest(t.Access), RefreshHash: digest(t.Refresh),
			AccessExpiresAt: t.AccessExpiresAt, ExpiresAt: t.ExpiresAt, RemoteAddress: remote, UserAgent: clip(agent, 300),
		}); err != nil {
			return err
		}
		return audit(ctx, q, a.Login, &a.ID, remote, "session-create", "done")
	})
	if err != nil {
		return t, Identity{}, fmt.Errorf("open a session: %w", err)
	}
	return t, Identity{SessionID: t.SessionID, AccountID: a.ID, Login: a.Login, DisplayName: a.DisplayName, Role: a.Role}, nil
}

func newTokens() Tokens {
	now := time.Now()
	return Tokens{
		SessionID: uuid.Must(uuid.NewV7()), Access: token(), Refresh: token(),
		AccessExpiresAt: now.Add(accessLife), ExpiresAt: now.Add(sessionLife),
	}
}

// Refresh gives new tokens for a refresh token. One that was used before ends the session: it was stolen.
func (s *Service) Refresh(ctx context.Context, refresh, remote string) (Tokens, error) {
	t := newTokens()
	reused := false
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		row, err := q.SessionByRefresh(ctx, digest(refresh))
		if db.IsNotFound(err) {
			return errs.New(errs.Unauthorized, "session-ended", "The session has ended. Sign in again.")
		}
		if err != nil {
			return fmt.Errorf("look up session: %w", err)
		}
		t.SessionID, t.ExpiresAt = row.ID, row.ExpiresAt
		if string(row.RefreshHash) != string(digest(refresh)) {
			// Two tabs may refresh at once: the token just replaced is forgiven for a moment.
			if time.Since(row.UsedAt) > 20*time.Second {
				reused = true
				if _, err := q.DeleteSession(ctx, row.ID); err != nil {
					return err
				}
				return audit(ctx, q, row.AccountID.String(), &row.AccountID, remote, "session-token-reuse", "refused")
			}
		}
		return q.RotateSession(ctx, gen.RotateSessionParams{
			ID: row.ID, AccessHash: digest(t.Access), RefreshHash: digest(t.Refresh), AccessExpiresAt: t.AccessExpiresAt,
		})
	})
	if err == nil && reused {
		err = errs.New(errs.Unauthorized, "session-ended", "The session was ended because an old token of it was used. Sign in again.")
	}
	return t, err
}

// SignOut ends a session.
func (s *Service) SignOut(ctx context.Context, id Identity, remote string) error {
	return s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if _, err := q.DeleteSession(ctx, id.SessionID); err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		return audit(ctx, q, id.Login, &id.AccountID, remote, "session-delete", "done")
	})
}

// Identify finds the person of an access token.
func (s *Service) Identify(ctx context.Context, access string) (Identity, error) {
	row, err := s.DB.SessionByAccess(ctx, digest(access))
	if db.IsNotFound(err) {
		return Identity{}, errs.New(errs.Unauthorized, "not-signed-in", "Sign in first, or refresh your access token.")
	}
	if err != nil {
		return Identity{}, fmt.Errorf("look up session: %w", err)
	}
	return Identity{SessionID: row.SessionID, AccountID: row.ID, Login: row.Login, DisplayName: row.DisplayName, Role: row.Role}, nil
}

// FirstAdministrator makes the first account where there is none. It tells whether it did.
func (s *Service) FirstAdministrator(ctx context.Context, login, password string) (bool, error) {
	hash, err := argon2id.CreateHash(password, params)
	if err != nil {
		return false, fmt.Errorf("hash password: %w", err)
	}
	made := false
	err = s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		made = false
		if err := q.LockKey(ctx, "first-administrator"); err != nil {
			return err
		}
		n, err := q.CountAccounts(ctx)
		if err != nil || n > 0 {
			return err
		}
		id := uuid.Must(uuid.NewV7())
		if _, err := q.InsertAccount(ctx, gen.InsertAccountParams{
			ID: id, Login: login, DisplayName: "Administrator", PasswordHash: hash, Role: RoleAdministrator,
		}); err != nil {
			return err
		}
		made = true
		return audit(ctx, q, "pgdrover", nil, "", "account-create", "done")
	})
	if err != nil {
		return false, fmt.Errorf("make the first administrator: %w", err)
	}
	return made, nil
}

func audit(ctx context.Context, q *gen.Queries, actor string, account *uuid.UUID, remote, action, result string) error {
	return q.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: actor, AccountID: account, RemoteAddress: remote, Action: action, TargetKind: "session", Result: result,
		Detail: json.RawMessage(`{}`),
	})
}

func token() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

func digest(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

func addressKey(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	return ap.Addr().String()
}

func clip(s string, n int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}
