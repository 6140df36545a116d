package db

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db/gen"
)

// Lock is an object an operation holds, as kept in operation.locks.
type Lock struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Mode string `json:"mode"`
}

// Holder is the operation in the way of a lock.
type Holder struct {
	OperationID uuid.UUID `json:"operation_id"`
	Name        string    `json:"name"`
	Title       string    `json:"title"`
	Actor       string    `json:"actor"`
	State       string    `json:"state"`
	Lock        string    `json:"lock"`
}

// CheckLocks serialises with everyone else who wants the same objects until the transaction ends, and tells who
// is in the way; nil means that all can be taken.
func CheckLocks(ctx context.Context, q *gen.Queries, locks []Lock) (*Holder, error) {
	// The same order everywhere, or two admissions could wait for each other.
	locks = slices.Clone(locks)
	slices.SortFunc(locks, func(a, b Lock) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	for _, l := range locks {
		if err := q.LockKey(ctx, l.Kind+":"+l.ID); err != nil {
			return nil, fmt.Errorf("serialise on %s %s: %w", l.Kind, l.ID, err)
		}
		rows, err := q.LockHolders(ctx, l.Kind, l.ID)
		if err != nil {
			return nil, fmt.Errorf("read holders of %s %s: %w", l.Kind, l.ID, err)
		}
		for _, r := range rows {
			if l.Mode == "exclusive" || r.Mode == "exclusive" {
				return &Holder{
					OperationID: r.ID, Name: r.Name, Title: r.Title, Actor: r.Actor, State: r.State, Lock: l.Kind + " " + l.ID,
				}, nil
			}
		}
	}
	return nil, nil
}

// DrawFence draws the fencing number of an operation. Holders of shared locks alone get 0, which agents do not
// compare: two of them work side by side, and neither may shut the other out.
func DrawFence(ctx context.Context, q *gen.Queries, locks []Lock) (int64, error) {
	if !slices.ContainsFunc(locks, func(l Lock) bool { return l.Mode == "exclusive" }) {
		return 0, nil
	}
	fence, err := q.NextFence(ctx)
	if err != nil {
		return 0, fmt.Errorf("draw a fence: %w", err)
	}
	return fence, nil
}

// TakeLocks inserts the rows; CheckLocks in the same transaction has found them free.
func TakeLocks(ctx context.Context, q *gen.Queries, operation uuid.UUID, fence int64, locks []Lock) error {
	for _, l := range locks {
		if err := q.InsertLock(ctx, gen.InsertLockParams{
			Kind: l.Kind, ObjectID: l.ID, Mode: l.Mode, OperationID: operation, Fence: fence,
		}); err != nil {
			return fmt.Errorf("take %s lock on %s %s: %w", l.Mode, l.Kind, l.ID, err)
		}
	}
	return nil
}

// GrantWaiting gives free locks to the operations that wait for them, oldest first, and returns those that may start.
func GrantWaiting(ctx context.Context, q *gen.Queries) ([]uuid.UUID, error) {
	waiting, err := q.WaitingOperations(ctx)
	if err != nil {
		return nil, fmt.Errorf("list waiting operations: %w", err)
	}
	var granted []uuid.UUID
	ahead := map[string]bool{}
	for _, w := range waiting {
		var locks []Lock
		if err := json.Unmarshal(w.Locks, &locks); err != nil {
			return nil, fmt.Errorf("read locks of operation %s: %w", w.ID, err)
		}
		ok, err := grant(ctx, q, w, locks, ahead)
		if err != nil {
			return nil, err
		}
		if ok {
			granted = append(granted, w.ID)
			continue
		}
		// Who waits longer goes first: nobody behind may take what it waits for.
		for _, l := range locks {
			ahead[l.Kind+":"+l.ID] = true
		}
	}
	return granted, nil
}

func grant(ctx context.Context, q *gen.Queries, w gen.Operation, locks []Lock, ahead map[string]bool) (bool, error) {
	for _, l := range locks {
		if ahead[l.Kind+":"+l.ID] {
			return false, nil
		}
	}
	holder, err := CheckLocks(ctx, q, locks)
	if err != nil || holder != nil {
		return false, err
	}
	fence, err := DrawFence(ctx, q, locks)
	if err != nil {
		return false, err
	}
	if err := TakeLocks(ctx, q, w.ID, fence, locks); err != nil {
		return false, err
	}
	if err := q.GrantWaiting(ctx, fence, w.ID); err != nil {
		return false, fmt.Errorf("grant operation %s: %w", w.ID, err)
	}
	return true, Notify(ctx, q, Event{Kind: "operation", ID: w.ID.String()})
}
