package instance

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/manager"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// CreateIn is the input of instance-create.
type CreateIn struct {
	HostID        string            `json:"host_id" format:"uuid" doc:"The host to create it on" x-group:"Place"`
	Name          string            `json:"name" minLength:"1" maxLength:"63" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Name of the instance in pgdrover" x-group:"Place"`
	Version       string            `json:"version" minLength:"1" maxLength:"20" pattern:"^[0-9]+(\\.[0-9]+)*$" doc:"Major version, e.g. 15; its server programs must be installed on the host" example:"15" x-group:"Server"`
	Edition       string            `json:"edition,omitempty" enum:"postgresql,pgpro-standard,pgpro-enterprise" default:"postgresql" doc:"PostgreSQL or an edition of Postgres Pro" x-group:"Server"`
	Port          int               `json:"port,omitempty" minimum:"1024" maximum:"65535" default:"5432" doc:"TCP port" x-group:"Place"`
	DataDirectory string            `json:"data_directory" minLength:"2" maxLength:"1000" doc:"Absolute path; it must not exist or be empty" x-group:"Place"`
	Superuser     string            `json:"superuser,omitempty" minLength:"1" maxLength:"63" default:"postgres" doc:"Name of the superuser, which pgdrover uses as its DBMS account" x-group:"Access"`
	Password      op.Secret         `json:"password" format:"password" minLength:"1" maxLength:"500" doc:"The superuser's password" example:"example-Passw0rd" x-group:"Access"`
	AuthMethod    string            `json:"auth_method,omitempty" enum:"scram-sha-256,md5,trust" default:"scram-sha-256" doc:"How clients authenticate (pg_hba.conf)" x-group:"Access"`
	ListenAddress string            `json:"listen_addresses,omitempty" maxLength:"500" default:"localhost" doc:"listen_addresses" x-group:"Access" x-advanced:"true"`
	Locale        string            `json:"locale,omitempty" maxLength:"100" default:"C.UTF-8" doc:"Locale of the cluster" x-group:"Server" x-advanced:"true"`
	Encoding      string            `json:"encoding,omitempty" maxLength:"30" default:"UTF8" doc:"Encoding of the template databases" x-group:"Server" x-advanced:"true"`
	DataChecksums bool              `json:"data_checksums,omitempty" default:"true" doc:"Checksums on data pages" x-group:"Server" x-advanced:"true"`
	Parameters    map[string]string `json:"parameters,omitempty" doc:"Initial configuration parameters, e.g. shared_buffers: 256MB" x-group:"Server" x-advanced:"true"`
}

// CreateOut names what was made.
type CreateOut struct {
	InstanceID string `json:"instance_id"`
	Version    string `json:"version"`
	Port       int    `json:"port"`
}

// minFree is what a fresh cluster with its first WAL segments needs, with some room.
const minFree = 200 << 20

// Create makes a new instance with initdb and starts it.
var Create = op.Define(op.Spec[CreateIn]{
	Name: "instance-create", Title: "Create instance", Group: "instance", Target: op.TargetHost, Creates: op.TargetInstance,
	Doc: "Initialises a new PostgreSQL instance on a host, configures and starts it, through systemd where the host " +
		"has it, else with pg_ctl.",
	Permission: "instance.create", Risk: op.RiskChange,
	Needs: []string{
		host.PortProbe.Name, host.FileStat.Name, host.FileMkdir.Name, host.CommandRun.Name, host.FileWrite.Name,
		host.PGCtl.Name, host.PGQuery.Name, host.FileRemove.Name,
	},
	Locks: func(in CreateIn) []op.Lock {
		return []op.Lock{
			{Kind: "host-port", ID: fmt.Sprintf("%s:%d", in.HostID, in.Port), Mode: op.Exclusive},
			{Kind: "host-directory", ID: in.HostID + ":" + path.Clean(in.DataDirectory), Mode: op.Exclusive},
			{Kind: "instance-name", ID: in.Name, Mode: op.Exclusive},
		}
	},
	Check:    checkCreate,
	Deadline: 10 * time.Minute,
	Undo:     "The server is stopped, and the directory it made and the record are removed.",
}, create)

