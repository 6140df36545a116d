package admit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// target resolves the object the operation works on and checks that its host can do the work.
func (a *admission) target(ctx context.Context, q *gen.Queries, p *gen.InsertOperationParams) error {
	if a.info.Creates != "" {
		id := uuid.Must(uuid.NewV7())
		p.ObjectID = &id
	}
	raw := a.o.TargetID(a.in)
	switch a.info.Target {
	case op.TargetNone:
		return nil
	case op.TargetHost:
		id, err := parseID("host_id", raw)
		if err != nil {
			return err
		}
		return a.onHost(ctx, q, p, id, true)
	case op.TargetInstance:
		id, err := parseID("instance_id", raw)
		if err != nil {
			return err
		}
		i, err := q.GetInstance(ctx, id)
		if db.IsNotFound(err) {
			return errs.New(errs.NotFound, "not-found", "There is no instance %s.", raw).At("body.instance_id", "unknown instance")
		}
		if err != nil {
			return fmt.Errorf("look up instance: %w", err)
		}
		p.TargetID, p.TargetName, p.ObjectID = &i.ID, i.Name, &i.ID
		if err := a.onHost(ctx, q, p, i.HostID, false); err != nil {
			return err
		}
		return a.checkManaged(i)
	}
	return fmt.Errorf("operation %s has the unknown target kind %s", a.info.Name, a.info.Target)
}

// checkManaged refuses what is not ours to touch before anything is recorded.
func (a *admission) checkManaged(i gen.Instance) error {
	if i.Management != "managed" && !a.info.Unmanaged {
		return errs.New(errs.Conflict, "instance-not-managed", "Instance %s was discovered but not adopted. Adopt it first.", i.Name)
	}
	if i.Conflict != "" {
		return errs.New(errs.Conflict, "instance-held", "Instance %s is held by the agent of host %s.", i.Name, i.Conflict)
	}
	return nil
}

func parseID(field, raw string) (uuid.UUID, error) {
	id, err := uuid.Parse(raw)
	if err != nil {
		return id, errs.New(errs.Invalid, "invalid-input", "%s is not a UUID.", field).At("body."+field, "must be a UUID")
	}
	return id, nil
}

func (a *admission) onHost(ctx context.Context, q *gen.Queries, p *gen.InsertOperationParams, id uuid.UUID, isTarget bool) error {
	h, err := q.GetHost(ctx, id)
	if db.IsNotFound(err) {
		return errs.New(errs.NotFound, "not-found", "There is no host %s.", id).At("body.host_id", "unknown host")
	}
	if err != nil {
		return fmt.Errorf("look up host: %w", err)
	}
	p.HostID = &h.ID
	if isTarget {
		p.TargetID, p.TargetName = &h.ID, h.Name
		if p.ObjectID == nil {
			p.ObjectID = &h.ID
		}
	}
	if h.State != "enrolled" {
		return errs.New(errs.Conflict, "host-not-enrolled", "Host %s is %s: no agent of it may work. Enrol its agent first.", h.Name,
			h.State)
	}
	for _, need := range a.info.Needs {
		if !slices.Contains(h.Capabilities, need) {
			return errs.New(errs.Conflict, "agent-too-old", "The agent of host %s (%s) lacks the verb %s. Upgrade pgdrover-agent there.",
				h.Name, h.AgentVersion, need)
		}
	}
	return nil
}

// confirm wants the target's name typed again before anything is destroyed.
func (a *admission) confirm(p gen.InsertOperationParams) error {
	if a.info.Risk != op.RiskDestroy || a.r.DryRun {
		return nil
	}
	var c struct {
		ConfirmName string `json:"confirm_name"`
	}
	if err := json.Unmarshal(a.r.Input, &c); err != nil || c.ConfirmName != p.TargetName {
		return errs.New(errs.Invalid, "confirm-name-mismatch", "To confirm, confirm_name must be the name %q.", p.TargetName).
			At("body.confirm_name", "must be the object's name")
	}
	return nil
}
