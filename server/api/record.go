package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/server/auth"
)

// Notification is news for the person who is signed in.
type Notification struct {
	ID          uuid.UUID  `json:"id"`
	At          time.Time  `json:"at"`
	Kind        string     `json:"kind"`
	Title       string     `json:"title"`
	Body        string     `json:"body,omitempty"`
	Severity    string     `json:"severity" enum:"info,success,warning,error"`
	OperationID *uuid.UUID `json:"operation_id,omitempty"`
	ReadAt      *time.Time `json:"read_at,omitempty"`
}

func (s *Server) notifications() {
	type list struct {
		Unread bool  `query:"unread" doc:"Only those not read yet"`
		Limit  int32 `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"At most so many"`
	}
	type out struct {
		Body struct {
			Page[Notification]
			Unread int64 `json:"unread" doc:"Number not read yet"`
		}
	}
	route(s, auth.Self, huma.Operation{
		OperationID: "notification-list", Method: http.MethodGet, Path: "/api/v1/notifications", Summary: "My notifications",
		Tags: []string{"access"},
	}, func(ctx context.Context, in *list) (*out, error) {
		id, _ := auth.From(ctx)
		rows, err := s.DB.ListNotifications(ctx, id.AccountID, in.Unread, in.Limit)
		if err != nil {
			return nil, fmt.Errorf("list notifications: %w", err)
		}
		o := &out{}
		o.Body.Page = pageOf(rows, "", int64(len(rows)), func(n gen.Notification) Notification {
			return Notification{
				ID: n.ID, At: n.At, Kind: n.Kind, Title: n.Title, Body: n.Body, Severity: n.Severity, OperationID: n.OperationID,
				ReadAt: n.ReadAt,
			}
		}).Body
		if o.Body.Unread, err = s.DB.CountUnread(ctx, id.AccountID); err != nil {
			return nil, fmt.Errorf("count notifications: %w", err)
		}
		return o, nil
	})
	type read struct {
		Body struct {
			IDs []uuid.UUID `json:"ids,omitempty" maxItems:"500"`
			All bool        `json:"all,omitempty"`
		}
	}
	type none struct{}
	route(s, auth.Self, huma.Operation{
		OperationID: "notification-read", Method: http.MethodPost, Path: "/api/v1/notifications/read",
		Summary: "Mark notifications as read",
		Tags:    []string{"access"}, DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *read) (*none, error) {
		id, _ := auth.From(ctx)
		if _, err := s.DB.ReadNotifications(ctx, id.AccountID, in.Body.All, full(in.Body.IDs)); err != nil {
			return nil, fmt.Errorf("mark notifications: %w", err)
		}
		return nil, db.Notify(ctx, s.DB.Queries, db.Event{Kind: "notification", Parent: id.AccountID.String()})
	})
}

// AuditRecord is one act.
type AuditRecord struct {
	ID            int64           `json:"id"`
	At            time.Time       `json:"at"`
	Actor         string          `json:"actor"`
	RemoteAddress string          `json:"remote_address,omitempty"`
	Action        string          `json:"action"`
	TargetKind    string          `json:"target_kind,omitempty"`
	TargetID      string          `json:"target_id,omitempty"`
	TargetName    string          `json:"target_name,omitempty"`
	Result        string          `json:"result" enum:"accepted,done,refused,failed"`
	OperationID   *uuid.UUID      `json:"operation_id,omitempty"`
	Detail        json.RawMessage `json:"detail"`
}

type auditRow struct {
	ID            int64
	At            time.Time
	Actor         string
	RemoteAddress string
	Action        string
	TargetKind    string
	TargetID      string
	TargetName    string
	Result        string
	OperationID   *uuid.UUID
	Detail        json.RawMessage
}

