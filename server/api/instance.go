package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
)

// Instance is a PostgreSQL instance.
type Instance struct {
	ID               uuid.UUID         `json:"id"`
	Name             string            `json:"name"`
	Labels           map[string]string `json:"labels"`
	HostID           uuid.UUID         `json:"host_id"`
	HostName         string            `json:"host_name"`
	HostOnline       bool              `json:"host_online"`
	Management       string            `json:"management" enum:"discovered,managed,ignored"`
	Status           string            `json:"status" enum:"unknown,creating,running,starting,stopped,crashed,missing"`
	Role             string            `json:"role,omitempty" doc:"primary or standby"`
	Version          string            `json:"version,omitempty"`
	Edition          string            `json:"edition,omitempty"`
	DataDirectory    string            `json:"data_directory"`
	Port             int32             `json:"port"`
	SocketDir        string            `json:"socket_dir,omitempty"`
	BinDir           string            `json:"bin_dir,omitempty"`
	OSUser           string            `json:"os_user,omitempty"`
	Unit             string            `json:"unit,omitempty" doc:"systemd unit"`
	PID              int32             `json:"pid,omitempty"`
	StartedAt        *time.Time        `json:"started_at,omitempty"`
	SizeBytes        int64             `json:"size_bytes" doc:"Of the data directory; -1 where it was not measured"`
	SystemIdentifier string            `json:"system_identifier,omitempty"`
	Conflict         string            `json:"conflict,omitempty" doc:"The host whose agent holds this instance"`
	DBMSUser         string            `json:"dbms_user,omitempty"`
	DBMSDatabase     string            `json:"dbms_database,omitempty"`
	StatusAt         time.Time         `json:"status_at"`
	CreatedAt        time.Time         `json:"created_at"`
	CurrentOperation *OperationRef     `json:"current_operation,omitempty" doc:"The operation that is at work on it"`
}

// OperationRef names an operation.
type OperationRef struct {
	ID    uuid.UUID `json:"id"`
	Title string    `json:"title"`
	State string    `json:"state"`
}

type instanceRow struct {
	gen.Instance
	HostName   string
	HostOnline bool
}

type instanceOut struct {
	ETag string `header:"ETag"`
	Body Instance
}

// InstancePath names the object in the path.
type InstancePath struct {
	ID uuid.UUID `path:"id" doc:"The instance"`
}

func instanceList() db.List {
	return db.List{
		Select: "i.*, h.name AS host_name, h.online AS host_online", From: "instance i JOIN host h ON h.id = i.host_id", ID: "i.id",
		Sorts: map[string]db.SortKey{
			"name": {Expr: "i.name", Type: "text"}, "host_name": {Expr: "h.name", Type: "text"},
			"status":  {Expr: "i.status", Type: "text"},
			"version": {Expr: "i.version", Type: "text"}, "port": {Expr: "i.port", Type: "integer"},
			"size_bytes": {Expr: "i.size_bytes", Type: "bigint"}, "created_at": {Expr: "i.created_at", Type: "timestamptz"},
			"started_at": {Expr: "coalesce(i.started_at, 'epoch')", Type: "timestamptz"},
		},
	}
}