func checkCreate(in CreateIn) []op.FieldError {
	var fe []op.FieldError
	if !path.IsAbs(in.DataDirectory) || path.Clean(in.DataDirectory) != in.DataDirectory || in.DataDirectory == "/" {
		fe = append(fe, op.FieldError{
			Field:   "data_directory",
			Message: "must be an absolute path without '..', '//' or a trailing '/'",
		})
	}
	if strings.ContainsAny(in.DataDirectory, "\n\r\x00'\\") {
		fe = append(fe, op.FieldError{Field: "data_directory", Message: "must not contain quotes, backslashes or line breaks"})
	}
	if strings.ContainsAny(in.Superuser, "\n\r\x00") || strings.HasPrefix(in.Superuser, "pg_") {
		fe = append(fe, op.FieldError{Field: "superuser", Message: "must not start with pg_ or contain line breaks"})
	}
	if strings.ContainsAny(in.Superuser, "\"'$\\") {
		fe = append(fe, op.FieldError{
			Field:   "superuser",
			Message: "must not contain quotes, $ or backslashes: initdb does not take them",
		})
	}
	if strings.ContainsAny(string(in.Password), "\n\r\x00") {
		fe = append(fe, op.FieldError{Field: "password", Message: "must not contain line breaks"})
	}
	if len(in.Parameters) > 200 {
		fe = append(fe, op.FieldError{Field: "parameters", Message: "at most 200"})
	}
	for _, name := range sortedKeys(in.Parameters) {
		if problem := checkParameter(name, in.Parameters[name]); problem != "" {
			fe = append(fe, op.FieldError{Field: "parameters." + name, Message: problem})
		}
	}
	return fe
}

func create(ctx workflow.Context, in CreateIn) (CreateOut, error) {
	c := creation{in: in, id: op.Self(ctx).ObjectID}
	for _, step := range []func(workflow.Context) error{
		c.plan, c.preflight, c.register, c.initdb, c.configure, c.start,
	} {
		if err := step(ctx); err != nil {
			return CreateOut{}, err
		}
	}
	return CreateOut{InstanceID: c.id, Version: c.bin.Version, Port: in.Port}, nil
}

// creation is one run of instance-create: what was asked and what was chosen for it.
type creation struct {
	in   CreateIn
	id   string
	host manager.Host
	bin  host.Binaries
	rec  manager.Instance
}

func (c *creation) plan(ctx workflow.Context) (err error) {
	if c.host, err = manager.HostGet.Do(ctx, "Look up the host", manager.ObjectIn{ID: c.in.HostID}); err != nil {
		return err
	}
	var have []string
	for _, b := range c.host.Binaries {
		have = append(have, b.Edition+" "+b.Version)
		if b.Edition == c.in.Edition && (b.Major == c.in.Version || b.Version == c.in.Version) && newer(b.Version, c.bin.Version) {
			c.bin = b
		}
	}
	if c.bin.Dir == "" {
		found := "none"
		if len(have) > 0 {
			found = strings.Join(have, ", ")
		}
		return op.Permanent("binaries-missing", "Host %s has no server programs of %s %s; found: %s.",
			"Install the package (e.g. postgresql-"+c.in.Version+") on the host, or choose an installed version.",
			c.host.Name, c.in.Edition, c.in.Version, found)
	}
	c.rec = manager.Instance{
		ID: c.id, HostID: c.host.ID, Name: c.in.Name, Managed: true, DataDirectory: c.in.DataDirectory, Port: c.in.Port,
		BinDir: c.bin.Dir, OSUser: c.host.InstanceOSUser, Version: c.bin.Version, Edition: c.bin.Edition, Status: "creating",
		DBMSUser: c.in.Superuser, Database: "postgres", Password: c.in.Password, SocketDir: "/tmp",
	}
	if c.host.Systemd {
		c.rec.Unit = "pgdrover-postgresql@" + c.id + ".service"
	}
	return nil
}

func (c *creation) preflight(ctx workflow.Context) error {
	probe, err := host.PortProbe.Do(ctx, fmt.Sprintf("Check that port %d is free", c.in.Port), host.PortProbeIn{Port: c.in.Port})
	if err != nil {
		return err
	}
	if probe.InUse {
		return op.Permanent("port-in-use", "Port %d on host %s is in use%s.", "Choose another port.",
			c.in.Port, c.host.Name, by(probe.Process))
	}
	st, err := host.FileStat.Do(ctx, "Check "+c.in.DataDirectory, host.FileStatIn{Path: c.in.DataDirectory})
	switch {
	case err != nil:
		return err
	case st.Exists && st.Type != "directory":
		return op.Permanent("not-a-directory", "%s is a %s.", "Choose another data directory.", c.in.DataDirectory, st.Type)
	case st.Exists && st.Entries > 0:
		return op.Permanent("directory-not-empty", "%s is not empty (%d entries).", "Choose another data directory or empty it.",
			c.in.DataDirectory, st.Entries)
	case st.FreeBytes < minFree:
		return op.Permanent(op.CodeDiskFull, "Only %d MiB are free below %s; a new instance needs %d MiB.",
			"Free some space or choose another file system.", st.FreeBytes>>20, c.in.DataDirectory, int64(minFree)>>20)
	}
	return nil
}

