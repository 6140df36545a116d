package db

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pgdrover/pgdrover/db/gen"
)

// EventChannel is the NOTIFY channel that all managers listen on.
const EventChannel = "pgdrover_event"

// Event says that an object changed; readers fetch it anew. It is sent by the transaction that changes the object.
type Event struct {
	// Kind is host, instance, operation, step, output, notification, schedule or audit.
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Parent is the operation of a step or output, the account of a notification.
	Parent string `json:"parent,omitempty"`
	// State is the final state of an operation that ended, empty otherwise: who waits for the end need not look before.
	State string `json:"state,omitempty"`
}

// Notify sends the event when q's transaction commits.
func Notify(ctx context.Context, q *gen.Queries, e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if err := q.NotifyEvent(ctx, string(b)); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
