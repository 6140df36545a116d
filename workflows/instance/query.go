package instance

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// QueryIn is the input of instance-query.
type QueryIn struct {
	Target
	SQL            string    `json:"sql" minLength:"1" maxLength:"100000" x-widget:"sql" example:"SELECT 1" doc:"One statement"`
	Params         []*string `json:"params,omitempty" maxItems:"100" doc:"Values of $1, $2, ... as text; null is NULL"`
	MaxRows        int       `json:"max_rows,omitempty" minimum:"1" maximum:"10000" default:"1000" doc:"Rows returned at most"`
	TimeoutSeconds int       `json:"timeout_seconds,omitempty" minimum:"1" maximum:"3600" default:"30" doc:"The statement is canceled after this time"`
	AllowChanges   bool      `json:"allow_changes,omitempty" doc:"Run it outside a READ ONLY transaction"`
}

// Query runs SQL on an instance with its DBMS account.
var Query = op.Define(op.Spec[QueryIn]{
	Name: "instance-query", Title: "Run SQL", Group: "instance", Target: op.TargetInstance,
	Doc: "Runs one SQL statement with the instance's DBMS account: in a READ ONLY transaction unless changes are " +
		"allowed. Rows, bytes and time are limited. The statement's text is kept in the record: put no secret into it.",
	Permission: "instance.query", Risk: op.RiskChange, Needs: []string{host.PGQuery.Name, host.PGExec.Name},
	Locks: func(in QueryIn) []op.Lock {
		return []op.Lock{{Kind: "instance", ID: in.InstanceID, Mode: op.Shared}}
	},
	Deadline: time.Hour, Schedulable: true,
	Undo: "A canceled statement is rolled back by PostgreSQL.",
}, query)

func query(ctx workflow.Context, in QueryIn) (host.PGQueryOut, error) {
	i, err := managed(ctx, in.InstanceID)
	if err != nil {
		return host.PGQueryOut{}, err
	}
	if !in.AllowChanges {
		return host.PGQuery.Do(ctx, "Query "+where(i), host.PGQueryIn{
			Conn: i.Conn(), SQL: in.SQL, Params: in.Params, MaxRows: in.MaxRows, TimeoutSeconds: in.TimeoutSeconds,
		})
	}
	out, err := host.PGExec.Do(ctx, "Run SQL on "+where(i), host.PGExecIn{
		Conn: i.Conn(), Statements: []host.PGStatement{{SQL: in.SQL, Params: in.Params}},
		MaxRows: in.MaxRows, TimeoutSeconds: in.TimeoutSeconds,
	})
	return out.PGQueryOut, err
}
