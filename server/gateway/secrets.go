package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/internal/secret"
	"github.com/pgdrover/pgdrover/workflows/op"
)

const factsInterval = 60

// secret gives a value to an agent that has a step of a living operation with a grant, or that manages the instance
// the value belongs to.
func (g *Gateway) secret(w http.ResponseWriter, r *http.Request, c caller) error {
	var in host.SecretIn
	if err := readJSON(w, r, maxSmallBody, &in); err != nil {
		return err
	}
	id, operation, err := secretIDs(in)
	if err != nil {
		return err
	}
	row, err := g.cfg.DB.SecretForHost(r.Context(), id, c.hostID, operation)
	if db.IsNotFound(err) {
		g.refuse(refusal{caller: c, what: "secret", reason: "no grant for secret " + id.String()})
		return errs.New(errs.Denied, op.CodeForbidden, "The host has no right to this secret now.")
	}
	if err != nil {
		return err
	}
	plain, err := g.cfg.Sealer.Open(int(row.KeyVersion), row.Sealed, secret.AAD(id))
	if err != nil {
		g.log.Error("a secret does not open", "secret", id, "error", err)
		return errs.New(errs.Internal, "secret-unreadable",
			"The secret cannot be opened; the manager's master key may be another one.").Because(err)
	}
	writeJSON(w, host.SecretOut{Value: string(plain)})
	return nil
}

func secretIDs(in host.SecretIn) (id uuid.UUID, operation *uuid.UUID, err error) {
	text := in.Secret
	if ref, ok := op.Secret(text).Reference(); ok {
		text = ref
	}
	if id, err = uuid.Parse(text); err != nil {
		return id, nil, errs.New(errs.Invalid, "invalid-input", "The secret's reference is not valid.").
			At("body.secret", "is not a reference")
	}
	if in.Operation == "" {
		return id, nil, nil
	}
	o, err := uuid.Parse(in.Operation)
	if err != nil {
		return id, nil, errs.New(errs.Invalid, "invalid-input", "The operation's id is not valid.").At("body.operation", "is not an id")
	}
	return id, &o, nil
}

// agentConfig tells an agent which instances are managed and how to sign in to them.
func (g *Gateway) agentConfig(w http.ResponseWriter, r *http.Request, c caller) error {
	rows, err := g.cfg.DB.ManagedInstances(r.Context(), c.hostID)
	if err != nil {
		return err
	}
	out := host.AgentConfig{
		HostID: c.hostID.String(), HostName: c.hostName, FactsIntervalSeconds: factsInterval, Instances: []host.ManagedInstance{},
	}
	for _, i := range rows {
		m := host.ManagedInstance{ID: i.ID.String(), DataDirectory: i.DataDirectory, User: i.DbmsUser, Database: i.DbmsDatabase}
		if i.DbmsSecretID != nil {
			m.Password = op.SecretReference(i.DbmsSecretID.String())
		}
		out.Instances = append(out.Instances, m)
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	out.Etag = hex.EncodeToString(sum[:16])
	w.Header().Set("ETag", `"`+out.Etag+`"`)
	if m := r.Header.Get("If-None-Match"); m == `"`+out.Etag+`"` || m == out.Etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	writeJSON(w, out)
	return nil
}
