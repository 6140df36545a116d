// Package host is the contract of the agent: the verbs it can carry out on a database host, their inputs, results
// and time limits. No code is here. The vocabulary is small and stable, so that most new operations need no new
// agent; a verb's name and meaning never change, its fields are only added to.
//
// Workflows call the verbs, activities/hostimpl carries them out. All changing verbs are idempotent by the step
// they belong to (op.StepRef): asked twice they do the work once and give the same answer.
package host

import "github.com/pgdrover/pgdrover/workflows/op"

// The verbs.
var (
	CommandRun      = op.Activity[CommandRunIn, CommandRunOut]{Name: "command-run", Profile: op.Watched}
	FileRead        = op.Activity[FileReadIn, FileReadOut]{Name: "file-read", ReadOnly: true, Profile: op.Short}
	FileWrite       = op.Activity[FileWriteIn, FileWriteOut]{Name: "file-write", Profile: op.Short}
	FileStat        = op.Activity[FileStatIn, FileStatOut]{Name: "file-stat", ReadOnly: true, Profile: op.Short}
	FileRemove      = op.Activity[FileRemoveIn, FileRemoveOut]{Name: "file-remove", Profile: op.Watched}
	FileMkdir       = op.Activity[FileMkdirIn, FileMkdirOut]{Name: "file-mkdir", Profile: op.Short}
	JobStart        = op.Activity[JobStartIn, JobStartOut]{Name: "job-start", Profile: op.Short}
	JobWait         = op.Activity[JobRef, JobStatus]{Name: "job-wait", Profile: op.Watched}
	JobCollect      = op.Activity[JobRef, CommandRunOut]{Name: "job-collect", Profile: op.Short}
	JobStop         = op.Activity[JobRef, JobStatus]{Name: "job-stop", Profile: op.Short}
	PGQuery         = op.Activity[PGQueryIn, PGQueryOut]{Name: "pg-query", ReadOnly: true, Profile: op.Watched}
	PGExec          = op.Activity[PGExecIn, PGExecOut]{Name: "pg-exec", Profile: op.Watched}
	PGCtl           = op.Activity[PGCtlIn, PGCtlOut]{Name: "pg-ctl", Profile: op.Watched}
	UnitControl     = op.Activity[UnitControlIn, UnitControlOut]{Name: "unit-control", Profile: op.Watched}
	HostFacts       = op.Activity[op.Nothing, Facts]{Name: "host-facts", ReadOnly: true, Profile: op.Short}
	InstanceInspect = op.Activity[InstanceInspectIn, Instance]{Name: "instance-inspect", ReadOnly: true, Profile: op.Short}
	PortProbe       = op.Activity[PortProbeIn, PortProbeOut]{Name: "port-probe", ReadOnly: true, Profile: op.Short}
	Fence           = op.Activity[FenceIn, op.Nothing]{Name: "fence", Profile: op.Short}
)

// Verbs lists the contract; an agent declares the names it implements as its capabilities.
func Verbs() []op.ActivityInfo {
	return []op.ActivityInfo{
		CommandRun.Info(), FileRead.Info(), FileWrite.Info(), FileStat.Info(), FileRemove.Info(), FileMkdir.Info(),
		JobStart.Info(), JobWait.Info(), JobCollect.Info(), JobStop.Info(), PGQuery.Info(), PGExec.Info(), PGCtl.Info(),
		UnitControl.Info(), HostFacts.Info(), InstanceInspect.Info(), PortProbe.Info(), Fence.Info(),
	}
}

// SecretRef names a secret kept by the manager; the agent fetches its value over the gateway under the grant
// of the running operation. Only references are in payloads.
type SecretRef = op.Secret

// Progress is the detail of heartbeats: the gateway records it for the operation's page.
type Progress struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
	Unit  string `json:"unit,omitempty"`
	Note  string `json:"note,omitempty"`
}

// CommandRunIn is a program with its arguments: no shell ever reads them.
type CommandRunIn struct {
	// Program is an absolute path inside a folder the host's policy file allows.
	Program string   `json:"program"`
	Args    []string `json:"args,omitempty"`
	// Dir is the working directory, the OS user's home if empty.
	Dir string            `json:"dir,omitempty"`
	Env map[string]string `json:"env,omitempty"`
	// OSUser to run as; empty is the instance owner of the policy (usually postgres).
	OSUser string `json:"os_user,omitempty"`
	// SecretFiles are written 0600 for the time of the run; `{secret:KEY}` in Args becomes the file's path.
	SecretFiles map[string]SecretRef `json:"secret_files,omitempty"`
	// ResetDir is emptied first when an earlier attempt of this same step was interrupted (initdb wants an empty one).
	ResetDir string `json:"reset_dir,omitempty"`
	// TimeoutSeconds ends the process group; 0 is one hour.
	TimeoutSeconds int `json:"timeout_seconds,omitempty"`
	// Policy names the rule of the policy file; empty is "binaries" (PostgreSQL programs), "command" is host-command's list.
	Policy string `json:"policy,omitempty"`
	// OKExitCodes beside 0 that are no failure.
	OKExitCodes []int `json:"ok_exit_codes,omitempty"`
}

