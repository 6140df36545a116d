// Package admit lets operations in: one repository transaction checks and records the request with its locks and
// audit, then the workflow is started. What is accepted is never lost and never runs twice: the workflow's id is
// the operation's, and the reconciler starts what a crash left behind.
//
// Callers: server/api for people and programs, the scheduler, and the reconciler.
package admit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/client"
)

// Sealer seals secrets for the repository; aad binds them to their id.
type Sealer interface {
	Seal(plain, aad []byte) (version int, sealed []byte, err error)
}

// Service admits operations.
type Service struct {
	DB       *db.DB
	Temporal client.Client
	Sealer   Sealer
	Log      *slog.Logger
}

// Actor is who asks.
type Actor struct {
	AccountID     *uuid.UUID
	Login         string
	RemoteAddress string
	// Allowed tells whether the actor has a permission.
	Allowed func(permission string) bool
}

// Request is one wish for an operation.
type Request struct {
	Name           string
	Input          json.RawMessage
	Actor          Actor
	IdempotencyKey string
	DryRun         bool
	// WaitForLocks queues the operation instead of refusing it when another one holds its objects.
	WaitForLocks bool
	ScheduleID   *uuid.UUID
	RetryOf      *uuid.UUID
}

// Admit records the operation and starts its workflow. It returns the earlier operation where the idempotency key
// was used before for the same request. Errors are *errs.Error or the repository's.
func (s *Service) Admit(ctx context.Context, r Request) (gen.Operation, error) {
	o := workflows.ByName(r.Name)
	if o == nil {
		return gen.Operation{}, errs.New(errs.NotFound, "unknown-operation", "There is no operation %q.", r.Name)
	}
	a := admission{s: s, r: r, o: o, info: o.Info()}
	if !r.Actor.Allowed(a.info.Permission) {
		return gen.Operation{}, s.refuse(ctx, r, a.info)
	}
	in, fields, err := o.Prepare(r.Input)
	if err != nil {
		return gen.Operation{}, fmt.Errorf("prepare input of %s: %w", r.Name, err)
	}
	if len(fields) > 0 {
		return gen.Operation{}, invalid(fields)
	}
	a.in = in
	var row gen.Operation
	if err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		row, err = a.admit(ctx, q)
		return err
	}); err != nil {
		return gen.Operation{}, err
	}
	if row.State == string(op.StateAccepted) && !row.WorkflowStarted {
		s.StartOrLeave(ctx, row)
	}
	return row, nil
}

func invalid(fields []op.FieldError) error {
	e := errs.New(errs.Invalid, "invalid-input", "The input is not valid: %s.", fields[0].Error())
	for _, f := range fields {
		e.At("body."+f.Field, f.Message)
	}
	return e
}

func (s *Service) refuse(ctx context.Context, r Request, info op.Info) error {
	if err := s.DB.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: r.Actor.Login, AccountID: r.Actor.AccountID, RemoteAddress: r.Actor.RemoteAddress, Action: info.Name,
		TargetKind: string(info.Target), Result: "refused", Detail: json.RawMessage(`{}`),
	}); err != nil {
		return fmt.Errorf("audit a refused %s: %w", info.Name, err)
	}
	return errs.New(errs.Denied, "permission-denied", "You need the permission %s to do this.", info.Permission).
		With("permission", info.Permission)
}

// admission is one run of the admission transaction; admit may run more than once when it loses a race.
type admission struct {
	s    *Service
	r    Request
	o    op.Operation
	info op.Info
	in   any
}

func (a *admission) admit(ctx context.Context, q *gen.Queries) (gen.Operation, error) {
	p := gen.InsertOperationParams{
		ID: uuid.Must(uuid.NewV7()), Name: a.info.Name, Title: a.info.Title, State: string(op.StateAccepted), Risk: string(a.info.Risk),
		TargetKind: string(a.info.Target), DryRun: a.r.DryRun, Actor: a.r.Actor.Login, AccountID: a.r.Actor.AccountID,
		ScheduleID: a.r.ScheduleID, RetryOf: a.r.RetryOf, RequestHash: a.requestHash(),
	}
	if a.r.IdempotencyKey != "" {
		if earlier, err := a.earlier(ctx, q); err != nil || earlier != nil {
			return deref(earlier), err
		}
		p.IdempotencyKey = &a.r.IdempotencyKey
	}
	if err := a.target(ctx, q, &p); err != nil {
		return gen.Operation{}, err
	}
	if err := a.confirm(p); err != nil {
		return gen.Operation{}, err
	}
	locks := []db.Lock{}
	if !a.r.DryRun {
		for _, l := range a.o.Locks(a.in) {
			locks = append(locks, db.Lock{Kind: l.Kind, ID: l.ID, Mode: string(l.Mode)})
		}
	}
	if err := a.takeOrWait(ctx, q, &p, locks); err != nil {
		return gen.Operation{}, err
	}
	secrets, err := a.sealSecrets(ctx, q)
	if err != nil {
		return gen.Operation{}, err
	}
	if p.Input, err = json.Marshal(a.in); err != nil {
		return gen.Operation{}, fmt.Errorf("write input of %s: %w", a.info.Name, err)
	}
	if len(p.Input) > maxInput {
		return gen.Operation{}, errs.New(errs.Invalid, "input-too-large", "The input is larger than %d KiB.", maxInput>>10)
	}
	if a.info.Deadline > 0 {
		at := time.Now().Add(a.info.Deadline)
		p.DeadlineAt = &at
	}
	row, err := q.InsertOperation(ctx, p)
	if err != nil {
		return row, fmt.Errorf("record operation: %w", err)
	}
	if row.State == string(op.StateAccepted) {
		if err := db.TakeLocks(ctx, q, row.ID, row.Fence, locks); err != nil {
			return row, err
		}
	}
	return row, a.account(ctx, q, row, secrets)
}

