package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/auth"
	"github.com/pgdrover/pgdrover/server/live"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// Host is a database host.
type Host struct {
	ID            uuid.UUID         `json:"id"`
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels"`
	State         string            `json:"state" enum:"invited,enrolled,revoked" doc:"invited: a token was made, no agent has come yet"`
	Online        bool              `json:"online" doc:"The gateway holds the agent's connection"`
	SeenAt        *time.Time        `json:"seen_at,omitempty"`
	AgentVersion  string            `json:"agent_version,omitempty"`
	Capabilities  []string          `json:"capabilities" doc:"Verbs the agent can carry out"`
	FactsAt       *time.Time        `json:"facts_at,omitempty"`
	Facts         *host.Facts       `json:"facts,omitempty" doc:"What the agent reported; not in lists"`
	InstanceCount int64             `json:"instance_count"`
	CertificateTo *time.Time        `json:"certificate_expires_at,omitempty"`
	OSName        string            `json:"os_name,omitempty"`
	CreatedAt     time.Time         `json:"created_at"`
}

type hostRow struct {
	gen.Host
	InstanceCount int64
	CertificateTo *time.Time
}

// enrollmentLife is how long a one-time token is good.
const enrollmentLife = time.Hour

// Enrollment is a one-time token and how to use it.
type Enrollment struct {
	Host           Host      `json:"host"`
	Token          string    `json:"token" doc:"One-time; shown only now"`
	ExpiresAt      time.Time `json:"expires_at"`
	InstallCommand string    `json:"install_command" doc:"One line for the host's shell"`
}

type hostBody struct {
	Name   string            `json:"name" minLength:"1" maxLength:"200" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Unique name"`
	Labels map[string]string `json:"labels,omitempty" maxProperties:"50"`
}

type hostOut struct {
	ETag string `header:"ETag"`
	Body Host
}

// HostPath names the object in the path.
type HostPath struct {
	ID uuid.UUID `path:"id" doc:"The host"`
}

func (s *Server) hostList() db.List {
	return db.List{
		Select: `h.*, (SELECT count(*) FROM instance i WHERE i.host_id = h.id) AS instance_count,
			(SELECT max(c.not_after) FROM host_certificate c WHERE c.host_id = h.id AND c.revoked_at IS NULL) AS certificate_to`,
		From: "host h", ID: "h.id",
		Sorts: map[string]db.SortKey{
			"name": {Expr: "h.name", Type: "text"}, "created_at": {Expr: "h.created_at", Type: "timestamptz"},
			"seen_at": {Expr: "coalesce(h.seen_at, h.created_at)", Type: "timestamptz"}, "state": {Expr: "h.state", Type: "text"},
		},
	}
}

func (s *Server) hosts() {
	type list struct {
		ListIn
		State  []string `query:"state" enum:"invited,enrolled,revoked" doc:"Only hosts in one of these states"`
		Online string   `query:"online" enum:"true,false" doc:"Only hosts whose agent is connected, or is not"`
		Label  string   `query:"label" maxLength:"300" doc:"key or key=value"`
	}
	route(s, "host.read", huma.Operation{
		OperationID: "host-list", Method: http.MethodGet, Path: "/api/v1/hosts", Summary: "List hosts", Tags: []string{"host"},
	}, func(ctx context.Context, in *list) (*pageOut[Host], error) {
		l, err := in.query(s.hostList(), "name")
		if err != nil {
			return nil, err
		}
		filterAny(&l, "h.state", in.State)
		filterLabel(&l, "h.labels", in.Label)
		if in.Online != "" {
			l.Where("h.online = $?", in.Online == "true")
		}
		if in.Q != "" {
			l.Where("h.name ILIKE $?", like(in.Q))
		}
		rows, next, total, err := db.Page[hostRow](ctx, s.DB, l)
		if err != nil {
			return nil, err
		}
		return pageOf(rows, next, total, func(r hostRow) Host { return toHost(r, false) }), nil
	})
	route(s, "host.read", huma.Operation{
		OperationID: "host-get", Method: http.MethodGet, Path: "/api/v1/hosts/{id}", Summary: "Show a host", Tags: []string{"host"},
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *HostPath) (*hostOut, error) { return s.hostByID(ctx, in.ID) })
	route(s, "host.read", huma.Operation{
		OperationID: "host-refresh-facts", Method: http.MethodPost, Path: "/api/v1/hosts/{id}/refresh-facts",
		Summary: "Ask a host for its facts now",
		Tags:    []string{"host"}, Errors: []int{http.StatusNotFound},
		Description: "The agent's answer is stored and returned; an absent agent is 503 within seconds.",
	}, func(ctx context.Context, in *HostPath) (*hostOut, error) { return s.refreshFacts(ctx, in.ID) })
	s.hostChanges()
}