// CommandRunOut is how a program ended. Whole output goes to the manager, here are the last lines.
type CommandRunOut struct {
	ExitCode        int     `json:"exit_code"`
	Tail            string  `json:"tail,omitempty" doc:"The last lines of output, at most 4 KiB"`
	OutputBytes     int64   `json:"output_bytes"`
	DurationSeconds float64 `json:"duration_seconds"`
	TimedOut        bool    `json:"timed_out,omitempty"`
}

// FileReadIn reads a file of at most MaxBytes (64 KiB if 0); a longer one is an error of code "too-large".
type FileReadIn struct {
	Path     string `json:"path"`
	MaxBytes int64  `json:"max_bytes,omitempty"`
}

// FileReadOut is the content with its SHA-256 in hex.
type FileReadOut struct {
	Content []byte `json:"content"`
	SHA256  string `json:"sha256"`
}

// FileWriteIn writes a file atomically (temporary file, fsync, rename).
type FileWriteIn struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
	// Mode is octal, "0600" if empty; Owner is an OS user, unchanged or the caller if empty.
	Mode  string `json:"mode,omitempty"`
	Owner string `json:"owner,omitempty"`
	// IfSHA256 is a precondition on the present content: hex, or "absent".
	IfSHA256 string `json:"if_sha256,omitempty"`
}

// FileWriteOut tells whether anything changed.
type FileWriteOut struct {
	Changed bool   `json:"changed"`
	SHA256  string `json:"sha256"`
}

// FileStatIn asks about a path, existing or not.
type FileStatIn struct {
	Path string `json:"path"`
}

// FileStatOut describes the path, or its nearest existing parent where it does not exist.
type FileStatOut struct {
	Exists bool `json:"exists"`
	// Type is file, directory, symlink or other.
	Type    string `json:"type,omitempty"`
	Entries int    `json:"entries,omitempty" doc:"Number of entries of a directory"`
	Size    int64  `json:"size,omitempty"`
	Mode    string `json:"mode,omitempty"`
	Owner   string `json:"owner,omitempty"`
	// FreeBytes is what the OS user of instances may still write on that file system.
	FreeBytes  int64 `json:"free_bytes"`
	TotalBytes int64 `json:"total_bytes"`
	// NearestParent is the deepest existing folder above the path.
	NearestParent string `json:"nearest_parent,omitempty"`
}

// FileRemoveIn removes a file, or a directory with all in it. Absent is success.
type FileRemoveIn struct {
	Path      string `json:"path"`
	Recursive bool   `json:"recursive,omitempty"`
	// Marker must be in the directory for a recursive removal unless it is empty (e.g. "PG_VERSION"): a guard against
	// a wrong path.
	Marker string `json:"marker,omitempty"`
	// IfCreatedBy removes only what a step of this operation created (undo of file-mkdir and initdb).
	IfCreatedBy string `json:"if_created_by,omitempty"`
}

// FileRemoveOut tells how much was freed.
type FileRemoveOut struct {
	Removed bool  `json:"removed"`
	Bytes   int64 `json:"bytes"`
}

// FileMkdirIn makes a directory and its missing parents.
type FileMkdirIn struct {
	Path  string `json:"path"`
	Mode  string `json:"mode,omitempty"`
	Owner string `json:"owner,omitempty"`
	// MustBeEmpty refuses an existing directory with entries (code "directory-not-empty").
	MustBeEmpty bool `json:"must_be_empty,omitempty"`
}

// FileMkdirOut names the topmost directory that had to be made, for the undo.
type FileMkdirOut struct {
	Created string `json:"created,omitempty"`
}

// JobStartIn starts a command that outlives the agent: a systemd transient unit, or a detached process where
// there is no systemd. The job is named by operation and step.
type JobStartIn struct {
	CommandRunIn
}

// JobStartOut names the job.
type JobStartOut struct {
	Job JobRef `json:"job"`
}

// JobRef names a job.
type JobRef struct {
	Name string `json:"name"`
}

// JobStatus is where a job is: running, done, stopped or lost (its process vanished without an exit status).
type JobStatus struct {
	State    string `json:"state"`
	ExitCode int    `json:"exit_code"`
}

// PGConn says how to reach an instance on the agent's host.
type PGConn struct {
	// SocketDir or, if empty, 127.0.0.1 is connected to.
	SocketDir string `json:"socket_dir,omitempty"`
	Port      int    `json:"port"`
	Database  string `json:"database,omitempty"`
	User      string `json:"user"`
	// Password is a reference; empty for trust and peer.
	Password SecretRef `json:"password,omitempty"`
}

