package agent

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl"
	"gopkg.in/yaml.v3"
)

// The hidden subcommands of the agent's program.
const (
	JobRunnerCommand  = hostimpl.JobRunnerCommand
	ExecServerCommand = hostimpl.ExecServerCommand
)

// RunJob is the runner of a detached job, in a process of its own; it returns that process's exit code.
func RunJob(ctx context.Context, folder string) int { return hostimpl.RunJob(ctx, folder) }

// ExecServer becomes the server of an instance that runs as a unit, if the policy allows its program.
func ExecServer(cfg Config) error {
	policy, err := hostimpl.LoadPolicy(cfg.PolicyFile)
	if err != nil {
		return err
	}
	return hostimpl.ExecServer(policy)
}

// Look collects the facts of this host once, without a manager. Nothing is kept: a look by hand must not need the
// agent's rights to its state.
func Look(ctx context.Context, cfg Config) (host.Facts, error) {
	policy, err := hostimpl.LoadPolicy(cfg.PolicyFile)
	if err != nil {
		return host.Facts{}, err
	}
	cfg.StateDir = ""
	return NewCollector(cfg, policy, nil).Facts(ctx)
}

// EnrollThis enrols this host under its own name.
func EnrollThis(ctx context.Context, cfg Config, token string, force bool) (hostID string, err error) {
	facts, err := Look(ctx, cfg)
	if err != nil {
		return "", err
	}
	return Enroll(ctx, token, EnrollOptions{
		StateDir: cfg.StateDir, Gateway: cfg.Gateway, Hostname: facts.OS.Hostname, MachineID: facts.OS.MachineID,
		Version: cfg.Version, Force: force,
	})
}

// DescribePolicy checks a policy file and returns the policy in force as text.
func DescribePolicy(file string) (string, error) {
	p, err := hostimpl.LoadPolicy(file)
	if err != nil {
		return "", err
	}
	out, err := yaml.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("print policy: %w", err)
	}
	head := ""
	if _, err := os.Stat(file); err != nil {
		head = fmt.Sprintf("# %s does not exist: this is the default\n", file)
	}
	return fmt.Sprintf("%s%s# folders of PostgreSQL programs found: %s\n", head, out, strings.Join(p.Folders(), ", ")), nil
}