func (s *Server) refreshFacts(ctx context.Context, id uuid.UUID) (*hostOut, error) {
	if _, err := s.hostByID(ctx, id); err != nil {
		return nil, err
	}
	f, err := live.Read(ctx, s.Admit.Temporal, id, host.HostFacts, op.Nothing{})
	if err != nil {
		return nil, err
	}
	if err := s.Gateway.StoreFacts(ctx, id, f); err != nil {
		return nil, err
	}
	return s.hostByID(ctx, id)
}

func (s *Server) hostChanges() {
	type add struct{ Body hostBody }
	type enrollment struct{ Body Enrollment }
	route(s, "host.manage", huma.Operation{
		OperationID: "host-add", Method: http.MethodPost, Path: "/api/v1/hosts", Summary: "Add a host", Tags: []string{"host"},
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
		Description: "Records the host and makes a one-time enrolment token for its agent.",
	}, func(ctx context.Context, in *add) (*enrollment, error) {
		e, err := s.addHost(ctx, in.Body)
		return &enrollment{Body: e}, err
	})
	route(s, "host.manage", huma.Operation{
		OperationID: "host-token", Method: http.MethodPost, Path: "/api/v1/hosts/{id}/token", Summary: "Make a new enrolment token",
		Tags:   []string{"host"},
		Errors: []int{http.StatusNotFound}, Description: "Earlier unused tokens of the host are void.",
	}, func(ctx context.Context, in *HostPath) (*enrollment, error) {
		e, err := s.newToken(ctx, in.ID)
		return &enrollment{Body: e}, err
	})
	type change struct {
		HostPath
		IfMatch string `header:"If-Match" doc:"ETag of what was edited"`
		Body    hostBody
	}
	route(s, "host.manage", huma.Operation{
		OperationID: "host-update", Method: http.MethodPatch, Path: "/api/v1/hosts/{id}", Summary: "Rename or label a host",
		Tags:   []string{"host"},
		Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}, func(ctx context.Context, in *change) (*hostOut, error) {
		return s.updateHost(ctx, in.ID, in.IfMatch, in.Body)
	})
	route(s, "host.manage", huma.Operation{
		OperationID: "host-revoke", Method: http.MethodPost, Path: "/api/v1/hosts/{id}/revoke", Summary: "Revoke a host's agent",
		Tags:   []string{"host"},
		Errors: []int{http.StatusNotFound}, Description: "Cuts the agent off within seconds; a new token enrols it again.",
	}, func(ctx context.Context, in *HostPath) (*hostOut, error) { return s.revokeHost(ctx, in.ID) })
	type gone struct{}
	route(s, "host.manage", huma.Operation{
		OperationID: "host-delete", Method: http.MethodDelete, Path: "/api/v1/hosts/{id}", Summary: "Forget a host",
		Tags:          []string{"host"},
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusNotFound, http.StatusConflict},
		Description: "Removes the host's record with those of its instances; nothing on the host is touched. Revoke it first.",
	}, func(ctx context.Context, in *HostPath) (*gone, error) { return nil, s.deleteHost(ctx, in.ID) })
}

func (s *Server) hostByID(ctx context.Context, id uuid.UUID) (*hostOut, error) {
	l := s.hostList()
	l.Sort, l.Limit = "name", 1
	l.Where("h.id = $?", id)
	rows, _, _, err := db.Page[hostRow](ctx, s.DB, l)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errs.New(errs.NotFound, "not-found", "There is no host %s.", id)
	}
	return &hostOut{ETag: etag(rows[0].UpdatedAt), Body: toHost(rows[0], true)}, nil
}

