// Package manager is the contract of what runs beside the manager: activities on the repository. No code is here;
// activities/managerimpl carries them out. All are idempotent: a retry after a lost answer changes nothing more.
package manager

import (
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// The activities.
var (
	HostGet          = op.Activity[ObjectIn, Host]{Name: "host-get", Side: op.OnManager, ReadOnly: true, Profile: op.Repo}
	InstanceGet      = op.Activity[ObjectIn, Instance]{Name: "instance-get", Side: op.OnManager, ReadOnly: true, Profile: op.Repo}
	InstanceRegister = op.Activity[Instance, op.Nothing]{Name: "instance-register", Side: op.OnManager, Profile: op.Repo}
	InstanceAdopt    = op.Activity[InstanceAdoptIn, op.Nothing]{Name: "instance-record-adoption", Side: op.OnManager, Profile: op.Repo}
	InstanceObserved = op.Activity[InstanceObservedIn, op.Nothing]{Name: "instance-record-state", Side: op.OnManager, Profile: op.Repo}
	InstanceForget   = op.Activity[ObjectIn, op.Nothing]{Name: "instance-forget", Side: op.OnManager, Profile: op.Repo}
)

// ObjectIn names an object by its id.
type ObjectIn struct {
	ID string `json:"id"`
}

// Host is what workflows need of a host's record.
type Host struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	Binaries       []host.Binaries `json:"binaries"`
	Systemd        bool            `json:"systemd"`
	InstanceOSUser string          `json:"instance_os_user"`
	DataRoot       string          `json:"data_root"`
}

// Instance is what workflows need of an instance's record.
type Instance struct {
	ID            string    `json:"id"`
	HostID        string    `json:"host_id"`
	Name          string    `json:"name"`
	Managed       bool      `json:"managed"`
	Conflict      string    `json:"conflict,omitempty"`
	DataDirectory string    `json:"data_directory"`
	Port          int       `json:"port"`
	SocketDir     string    `json:"socket_dir,omitempty"`
	BinDir        string    `json:"bin_dir"`
	OSUser        string    `json:"os_user"`
	Unit          string    `json:"unit,omitempty"`
	Version       string    `json:"version,omitempty"`
	Edition       string    `json:"edition,omitempty"`
	Status        string    `json:"status"`
	DBMSUser      string    `json:"dbms_user,omitempty"`
	Database      string    `json:"database,omitempty"`
	Password      op.Secret `json:"password,omitempty"`
}

// Conn says how the agent reaches the instance with its DBMS account.
func (i Instance) Conn() host.PGConn {
	c := host.PGConn{Port: i.Port, Database: i.Database, User: i.DBMSUser, Password: i.Password}
	if i.Password == "" {
		c.SocketDir = i.SocketDir
	}
	return c
}

// InstanceAdoptIn makes a discovered instance a managed one.
type InstanceAdoptIn struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	DBMSUser string    `json:"dbms_user"`
	Database string    `json:"database"`
	Password op.Secret `json:"password,omitempty"`
}

// InstanceObservedIn writes down what a host step saw, so that pages show it before the next report.
type InstanceObservedIn struct {
	ID       string        `json:"id"`
	Observed host.Instance `json:"observed"`
}
