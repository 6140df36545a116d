package host

import (
	"time"

	"github.com/pgdrover/pgdrover/workflows/op"
)

// The gateway's HTTPS paths, beside the gRPC proxy on the same port. All but PathEnroll need the agent's
// certificate; the host's id comes from it (URI SAN spiffe://pgdrover/agent/<host-id>), never from the body.
// Errors are RFC 9457 problem documents with a `code`.
const (
	// PathEnroll: POST EnrollIn -> EnrollOut, authorised by the one-time token's secret.
	PathEnroll = "/agent/v1/enroll"
	// PathRenew: POST RenewIn -> EnrollOut.
	PathRenew = "/agent/v1/renew"
	// PathReports: POST ReportsIn -> ReportsOut, in the order of their sequence numbers; told twice is stored once.
	PathReports = "/agent/v1/reports"
	// PathConfig: GET -> AgentConfig.
	PathConfig = "/agent/v1/config"
	// PathSecret: POST SecretIn -> SecretOut.
	PathSecret = "/agent/v1/secret"
	// PathOutput: POST OutputChunk -> 204. Chunks carry their offset: told twice is stored once.
	PathOutput = "/agent/v1/output"
)

// EnrollmentToken is what a person pastes on the host, as unpadded URL-safe base64 of its JSON.
type EnrollmentToken struct {
	// Gateway is host:port of the gateway.
	Gateway string `json:"gateway"`
	// Fingerprint is the hex SHA-256 of the authority's certificate (DER): the agent trusts nothing else.
	Fingerprint string    `json:"fingerprint"`
	Secret      string    `json:"secret"`
	HostID      string    `json:"host_id"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// EnrollIn is the certificate request, made from a key that never leaves the host.
type EnrollIn struct {
	Secret    string `json:"secret"`
	HostID    string `json:"host_id"`
	CSRPEM    string `json:"csr_pem"`
	Hostname  string `json:"hostname"`
	MachineID string `json:"machine_id"`
	Version   string `json:"version"`
}

// EnrollOut is the signed certificate and the authority to trust from now on.
type EnrollOut struct {
	HostID         string `json:"host_id"`
	CertificatePEM string `json:"certificate_pem"`
	AuthorityPEM   string `json:"authority_pem"`
	// Namespace of Temporal the agent works in.
	Namespace string `json:"namespace"`
}

// RenewIn asks for a new certificate with a new key, authorised by the old one.
type RenewIn struct {
	CSRPEM string `json:"csr_pem"`
}

// Report is something the agent's own scheduler found out.
type Report struct {
	// Seq rises by one with every report of this agent; Epoch is a random id made when the spool was created.
	Seq   int64     `json:"seq"`
	Epoch string    `json:"epoch"`
	At    time.Time `json:"at"`
	// Facts is set in the full report of every minute; Instances alone in a report of a change of status.
	Facts     *Facts     `json:"facts,omitempty"`
	Instances []Instance `json:"instances,omitempty"`
}

// ReportsIn is a batch in order.
type ReportsIn struct {
	Reports []Report `json:"reports"`
}

// ReportsOut tells which data directories another agent holds, so that this one leaves them alone.
type ReportsOut struct {
	Conflicts []InstanceConflict `json:"conflicts"`
}

// InstanceConflict is an instance held by the agent of another host record.
type InstanceConflict struct {
	DataDirectory    string `json:"data_directory"`
	SystemIdentifier string `json:"system_identifier"`
	HeldBy           string `json:"held_by"`
}

// AgentConfig is what the manager wants an agent to know: its instances with their DBMS accounts.
type AgentConfig struct {
	HostID   string `json:"host_id"`
	HostName string `json:"host_name"`
	// FactsIntervalSeconds between full reports.
	FactsIntervalSeconds int               `json:"facts_interval_seconds"`
	Instances            []ManagedInstance `json:"instances"`
	// Etag changes when anything of it changes.
	Etag string `json:"etag"`
}

// ManagedInstance is an adopted or created instance; the agent may fetch its Password at any time.
type ManagedInstance struct {
	ID            string    `json:"id"`
	DataDirectory string    `json:"data_directory"`
	User          string    `json:"user"`
	Password      op.Secret `json:"password,omitempty"`
	Database      string    `json:"database"`
}

// SecretIn asks for a secret under the grant of an operation, or of a managed instance if Operation is empty.
type SecretIn struct {
	Secret    string `json:"secret"`
	Operation string `json:"operation,omitempty"`
}

// SecretOut is the value; it is kept in memory only.
type SecretOut struct {
	Value string `json:"value"`
}

// OutputChunk is a piece of a step's output.
type OutputChunk struct {
	Operation string `json:"operation"`
	Step      string `json:"step"`
	// Run distinguishes the runs of the command (an attempt that really ran it), from 1.
	Run    int    `json:"run"`
	Offset int64  `json:"offset"`
	Data   []byte `json:"data"`
}