func toHost(r hostRow, whole bool) Host {
	h := Host{
		ID: r.ID, Name: r.Name, Labels: labelsOf(r.Labels), State: r.State, Online: r.Online, SeenAt: r.SeenAt,
		AgentVersion: r.AgentVersion,
		Capabilities: r.Capabilities, FactsAt: r.FactsAt, InstanceCount: r.InstanceCount, CertificateTo: r.CertificateTo,
		CreatedAt: r.CreatedAt,
	}
	if h.Capabilities == nil {
		h.Capabilities = []string{}
	}
	var f host.Facts
	if len(r.Facts) > 0 && json.Unmarshal(r.Facts, &f) == nil {
		h.OSName = f.OS.Name + " " + f.OS.Version
		if whole {
			f.Disks, f.Binaries, f.Instances = full(f.Disks), full(f.Binaries), full(f.Instances)
			f.Agent.Capabilities = full(f.Agent.Capabilities)
			h.Facts = &f
		}
	}
	return h
}

// full makes an absent list an empty one: JSON null is no list.
func full[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func labelsOf(raw json.RawMessage) map[string]string {
	l := map[string]string{}
	_ = json.Unmarshal(raw, &l)
	return l
}

func labelsJSON(l map[string]string) json.RawMessage {
	if l == nil {
		l = map[string]string{}
	}
	b, _ := json.Marshal(l) // a map of strings always can be written
	return b
}

func etag(t time.Time) string { return `"` + strconv.FormatInt(t.UnixMicro(), 36) + `"` }

func (s *Server) addHost(ctx context.Context, in hostBody) (Enrollment, error) {
	id := uuid.Must(uuid.NewV7())
	var e Enrollment
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		if _, err := q.InsertHost(ctx, id, in.Name, labelsJSON(in.Labels)); err != nil {
			return hostNameTaken(err, in.Name)
		}
		var err error
		if e, err = s.token(ctx, q, id); err != nil {
			return err
		}
		return s.hostChanged(ctx, q, "host-add", id, in.Name)
	})
	if err != nil {
		return e, err
	}
	out, err := s.hostByID(ctx, id)
	if err != nil {
		return e, err
	}
	e.Host = out.Body
	return e, nil
}

func hostNameTaken(err error, name string) error {
	if db.Constraint(err) == "host_name_key" {
		return errs.New(errs.Conflict, "name-taken", "There is already a host named %s.", name).At("body.name", "is taken")
	}
	return fmt.Errorf("record host: %w", err)
}

func (s *Server) newToken(ctx context.Context, id uuid.UUID) (Enrollment, error) {
	var e Enrollment
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		h, err := q.GetHost(ctx, id)
		if err != nil {
			return err
		}
		if err := q.VoidEnrollmentTokens(ctx, id); err != nil {
			return fmt.Errorf("void earlier tokens: %w", err)
		}
		if err := q.InviteHost(ctx, id); err != nil {
			return fmt.Errorf("take back the revocation: %w", err)
		}
		if e, err = s.token(ctx, q, id); err != nil {
			return err
		}
		return s.hostChanged(ctx, q, "host-token", id, h.Name)
	})
	if err != nil {
		return e, err
	}
	out, err := s.hostByID(ctx, id)
	if err == nil {
		e.Host = out.Body
	}
	return e, err
}

func (s *Server) token(ctx context.Context, q *gen.Queries, id uuid.UUID) (Enrollment, error) {
	text, hash, expires, err := s.Gateway.Invite(id, enrollmentLife)
	if err != nil {
		return Enrollment{}, err
	}
	if err := q.InsertEnrollmentToken(ctx, gen.InsertEnrollmentTokenParams{
		ID: uuid.Must(uuid.NewV7()), HostID: id, SecretHash: hash, ExpiresAt: expires,
	}); err != nil {
		return Enrollment{}, fmt.Errorf("keep enrolment token: %w", err)
	}
	return Enrollment{
		Token: text, ExpiresAt: expires,
		InstallCommand: s.installCommand(ctx, text),
	}, nil
}