func (c *creation) register(ctx workflow.Context) error {
	op.OnUndo(ctx, func(ctx workflow.Context) error {
		_, err := manager.InstanceForget.Do(ctx, "Remove the record of "+c.in.Name, manager.ObjectIn{ID: c.id})
		return err
	})
	_, err := manager.InstanceRegister.Do(ctx, "Record instance "+c.in.Name, c.rec)
	return err
}

func (c *creation) initdb(ctx workflow.Context) error {
	dir := c.in.DataDirectory
	op.OnUndo(ctx, func(ctx workflow.Context) error {
		_, err := host.FileRemove.Do(ctx, "Remove "+dir, host.FileRemoveIn{
			Path: dir, Recursive: true, IfCreatedBy: op.Self(ctx).Operation,
		})
		return err
	})
	if _, err := host.FileMkdir.Do(ctx, "Make "+dir, host.FileMkdirIn{
		Path: dir, Mode: "0700", Owner: c.rec.OSUser, MustBeEmpty: true,
	}); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + dir, "--username=" + c.in.Superuser, "--pwfile={secret:password}", "--encoding=" + c.in.Encoding,
		"--locale=" + c.in.Locale, "--auth-local=" + c.in.AuthMethod, "--auth-host=" + c.in.AuthMethod,
	}
	if c.in.DataChecksums {
		args = append(args, "--data-checksums")
	}
	_, err := host.CommandRun.Do(ctx, "Initialise the cluster with initdb "+c.bin.Version, host.CommandRunIn{
		Program: path.Join(c.bin.Dir, "initdb"), Args: args, OSUser: c.rec.OSUser, ResetDir: dir, TimeoutSeconds: 600,
		SecretFiles: map[string]op.Secret{"password": c.in.Password},
	})
	return err
}

func (c *creation) configure(ctx workflow.Context) error {
	if _, err := host.FileWrite.Do(ctx, "Write the initial parameters", host.FileWriteIn{
		Path: path.Join(c.in.DataDirectory, "postgresql.auto.conf"), Content: autoConf(c.in), Mode: "0600", Owner: c.rec.OSUser,
	}); err != nil || c.rec.Unit == "" {
		return err
	}
	env := fmt.Sprintf("PGBIN=%s\nPGDATA=%s\n", c.rec.BinDir, c.rec.DataDirectory)
	_, err := host.FileWrite.Do(ctx, "Write the service's settings", host.FileWriteIn{
		Path: "/etc/pgdrover/instances/" + c.id + ".env", Content: []byte(env), Mode: "0644",
	})
	return err
}

func (c *creation) start(ctx workflow.Context) error {
	op.OnUndo(ctx, func(ctx workflow.Context) error {
		_, err := host.PGCtl.Do(ctx, "Stop the server", c.ctl("stop"))
		return err
	})
	out, err := host.PGCtl.Do(ctx, "Start "+where(c.rec), c.ctl("start"))
	if err != nil || op.DryRun(ctx) {
		return err
	}
	if _, err := host.PGQuery.Do(ctx, "Check that it answers", host.PGQueryIn{
		Conn: c.rec.Conn(), SQL: "SELECT 1", MaxRows: 1, TimeoutSeconds: 10,
	}); err != nil {
		return err
	}
	return observed(ctx, c.id, out.Instance)
}

func (c *creation) ctl(action string) host.PGCtlIn {
	return host.PGCtlIn{
		Action: action, Mode: "immediate", BinDir: c.rec.BinDir, DataDirectory: c.rec.DataDirectory, OSUser: c.rec.OSUser,
		Unit: c.rec.Unit,
	}
}

func by(process string) string {
	if process == "" {
		return ""
	}
	return " by " + process
}
