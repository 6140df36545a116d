package gateway

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/secret"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func (f *fixture) tryEnroll(t *testing.T, token host.EnrollmentToken, change func(*host.EnrollIn)) (int, string) {
	t.Helper()
	_, csr := newCSR(t)
	in := host.EnrollIn{Secret: token.Secret, HostID: token.HostID, CSRPEM: csr, Hostname: "h", MachineID: "m", Version: "1"}
	if change != nil {
		change(&in)
	}
	return post(t, f.client(nil), f.addr, host.PathEnroll, in, nil)
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	row, err := f.db.GetHost(t.Context(), a.id)
	require.NoError(t, err)
	require.Equal(t, "enrolled", row.State)
	require.Equal(t, "machine-of-a", row.MachineID)
	require.Equal(t, "1.0", row.AgentVersion)
	require.Equal(t, 1, f.auditCount(t, "action = 'host.enroll' AND result = 'done' AND target_id = $1", a.id.String()))
}

func TestTokensRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	token := f.invite(t, "a", time.Hour)
	expect := func(wantStatus int, wantCode string, tok host.EnrollmentToken, change func(*host.EnrollIn)) {
		t.Helper()
		status, code := f.tryEnroll(t, tok, change)
		require.Equal(t, wantCode, code)
		require.Equal(t, wantStatus, status)
	}
	expect(http.StatusForbidden, "token-unknown", token, func(in *host.EnrollIn) { in.Secret = "guess" })
	expect(http.StatusForbidden, "token-unknown", token, func(in *host.EnrollIn) { in.HostID = uuid.NewString() })
	expect(http.StatusUnprocessableEntity, "csr-invalid", token, func(in *host.EnrollIn) { in.CSRPEM = "nonsense" })
	expect(http.StatusUnprocessableEntity, "invalid-input", token, func(in *host.EnrollIn) { in.MachineID = "a\x00b" })
	expect(http.StatusForbidden, "token-expired", f.invite(t, "b", -time.Minute), nil)
	status, _ := f.tryEnroll(t, token, nil)
	require.Equal(t, http.StatusOK, status, "a bad request does not use the token up")
	expect(http.StatusForbidden, "token-used", token, nil)

	revoked := f.invite(t, "c", time.Hour)
	_, err := f.db.RevokeHost(t.Context(), uuid.MustParse(revoked.HostID))
	require.NoError(t, err)
	expect(http.StatusForbidden, "host-revoked", revoked, nil)
}

func TestTokenIsUsedOnceByManyAtATime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	token := f.invite(t, "a", time.Hour)
	var mu sync.Mutex
	got := map[int]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			status, _ := f.tryEnroll(t, token, nil)
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusForbidden: 7}, got)
}

func TestEnrollingAnewShutsTheOldCertificateOut(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake)
	old := f.enroll(t, "a")
	held := pollAsync(t.Context(), old.temporal(t), old.queue(), "s")
	eventually(t, 5*time.Second, "the poll is held", func() bool { return fake.polls(old.queue()) == 1 })
	again := f.enrollWith(t, "a", f.inviteAgain(t, old.id, time.Hour), "m2")
	require.Equal(t, codes.Unauthenticated, codeOf(await(t, held).err))
	_, err := old.temporal(t).GetSystemInfo(t.Context(), &systemInfoReq{})
	require.Equal(t, codes.Unauthenticated, codeOf(err))
	_, err = again.temporal(t).GetSystemInfo(t.Context(), &systemInfoReq{})
	require.NoError(t, err)
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	key, csr := newCSR(t)
	var out host.EnrollOut
	status, code := post(t, a.http, f.addr, host.PathRenew, host.RenewIn{CSRPEM: csr}, &out)
	require.Equal(t, http.StatusOK, status, code)
	require.Equal(t, a.id.String(), out.HostID)
	renewed := f.agent(t, "a", key, out)
	require.NotEqual(t, serialOf(t, a), serialOf(t, renewed))
	for _, who := range []*agent{a, renewed} {
		_, err := who.temporal(t).GetSystemInfo(t.Context(), &systemInfoReq{})
		require.NoError(t, err)
	}
	status, code = post(t, a.http, f.addr, host.PathRenew, host.RenewIn{CSRPEM: "x"}, nil)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Equal(t, "csr-invalid", code)
}

func TestGuessingTokensIsSlowedDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	token := f.invite(t, "a", time.Hour)
	token.Secret = "guess"
	for range attemptBurst {
		status, _ := f.tryEnroll(t, token, nil)
		require.Equal(t, http.StatusForbidden, status)
	}
	status, code := f.tryEnroll(t, token, nil)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "too-many-attempts", code)
}

func TestUnknownPathsAndBodies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	status, code := post(t, a.http, f.addr, "/agent/v1/nothing", struct{}{}, nil)
	require.Equal(t, http.StatusNotFound, status)
	require.Equal(t, "not-found", code)
	status, code = postRaw(t, a.http, f.addr, host.PathSecret, []byte("{"), nil)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Equal(t, "invalid-input", code)
	status, code = postRaw(t, a.http, f.addr, host.PathSecret, make([]byte, maxSmallBody+1), nil)
	require.Contains(t, []int{http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge}, status)
	require.NotEmpty(t, code)
	big := append([]byte(`{"secret":"`), make([]byte, 0)...)
	for range maxSmallBody {
		big = append(big, 'x')
	}
	status, code = postRaw(t, a.http, f.addr, host.PathSecret, append(big, '"', '}'), nil)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	require.Equal(t, "too-large", code)
}

func TestManagersThatStartTogetherShareTheirKeys(t *testing.T) {
	t.Parallel()
	f := newRepository(t)
	_, err := f.db.Pool.Exec(t.Context(), "DELETE FROM setting")
	require.NoError(t, err)
	var mu sync.Mutex
	prints := map[string]int{}
	hmacs := map[string]int{}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			k, err := LoadKeys(t.Context(), f.db, f.sealer)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				prints[k.Authority.Fingerprint()]++
				hmacs[string(k.HMACKey)]++
			}
		})
	}
	wg.Wait()
	require.Len(t, prints, 1)
	require.Len(t, hmacs, 1)
	for _, n := range prints {
		require.Equal(t, 6, n)
	}
}

func TestWrongMasterKeyIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	f := newRepository(t)
	key, err := secret.NewKey()
	require.NoError(t, err)
	wrong, err := secret.New(1, map[int][]byte{1: key})
	require.NoError(t, err)
	_, err = LoadKeys(t.Context(), f.db, wrong)
	require.ErrorIs(t, err, ErrMasterKey)

	// A new key beside the old one is no wrong key.
	old, err := f.db.GetSetting(t.Context(), settingCheck)
	require.NoError(t, err)
	require.NotEmpty(t, old)
}
