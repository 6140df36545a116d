package managerimpl

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/workflows/op"
)

func (a *Activities) hostGet(ctx context.Context, in manager.ObjectIn) (manager.Host, error) {
	id, err := parse(in.ID)
	if err != nil {
		return manager.Host{}, err
	}
	h, err := a.DB.GetHost(ctx, id)
	if db.IsNotFound(err) {
		return manager.Host{}, op.Permanent(op.CodeNotFound, "Host %s does not exist any more.", "", in.ID)
	}
	if err != nil {
		return manager.Host{}, fmt.Errorf("look up host %s: %w", in.ID, err)
	}
	var f host.Facts
	if len(h.Facts) > 0 {
		if err := json.Unmarshal(h.Facts, &f); err != nil {
			return manager.Host{}, fmt.Errorf("read facts of host %s: %w", h.Name, err)
		}
	}
	out := manager.Host{
		ID: in.ID, Name: h.Name, Binaries: f.Binaries, Systemd: f.Agent.Systemd, InstanceOSUser: f.Agent.InstanceOSUser,
		DataRoot: f.Agent.DataRoot,
	}
	return out, nil
}

func (a *Activities) instanceGet(ctx context.Context, in manager.ObjectIn) (manager.Instance, error) {
	id, err := parse(in.ID)
	if err != nil {
		return manager.Instance{}, err
	}
	i, err := a.DB.GetInstance(ctx, id)
	if db.IsNotFound(err) {
		return manager.Instance{}, op.Permanent(op.CodeNotFound, "Instance %s does not exist any more.", "", in.ID)
	}
	if err != nil {
		return manager.Instance{}, fmt.Errorf("look up instance %s: %w", in.ID, err)
	}
	out := manager.Instance{
		ID: in.ID, HostID: i.HostID.String(), Name: i.Name, Managed: i.Management == "managed", Conflict: i.Conflict,
		DataDirectory: i.DataDirectory, Port: int(i.Port), SocketDir: i.SocketDir, BinDir: i.BinDir, OSUser: i.OsUser, Unit: i.Unit,
		Version: i.Version, Edition: i.Edition, Status: i.Status, DBMSUser: i.DbmsUser, Database: i.DbmsDatabase,
	}
	if i.DbmsSecretID != nil {
		out.Password = op.SecretReference(i.DbmsSecretID.String())
	}
	return out, nil
}

func (a *Activities) instanceRegister(ctx context.Context, in manager.Instance) (op.Nothing, error) {
	id, err := parse(in.ID)
	if err != nil {
		return op.Nothing{}, err
	}
	hostID, err := parse(in.HostID)
	if err != nil {
		return op.Nothing{}, err
	}
	return op.Nothing{}, a.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		// An earlier, stopped or failed instance of the same place may have been discovered there.
		if err := q.DropDiscovered(ctx, hostID, in.DataDirectory, id); err != nil {
			return fmt.Errorf("drop the discovered record of %s: %w", in.DataDirectory, err)
		}
		secret, err := keepSecret(ctx, q, in.Password)
		if err != nil {
			return err
		}
		if err := q.RegisterInstance(ctx, gen.RegisterInstanceParams{
			ID: id, HostID: hostID, Name: in.Name, Status: in.Status, DataDirectory: in.DataDirectory, Port: int32(in.Port),
			SocketDir: in.SocketDir, BinDir: in.BinDir, OsUser: in.OSUser, Unit: in.Unit, Version: in.Version, Edition: in.Edition,
			DbmsUser: in.DBMSUser, DbmsDatabase: in.Database, DbmsSecretID: secret,
		}); err != nil {
			return nameTaken(err, in.Name, in.DataDirectory)
		}
		return db.Notify(ctx, q, db.Event{Kind: "instance", ID: in.ID})
	})
}

// keepSecret makes an operation's secret the instance's: housekeeping leaves it alone from then on.
func keepSecret(ctx context.Context, q *gen.Queries, s op.Secret) (*uuid.UUID, error) {
	ref, ok := s.Reference()
	if !ok {
		return nil, nil
	}
	id, err := parse(ref)
	if err != nil {
		return nil, err
	}
	if err := q.SetSecretPurpose(ctx, "instance", id); err != nil {
		return nil, fmt.Errorf("keep the account's secret: %w", err)
	}
	return &id, nil
}

func nameTaken(err error, name, dir string) error {
	switch db.Constraint(err) {
	case "instance_name":
		return op.Permanent("name-taken", "There is already an instance named %s.", "Choose another name.", name)
	case "instance_host_id_data_directory_key":
		return op.Permanent("data-directory-taken", "Another instance of this host has the data directory %s.",
			"Choose another data directory.", dir)
	}
	return fmt.Errorf("record instance %s: %w", name, err)
}

func (a *Activities) instanceAdopt(ctx context.Context, in manager.InstanceAdoptIn) (op.Nothing, error) {
	id, err := parse(in.ID)
	if err != nil {
		return op.Nothing{}, err
	}
	return op.Nothing{}, a.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		secret, err := keepSecret(ctx, q, in.Password)
		if err != nil {
			return err
		}
		n, err := q.AdoptInstance(ctx, gen.AdoptInstanceParams{
			ID: id, Name: in.Name, DbmsUser: in.DBMSUser, DbmsDatabase: in.Database, DbmsSecretID: secret,
		})
		if err != nil {
			return nameTaken(err, in.Name, "")
		}
		if n == 0 {
			return op.Permanent(op.CodeNotFound, "Instance %s does not exist any more.", "", in.ID)
		}
		return db.Notify(ctx, q, db.Event{Kind: "instance", ID: in.ID})
	})
}

func (a *Activities) instanceObserved(ctx context.Context, in manager.InstanceObservedIn) (op.Nothing, error) {
	id, err := parse(in.ID)
	if err != nil {
		return op.Nothing{}, err
	}
	o := in.Observed
	return op.Nothing{}, a.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if _, err := q.ObserveInstance(ctx, gen.ObserveInstanceParams{
			ID: id, Status: o.Status, Pid: int32(o.PID), StartedAt: o.StartedAt, Port: int32(o.Port), Version: o.Version, Role: o.Role,
			SocketDir: o.SocketDir, SystemIdentifier: o.SystemIdentifier,
		}); err != nil {
			return fmt.Errorf("record state of instance %s: %w", in.ID, err)
		}
		return db.Notify(ctx, q, db.Event{Kind: "instance", ID: in.ID})
	})
}

func (a *Activities) instanceForget(ctx context.Context, in manager.ObjectIn) (op.Nothing, error) {
	id, err := parse(in.ID)
	if err != nil {
		return op.Nothing{}, err
	}
	return op.Nothing{}, a.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if _, err := q.DeleteInstance(ctx, id); err != nil {
			return fmt.Errorf("remove the record of instance %s: %w", in.ID, err)
		}
		return db.Notify(ctx, q, db.Event{Kind: "instance", ID: in.ID})
	})
}
