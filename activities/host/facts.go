package host

import "time"

// Facts is what an agent knows of its host: the report it sends every minute and on request.
type Facts struct {
	CollectedAt time.Time  `json:"collected_at"`
	Agent       AgentFacts `json:"agent"`
	OS          OS         `json:"os"`
	CPU         CPU        `json:"cpu"`
	Memory      Memory     `json:"memory"`
	Disks       []Disk     `json:"disks"`
	Binaries    []Binaries `json:"binaries"`
	Instances   []Instance `json:"instances"`
}

// AgentFacts describes the agent itself.
type AgentFacts struct {
	Version string `json:"version"`
	// Capabilities are the names of the verbs it implements.
	Capabilities []string `json:"capabilities"`
	// Systemd tells whether services are started through systemd.
	Systemd bool `json:"systemd"`
	// InstanceOSUser is the default owner of instances.
	InstanceOSUser string `json:"instance_os_user"`
	// DataRoot is where new instances go by default.
	DataRoot string `json:"data_root"`
	// DroppedReports were lost because the spool was full while the manager was away.
	DroppedReports int64 `json:"dropped_reports"`
	ResidentBytes  int64 `json:"resident_bytes"`
}

// OS is the operating system.
type OS struct {
	Hostname     string    `json:"hostname"`
	Name         string    `json:"name"`
	Version      string    `json:"version"`
	Kernel       string    `json:"kernel"`
	Architecture string    `json:"architecture"`
	BootedAt     time.Time `json:"booted_at"`
	MachineID    string    `json:"machine_id"`
}

// CPU is the processors and their load.
type CPU struct {
	Model string  `json:"model"`
	Cores int     `json:"cores"`
	Load1 float64 `json:"load1"`
	// UsedPercent since the report before, of all cores.
	UsedPercent float64 `json:"used_percent"`
}

// Memory in bytes.
type Memory struct {
	Total     int64 `json:"total"`
	Available int64 `json:"available"`
	SwapTotal int64 `json:"swap_total"`
	SwapUsed  int64 `json:"swap_used"`
}

// Disk is a mounted file system, in bytes.
type Disk struct {
	Mount  string `json:"mount"`
	Device string `json:"device"`
	Type   string `json:"type"`
	Total  int64  `json:"total"`
	Free   int64  `json:"free"`
}

// Binaries is an installed PostgreSQL or Postgres Pro server.
type Binaries struct {
	// Dir holds initdb, pg_ctl and postgres.
	Dir string `json:"dir"`
	// Version is the server's, e.g. "15.18"; Major e.g. "15".
	Version string `json:"version"`
	Major   string `json:"major"`
	// Edition is postgresql, pgpro-standard or pgpro-enterprise.
	Edition string `json:"edition"`
	// Source is debian, pgdg, pgpro or folder.
	Source string `json:"source"`
}

// The states of an instance as its host sees it.
const (
	InstanceRunning  = "running"
	InstanceStarting = "starting"
	InstanceStopped  = "stopped"
	InstanceCrashed  = "crashed"
	InstanceMissing  = "missing"
)

// Instance is a data directory with or without a running server.
type Instance struct {
	DataDirectory string `json:"data_directory"`
	// SystemIdentifier is a decimal number as text: it does not fit a JSON number.
	SystemIdentifier string `json:"system_identifier,omitempty"`
	Status           string `json:"status"`
	// Role is primary or standby.
	Role      string     `json:"role,omitempty"`
	Version   string     `json:"version,omitempty"`
	Edition   string     `json:"edition,omitempty"`
	Port      int        `json:"port,omitempty"`
	SocketDir string     `json:"socket_dir,omitempty"`
	BinDir    string     `json:"bin_dir,omitempty"`
	OSUser    string     `json:"os_user,omitempty"`
	Unit      string     `json:"unit,omitempty"`
	PID       int        `json:"pid,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	// SizeBytes of the data directory; -1 where it was not measured.
	SizeBytes int64 `json:"size_bytes"`
	// Conflict names the other agent that holds the instance.
	Conflict string `json:"conflict,omitempty"`
}
