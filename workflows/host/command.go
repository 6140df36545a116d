// Package host holds the operations on hosts, one file each.
package host

import (
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/workflow"
)

// CommandIn is the input of host-command.
type CommandIn struct {
	HostID         string   `json:"host_id" format:"uuid" doc:"The host"`
	Program        string   `json:"program" minLength:"1" maxLength:"1000" pattern:"^/" doc:"Absolute path of a program that the host's policy file allows" example:"/usr/bin/uptime"`
	Args           []string `json:"args,omitempty" maxItems:"100" doc:"Arguments, passed as they are: no shell reads them"`
	TimeoutSeconds int      `json:"timeout_seconds,omitempty" minimum:"1" maximum:"86400" default:"60" doc:"The program is ended after this time"`
}

// Command runs an allow-listed program on a host.
var Command = op.Define(op.Spec[CommandIn]{
	Name: "host-command", Title: "Run program", Group: "host", Target: op.TargetHost,
	Doc: "Runs a program of the host's allow-list (its policy file, which only the host's owner can change) and keeps its " +
		"output.",
	Permission: "host.command", Risk: op.RiskChange, Needs: []string{host.CommandRun.Name},
	Locks:    func(in CommandIn) []op.Lock { return []op.Lock{{Kind: "host", ID: in.HostID, Mode: op.Shared}} },
	Deadline: 24 * time.Hour, Schedulable: true,
	Undo: "A canceled program is ended; what it did is not undone.",
}, command)

func command(ctx workflow.Context, in CommandIn) (host.CommandRunOut, error) {
	return host.CommandRun.Do(ctx, "Run "+in.Program, host.CommandRunIn{
		Program: in.Program, Args: in.Args, TimeoutSeconds: in.TimeoutSeconds, Policy: "command",
	})
}