func (s *Server) installCommand(ctx context.Context, token string) string {
	base, _ := ctx.Value(baseKey{}).(string)
	if !s.Installs || base == "" {
		return "echo " + token + " | sudo pgdrover-agent enroll --token-file /dev/stdin && sudo systemctl enable --now pgdrover-agent"
	}
	// The shell's own echo: a token in arguments could be read by everyone on the host.
	return "(echo token=" + token + "; curl -fsS " + base + "/install/agent.sh) | sudo sh"
}

func (s *Server) updateHost(ctx context.Context, id uuid.UUID, match string, in hostBody) (*hostOut, error) {
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		h, err := q.GetHost(ctx, id)
		if err != nil {
			return err
		}
		if err := matches(match, h.UpdatedAt); err != nil {
			return err
		}
		labels := h.Labels
		if in.Labels != nil {
			labels = labelsJSON(in.Labels)
		}
		if _, err := q.UpdateHost(ctx, in.Name, labels, id); err != nil {
			return hostNameTaken(err, in.Name)
		}
		return s.hostChanged(ctx, q, "host-update", id, in.Name)
	})
	if err != nil {
		return nil, err
	}
	return s.hostByID(ctx, id)
}

func matches(match string, updated time.Time) error {
	if match != "" && match != "*" && match != etag(updated) {
		return errs.New(errs.Stale, "changed-meanwhile", "Somebody changed it meanwhile. Load it again and repeat your change.")
	}
	return nil
}

func (s *Server) revokeHost(ctx context.Context, id uuid.UUID) (*hostOut, error) {
	err := s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		h, err := q.RevokeHost(ctx, id)
		if err != nil {
			return err
		}
		if err := q.RevokeCertificates(ctx, id); err != nil {
			return fmt.Errorf("revoke certificates: %w", err)
		}
		if err := q.VoidEnrollmentTokens(ctx, id); err != nil {
			return fmt.Errorf("void tokens: %w", err)
		}
		return s.hostChanged(ctx, q, "host-revoke", id, h.Name)
	})
	if err != nil {
		return nil, err
	}
	s.Gateway.Forget(id.String())
	return s.hostByID(ctx, id)
}

func (s *Server) deleteHost(ctx context.Context, id uuid.UUID) error {
	return s.DB.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		h, err := q.GetHost(ctx, id)
		if err != nil {
			return err
		}
		if h.State == "enrolled" {
			return errs.New(errs.Conflict, "host-enrolled", "Revoke host %s before you forget it.", h.Name)
		}
		if _, err := q.DeleteHost(ctx, id); err != nil {
			return fmt.Errorf("remove host: %w", err)
		}
		return s.hostChanged(ctx, q, "host-delete", id, h.Name)
	})
}

func (s *Server) hostChanged(ctx context.Context, q *gen.Queries, action string, id uuid.UUID, name string) error {
	return s.changed(ctx, q, change{Action: action, Kind: "host", ID: id.String(), Name: name})
}

// change is an act that is no operation: it touches the repository only.
type change struct {
	Action, Kind, ID, Name string
	Detail                 map[string]any
}

// changed audits an act and tells the pages, in its transaction.
func (s *Server) changed(ctx context.Context, q *gen.Queries, c change) error {
	id, _ := auth.From(ctx)
	detail := json.RawMessage(`{}`)
	if c.Detail != nil {
		var err error
		if detail, err = json.Marshal(c.Detail); err != nil {
			return fmt.Errorf("write audit detail: %w", err)
		}
	}
	if err := q.InsertAudit(ctx, gen.InsertAuditParams{
		Actor: id.Login, AccountID: &id.AccountID, RemoteAddress: remoteOf(ctx), Action: c.Action, TargetKind: c.Kind, TargetID: c.ID,
		TargetName: c.Name, Result: "done", Detail: detail,
	}); err != nil {
		return fmt.Errorf("audit %s: %w", c.Action, err)
	}
	return db.Notify(ctx, q, db.Event{Kind: c.Kind, ID: c.ID})
}