func (s *Server) instances() {
	type list struct {
		ListIn
		HostID     string   `query:"host_id" format:"uuid" doc:"Only instances on this host"`
		Status     []string `query:"status" enum:"unknown,creating,running,starting,stopped,crashed,missing" doc:"Only instances in one of these states"`
		Management []string `query:"management" enum:"discovered,managed,ignored" doc:"Only instances that are managed, only discovered, or ignored"`
		Version    string   `query:"version" maxLength:"20" doc:"Major or full version"`
		Label      string   `query:"label" maxLength:"300" doc:"key or key=value"`
	}
	route(s, "instance.read", huma.Operation{
		OperationID: "instance-list", Method: http.MethodGet, Path: "/api/v1/instances", Summary: "List instances",
		Tags: []string{"instance"},
	}, func(ctx context.Context, in *list) (*pageOut[Instance], error) {
		l, err := in.query(instanceList(), "name")
		if err != nil {
			return nil, err
		}
		if err := filterID(&l, "i.host_id", "host_id", in.HostID); err != nil {
			return nil, err
		}
		filterAny(&l, "i.status", in.Status)
		filterAny(&l, "i.management", in.Management)
		filterLabel(&l, "i.labels", in.Label)
		if in.Version != "" {
			l.Where("(i.version = $? OR split_part(i.version, '.', 1) = $?)", in.Version)
		}
		if in.Q != "" {
			l.Where("(i.search LIKE $? OR h.name ILIKE $?)", like(strings.ToLower(in.Q)))
		}
		rows, next, total, err := db.Page[instanceRow](ctx, s.DB, l)
		if err != nil {
			return nil, err
		}
		current, err := s.currentOperations(ctx, rows)
		if err != nil {
			return nil, err
		}
		return pageOf(rows, next, total, func(r instanceRow) Instance { return toInstance(r, current) }), nil
	})
	route(s, "instance.read", huma.Operation{
		OperationID: "instance-get", Method: http.MethodGet, Path: "/api/v1/instances/{id}", Summary: "Show an instance",
		Tags:   []string{"instance"},
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *InstancePath) (*instanceOut, error) { return s.instanceByID(ctx, in.ID) })
	type edit struct {
		InstancePath
		IfMatch string `header:"If-Match" doc:"ETag of what was edited"`
		Body    struct {
			Name   string            `json:"name" minLength:"1" maxLength:"63" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$"`
			Labels map[string]string `json:"labels,omitempty" maxProperties:"50"`
		}
	}
	route(s, "instance.manage", huma.Operation{
		OperationID: "instance-update", Method: http.MethodPatch, Path: "/api/v1/instances/{id}",
		Summary: "Rename or label an instance",
		Tags:    []string{"instance"}, Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}, func(ctx context.Context, in *edit) (*instanceOut, error) {
		return s.updateInstance(ctx, in.ID, in.IfMatch, in.Body.Name, in.Body.Labels)
	})
}

func (s *Server) updateInstance(ctx context.Context, id uuid.UUID, match, name string, labels map[string]string) (*instanceOut,
	error,
) {
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		i, err := q.GetInstance(ctx, id)
		if err != nil {
			return err
		}
		if err := matches(match, i.UpdatedAt); err != nil {
			return err
		}
		raw := i.Labels
		if labels != nil {
			raw = labelsJSON(labels)
		}
		if _, err := q.UpdateInstance(ctx, name, raw, id); err != nil {
			if db.Constraint(err) == "instance_name" {
				return errs.New(errs.Conflict, "name-taken", "There is already an instance named %s.", name).At("body.name", "is taken")
			}
			return fmt.Errorf("change instance: %w", err)
		}
		return s.changed(ctx, q, change{Action: "instance-update", Kind: "instance", ID: id.String(), Name: name})
	})
	if err != nil {
		return nil, err
	}
	return s.instanceByID(ctx, id)
}

func (s *Server) instanceByID(ctx context.Context, id uuid.UUID) (*instanceOut, error) {
	l := instanceList()
	l.Where("i.id = $?", id)
	row, err := db.One[instanceRow](ctx, s.DB, l)
	if db.IsNotFound(err) {
		return nil, errs.New(errs.NotFound, "not-found", "There is no instance %s.", id)
	}
	if err != nil {
		return nil, err
	}
	current, err := s.currentOperations(ctx, []instanceRow{row})
	if err != nil {
		return nil, err
	}
	return &instanceOut{ETag: etag(row.UpdatedAt), Body: toInstance(row, current)}, nil
}

func (s *Server) currentOperations(ctx context.Context, rows []instanceRow) (map[uuid.UUID]OperationRef, error) {
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	open, err := s.DB.OpenOperationOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("list open operations: %w", err)
	}
	out := map[uuid.UUID]OperationRef{}
	for _, o := range open {
		if o.ObjectID != nil {
			out[*o.ObjectID] = OperationRef{ID: o.ID, Title: o.Title, State: o.State}
		}
	}
	return out, nil
}

func toInstance(r instanceRow, current map[uuid.UUID]OperationRef) Instance {
	i := Instance{
		ID: r.ID, Name: r.Name, Labels: labelsOf(r.Labels), HostID: r.HostID, HostName: r.HostName, HostOnline: r.HostOnline,
		Management: r.Management, Status: r.Status, Role: r.Role, Version: r.Version, Edition: r.Edition,
		DataDirectory: r.DataDirectory, Port: r.Port, SocketDir: r.SocketDir, BinDir: r.BinDir, OSUser: r.OsUser, Unit: r.Unit,
		PID: r.Pid, StartedAt: r.StartedAt,
		SizeBytes: r.SizeBytes, SystemIdentifier: r.SystemIdentifier, Conflict: r.Conflict, DBMSUser: r.DbmsUser,
		DBMSDatabase: r.DbmsDatabase, StatusAt: r.StatusAt, CreatedAt: r.CreatedAt,
	}
	if c, ok := current[r.ID]; ok {
		i.CurrentOperation = &c
	}
	return i
}