// PGQueryIn is one read-only statement: it runs in a READ ONLY transaction.
type PGQueryIn struct {
	Conn PGConn `json:"conn"`
	SQL  string `json:"sql"`
	// Params are texts that PostgreSQL casts; null is allowed.
	Params         []*string `json:"params,omitempty"`
	MaxRows        int       `json:"max_rows,omitempty"`
	TimeoutSeconds int       `json:"timeout_seconds,omitempty"`
}

// PGQueryOut is a result set as text, null for NULL.
type PGQueryOut struct {
	Columns   []PGColumn  `json:"columns"`
	Rows      [][]*string `json:"rows"`
	Truncated bool        `json:"truncated,omitempty" doc:"More rows, or more than 200 KiB, were left out"`
	Command   string      `json:"command,omitempty" doc:"Command tag, e.g. SELECT 3"`
	Seconds   float64     `json:"seconds"`
}

// PGColumn is a column's name and type.
type PGColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// PGExecIn is statements that change something, in one transaction that is committed once however often the step is
// asked for. Guard makes also the intention idempotent: a query whose first value "t" means that the work is already
// done.
type PGExecIn struct {
	Conn  PGConn `json:"conn"`
	Guard string `json:"guard,omitempty"`
	// Statements run in order; SecretParams of a statement are bound as its last parameters.
	Statements     []PGStatement `json:"statements"`
	TimeoutSeconds int           `json:"timeout_seconds,omitempty"`
	// Rows of the last statement are returned, at most MaxRows.
	MaxRows int `json:"max_rows,omitempty"`
	// Autocommit runs each statement on its own, for those that refuse a transaction: CREATE DATABASE, VACUUM, ALTER
	// SYSTEM, CREATE INDEX CONCURRENTLY. An interrupted attempt starts again at the first statement that has not ended,
	// so a Guard or a repeatable statement is needed.
	Autocommit bool `json:"autocommit,omitempty"`
}

// PGStatement is one statement with its parameters.
type PGStatement struct {
	SQL    string    `json:"sql"`
	Params []*string `json:"params,omitempty"`
	// SecretParams are fetched by the agent and bound after Params.
	SecretParams []SecretRef `json:"secret_params,omitempty"`
	// HashSecrets binds the SCRAM-SHA-256 verifier of each secret instead of its value, so that no log of the server
	// ever shows a password. Statements like ALTER ROLE take no parameters: pass it by set_config('pgdrover.v', $1, true)
	// and let a DO block EXECUTE format('ALTER ROLE ... PASSWORD %L', current_setting('pgdrover.v')).
	HashSecrets bool `json:"hash_secrets,omitempty"`
}

// PGExecOut is the result of the last statement.
type PGExecOut struct {
	PGQueryOut
	// AlreadyDone means that the guard said so.
	AlreadyDone bool `json:"already_done,omitempty"`
}

// PGCtlIn controls a server. With Unit it goes through systemd, else through pg_ctl.
type PGCtlIn struct {
	// Action is start, stop, restart, reload or promote.
	Action        string `json:"action"`
	BinDir        string `json:"bin_dir"`
	DataDirectory string `json:"data_directory"`
	OSUser        string `json:"os_user,omitempty"`
	Unit          string `json:"unit,omitempty"`
	// Mode of stop and restart: smart, fast or immediate.
	Mode string `json:"mode,omitempty"`
	// WaitSeconds for the action to be complete, 60 if 0.
	WaitSeconds int `json:"wait_seconds,omitempty"`
	// LogFile for the server's output until its own logging starts; `server.log` in the data directory if empty.
	LogFile string `json:"log_file,omitempty"`
}

// PGCtlOut is the state after the action.
type PGCtlOut struct {
	// Changed is false where nothing was to be done: starting a running server, stopping a stopped one.
	Changed  bool     `json:"changed"`
	Instance Instance `json:"instance"`
}

// UnitControlIn is start, stop, restart, reload, enable or disable of a systemd unit of the allow-list.
type UnitControlIn struct {
	Unit   string `json:"unit"`
	Action string `json:"action"`
}

// UnitControlOut is the unit's state after it.
type UnitControlOut struct {
	ActiveState string `json:"active_state"`
}

// InstanceInspectIn names an instance by its data directory.
type InstanceInspectIn struct {
	DataDirectory string `json:"data_directory"`
	BinDir        string `json:"bin_dir,omitempty"`
	// Conn, where given, is used to ask the server itself (role, edition).
	Conn *PGConn `json:"conn,omitempty"`
}

// PortProbeIn asks whether a TCP port is free.
type PortProbeIn struct {
	Port int `json:"port"`
}

// PortProbeOut tells who has it, as far as the agent may see.
type PortProbeOut struct {
	InUse   bool   `json:"in_use"`
	Process string `json:"process,omitempty"`
}

// FenceIn raises the lowest fencing number the agent accepts for an object.
type FenceIn struct {
	Object string `json:"object"`
	Fence  int64  `json:"fence"`
}