func (s *Server) audit() {
	type list struct {
		ListIn
		Actor    string    `query:"actor" maxLength:"100" doc:"Only acts of this login or agent"`
		Action   string    `query:"action" maxLength:"100" doc:"Only acts of this name, e.g. host-add"`
		TargetID string    `query:"target_id" maxLength:"100" doc:"Only acts on this object"`
		Result   []string  `query:"result" enum:"accepted,done,refused,failed" doc:"Only acts that ended so"`
		From     time.Time `query:"from" doc:"Only acts at this time or later"`
		To       time.Time `query:"to" doc:"Only acts before this time"`
	}
	route(s, "audit.read", huma.Operation{
		OperationID: "audit-list", Method: http.MethodGet, Path: "/api/v1/audit", Summary: "Who did what", Tags: []string{"audit"},
	}, func(ctx context.Context, in *list) (*pageOut[AuditRecord], error) {
		l, err := in.query(db.List{
			Select: "a.id, a.at, a.actor, a.remote_address, a.action, a.target_kind, a.target_id, a.target_name, " +
				"a.result, a.operation_id, a.detail",
			From: "audit a", ID: "lpad(to_hex(a.id), 32, '0')::uuid",
			Sorts: map[string]db.SortKey{
				"at": {Expr: "a.at", Type: "timestamptz"}, "actor": {Expr: "a.actor", Type: "text"},
				"action": {Expr: "a.action", Type: "text"},
			},
		}, "-at")
		if err != nil {
			return nil, err
		}
		for column, v := range map[string]string{"a.actor": in.Actor, "a.action": in.Action, "a.target_id": in.TargetID} {
			if v != "" {
				l.Where(column+" = $?", v)
			}
		}
		filterAny(&l, "a.result", in.Result)
		if !in.From.IsZero() {
			l.Where("a.at >= $?", in.From)
		}
		if !in.To.IsZero() {
			l.Where("a.at < $?", in.To)
		}
		if in.Q != "" {
			l.Where("(a.actor ILIKE $? OR a.action ILIKE $? OR a.target_name ILIKE $?)", like(in.Q))
		}
		rows, next, total, err := db.Page[auditRow](ctx, s.DB, l)
		if err != nil {
			return nil, err
		}
		return pageOf(rows, next, total, func(r auditRow) AuditRecord { return AuditRecord(r) }), nil
	})
}

// Overview is the fleet at a glance.
type Overview struct {
	Hosts struct {
		Total   int64 `json:"total"`
		Online  int64 `json:"online"`
		Offline int64 `json:"offline"`
		Invited int64 `json:"invited"`
		Revoked int64 `json:"revoked"`
	} `json:"hosts"`
	Instances struct {
		Total      int64            `json:"total" doc:"Managed ones"`
		ByStatus   map[string]int64 `json:"by_status"`
		Discovered int64            `json:"discovered"`
	} `json:"instances"`
	Operations struct {
		Running      int64 `json:"running"`
		Waiting      int64 `json:"waiting"`
		Paused       int64 `json:"paused"`
		Failed24h    int64 `json:"failed_24h"`
		Succeeded24h int64 `json:"succeeded_24h"`
	} `json:"operations"`
	TemporalUI string `json:"temporal_ui,omitempty"`
	Version    string `json:"version"`
}

func (s *Server) overview() {
	type none struct{}
	type out struct{ Body Overview }
	route(s, "instance.read", huma.Operation{
		OperationID: "overview", Method: http.MethodGet, Path: "/api/v1/overview", Summary: "The fleet at a glance",
		Tags: []string{"system"},
	}, func(ctx context.Context, _ *none) (*out, error) {
		o := &out{Body: Overview{Version: s.Version, TemporalUI: s.TemporalUI}}
		return o, s.count(ctx, &o.Body)
	})
}

func (s *Server) count(ctx context.Context, o *Overview) error {
	hosts, err := s.DB.CountHosts(ctx)
	if err != nil {
		return fmt.Errorf("count hosts: %w", err)
	}
	for _, h := range hosts {
		o.Hosts.Total += h.Count
		switch {
		case h.State == "invited":
			o.Hosts.Invited += h.Count
		case h.State == "revoked":
			o.Hosts.Revoked += h.Count
		case h.Online:
			o.Hosts.Online += h.Count
		default:
			o.Hosts.Offline += h.Count
		}
	}
	instances, err := s.DB.CountInstances(ctx)
	if err != nil {
		return fmt.Errorf("count instances: %w", err)
	}
	o.Instances.ByStatus = map[string]int64{}
	for _, i := range instances {
		if i.Management != "managed" {
			o.Instances.Discovered += i.Count
			continue
		}
		o.Instances.Total += i.Count
		o.Instances.ByStatus[i.Status] += i.Count
	}
	operations, err := s.DB.CountOperations(ctx)
	if err != nil {
		return fmt.Errorf("count operations: %w", err)
	}
	for _, c := range operations {
		switch c.State {
		case "accepted", "running":
			o.Operations.Running += c.Count
		case "waiting":
			o.Operations.Waiting += c.Count
		case "paused":
			o.Operations.Paused += c.Count
		case "failed":
			o.Operations.Failed24h += c.Count
		case "succeeded":
			o.Operations.Succeeded24h += c.Count
		}
	}
	return nil
}