// maxInput keeps payloads well under what Temporal takes.
const maxInput = 200 << 10

func deref(o *gen.Operation) gen.Operation {
	if o == nil {
		return gen.Operation{}
	}
	return *o
}

// account writes what belongs to the new row: grants, audit, event.
func (a *admission) account(ctx context.Context, q *gen.Queries, row gen.Operation, secrets []uuid.UUID) error {
	if row.HostID != nil {
		for _, id := range secrets {
			if err := q.InsertSecretGrant(ctx, id, row.ID, *row.HostID); err != nil {
				return fmt.Errorf("grant secret: %w", err)
			}
		}
	}
	target := ""
	if row.TargetID != nil {
		target = row.TargetID.String()
	}
	detail, err := json.Marshal(map[string]any{"dry_run": row.DryRun, "input": row.Input, "schedule": row.ScheduleID})
	if err != nil {
		return fmt.Errorf("write audit detail: %w", err)
	}
	if err := q.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: row.Actor, AccountID: row.AccountID, RemoteAddress: a.r.Actor.RemoteAddress, Action: row.Name,
		TargetKind: row.TargetKind, TargetID: target, TargetName: row.TargetName, Result: "accepted",
		OperationID: &row.ID, Detail: detail,
	}); err != nil {
		return fmt.Errorf("audit operation: %w", err)
	}
	return db.Notify(ctx, q, db.Event{Kind: "operation", ID: row.ID.String()})
}

func (a *admission) requestHash() []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%v\n", a.info.Name, a.r.DryRun)
	h.Write(canonical(a.r.Input))
	return h.Sum(nil)
}

func canonical(raw json.RawMessage) []byte {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	b, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return b
}

func (a *admission) earlier(ctx context.Context, q *gen.Queries) (*gen.Operation, error) {
	key := a.r.IdempotencyKey
	owner := "schedule"
	if a.r.Actor.AccountID != nil {
		owner = a.r.Actor.AccountID.String()
	}
	// Two requests with one key at once: the second waits here and then finds the first.
	if err := q.LockKey(ctx, "idempotency:"+owner+":"+key); err != nil {
		return nil, fmt.Errorf("serialise on idempotency key: %w", err)
	}
	row, err := q.GetOperationByKey(ctx, a.r.Actor.AccountID, &key)
	if db.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	}
	if !slices.Equal(row.RequestHash, a.requestHash()) {
		return nil, errs.New(errs.Conflict, "idempotency-key-reused",
			"This Idempotency-Key was used for another request (operation %s).", row.ID).With("operation_id", row.ID)
	}
	return &row, nil
}

func (a *admission) takeOrWait(ctx context.Context, q *gen.Queries, p *gen.InsertOperationParams, locks []db.Lock) error {
	raw, err := json.Marshal(locks)
	if err != nil {
		return fmt.Errorf("write locks: %w", err)
	}
	p.Locks = raw
	holder, err := db.CheckLocks(ctx, q, locks)
	if err != nil {
		return err
	}
	if holder != nil {
		if !a.r.WaitForLocks {
			return errs.New(errs.Conflict, "locked", "%s by %s (%s) is at work on %s. Wait for it, cancel it, or send on_conflict=wait.",
				holder.Title, holder.Actor, holder.State, holder.Lock).With("holder", holder)
		}
		p.State, p.WaitingFor = string(op.StateWaiting), "lock"
		return nil
	}
	p.Fence, err = db.DrawFence(ctx, q, locks)
	return err
}

func (a *admission) sealSecrets(ctx context.Context, q *gen.Queries) ([]uuid.UUID, error) {
	// A lost race runs the transaction again on the same input: references made before were rolled back.
	in, fields, err := a.o.Prepare(a.r.Input)
	if err != nil || len(fields) > 0 {
		return nil, fmt.Errorf("prepare input of %s again: %w", a.info.Name, err)
	}
	a.in = in
	var ids []uuid.UUID
	for name, sec := range op.Secrets(a.in) {
		if ref, ok := sec.Reference(); ok {
			// A reference from outside would let a person use a secret they were never shown; only our own requests carry them.
			id, err := uuid.Parse(ref)
			if err != nil || (a.r.ScheduleID == nil && a.r.RetryOf == nil) {
				return nil, errs.New(errs.Invalid, "invalid-input", "The value of %s must not begin with \"secret:\".", name).
					At("body."+name, "must not begin with \"secret:\"")
			}
			ids = append(ids, id)
			continue
		}
		id, err := SealSecret(ctx, q, a.s.Sealer, "operation", string(*sec))
		if err != nil {
			return nil, err
		}
		*sec = op.SecretReference(id.String())
		ids = append(ids, id)
	}
	return ids, nil
}

// SealSecret keeps a value sealed and returns its id.
func SealSecret(ctx context.Context, q *gen.Queries, sealer Sealer, purpose, value string) (uuid.UUID, error) {
	id := uuid.Must(uuid.NewV7())
	version, sealed, err := sealer.Seal([]byte(value), []byte(id.String()))
	if err != nil {
		return id, fmt.Errorf("seal a secret: %w", err)
	}
	if err := q.InsertSecret(ctx, gen.InsertSecretParams{
		ID: id, Purpose: purpose, KeyVersion: int32(version),
		Sealed: sealed,
	}); err != nil {
		return id, fmt.Errorf("keep a secret: %w", err)
	}
	return id, nil
}
