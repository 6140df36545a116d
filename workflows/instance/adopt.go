package instance

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// AdoptIn is the input of instance-adopt.
type AdoptIn struct {
	Target
	Name     string    `json:"name" minLength:"1" maxLength:"63" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Name of the instance in pgdrover"`
	DBMSUser string    `json:"dbms_user,omitempty" minLength:"1" maxLength:"63" default:"postgres" doc:"DBMS account the agent uses"`
	Password op.Secret `json:"password,omitempty" format:"password" example:"example-Passw0rd" doc:"Its password; empty for trust or peer authentication"`
	Database string    `json:"database,omitempty" default:"postgres" maxLength:"63" doc:"Database to connect to"`
}

// AdoptOut is what the server said of itself.
type AdoptOut struct {
	Version string `json:"version"`
}

// Adopt makes a discovered instance a managed one.
var Adopt = op.Define(op.Spec[AdoptIn]{
	Name: "instance-adopt", Title: "Adopt instance", Group: "instance", Target: op.TargetInstance, Unmanaged: true,
	Doc: "Takes a discovered instance under management with a DBMS account. The account is tried first; the server " +
		"itself is not changed. The server must run.",
	Permission: "instance.manage", Risk: op.RiskChange, Needs: []string{host.PGQuery.Name},
	Locks: func(in AdoptIn) []op.Lock {
		return []op.Lock{
			{Kind: "instance", ID: in.InstanceID, Mode: op.Exclusive},
			{Kind: "instance-name", ID: in.Name, Mode: op.Exclusive},
		}
	},
	Deadline: time.Minute,
	Undo:     "The instance stays as it was discovered.",
}, adopt)

func adopt(ctx workflow.Context, in AdoptIn) (AdoptOut, error) {
	var out AdoptOut
	i, err := manager.InstanceGet.Do(ctx, "Look up the instance", manager.ObjectIn{ID: in.InstanceID})
	if err != nil {
		return out, err
	}
	if i.Conflict != "" {
		return out, op.Permanent("instance-held", "The instance is held by the agent of host %s.",
			"Use the other host's record, or revoke that host first.", i.Conflict)
	}
	i.DBMSUser, i.Password, i.Database = in.DBMSUser, in.Password, in.Database
	res, err := host.PGQuery.Do(ctx, "Try the DBMS account "+in.DBMSUser, host.PGQueryIn{
		Conn: i.Conn(), SQL: "SELECT version()", MaxRows: 1, TimeoutSeconds: 10,
	})
	if err != nil {
		return out, err
	}
	if len(res.Rows) == 1 && len(res.Rows[0]) == 1 && res.Rows[0][0] != nil {
		out.Version = *res.Rows[0][0]
	}
	_, err = manager.InstanceAdopt.Do(ctx, "Take it under management as "+in.Name, manager.InstanceAdoptIn{
		ID: in.InstanceID, Name: in.Name, DBMSUser: in.DBMSUser, Database: in.Database, Password: in.Password,
	})
	return out, err
}
