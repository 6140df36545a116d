// Command pgdrover-agent runs on a database host and carries out there what the manager asks for. This file is flags
// and wiring; the agent itself is in worker/agent.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/pgdrover/pgdrover/internal/crashpoint"
	"github.com/pgdrover/pgdrover/worker/agent"
	"github.com/spf13/cobra"
)

// version is set by the build (-ldflags "-X main.version=...").
var version = "development"

// memoryLimit keeps the agent a small guest on a database's host; the collector works harder before it is passed.
const memoryLimit = 32 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgdrover-agent:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "pgdrover-agent",
		Short:         "The pgdrover agent of a database host",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	file := root.PersistentFlags().String("config", envOr("PGDROVER_AGENT_CONFIG", agent.DefaultConfigFile), "configuration file")
	load := func() (agent.Config, error) {
		cfg, err := agent.LoadConfig(*file, os.Environ())
		cfg.Version = version
		cfg.Logger = cfg.MakeLogger(os.Stderr)
		return cfg, err
	}
	root.AddCommand(
		runCommand(load),
		enrollCommand(load),
		factsCommand(load),
		policyCommand(load),
		jobRunnerCommand(),
		execServerCommand(load),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
		},
	)
	return root
}

func envOr(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}

type loader func() (agent.Config, error)

func runCommand(load loader) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the agent", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(memoryLimit)
				debug.SetGCPercent(50)
			}
			slog.SetDefault(cfg.Logger)
			cfg.StepHook = crashpoint.Hook("agent")
			return agent.Run(cmd.Context(), cfg)
		},
	}
}

func enrollCommand(load loader) *cobra.Command {
	var tokenFile string
	var force bool
	cmd := &cobra.Command{
		Use:   "enroll [TOKEN]",
		Short: "Make this host known to the manager by a one-time token",
		Args:  cobra.MaximumNArgs(1),
		Long: "Make this host known to the manager by a one-time token.\n\nA token on the command line can be seen by other users " +
			"of the host while the command runs; --token-file, PGDROVER_AGENT_TOKEN or standard input (TOKEN -) avoid that.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			token, err := readToken(cmd.InOrStdin(), args, tokenFile)
			if err != nil {
				return err
			}
			id, err := agent.EnrollThis(cmd.Context(), cfg, token, force)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "enrolled as host %s; start the agent with `systemctl enable --now pgdrover-agent` "+
				"or `pgdrover-agent run`\n", id)
			return nil
		},
	}
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file that holds the token")
	cmd.Flags().BoolVar(&force, "force", false, "replace an identity that this host has already")
	return cmd
}

func readToken(stdin io.Reader, args []string, file string) (string, error) {
	switch {
	case len(args) == 1 && file != "":
		return "", errors.New("give the token either as an argument or by --token-file")
	case len(args) == 1 && args[0] != "-":
		return args[0], nil
	case len(args) == 1:
		b, err := io.ReadAll(io.LimitReader(stdin, 64<<10))
		return string(b), err
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		return string(b), nil
	}
	if t := os.Getenv("PGDROVER_AGENT_TOKEN"); t != "" {
		return t, nil
	}
	return "", errors.New("give the enrolment token as an argument, by --token-file or in PGDROVER_AGENT_TOKEN")
}

func factsCommand(load loader) *cobra.Command {
	return &cobra.Command{
		Use: "facts", Short: "Print what the agent finds on this host, without a manager", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			facts, err := agent.Look(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(facts)
		},
	}
}

func policyCommand(load loader) *cobra.Command {
	parent := &cobra.Command{Use: "policy", Short: "What the manager may do on this host"}
	parent.AddCommand(&cobra.Command{
		Use: "check [FILE]", Short: "Check the policy file and print the policy in force", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			file := cfg.PolicyFile
			if len(args) == 1 {
				file = args[0]
			}
			text, err := agent.DescribePolicy(file)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), text)
			return nil
		},
	})
	return parent
}

func jobRunnerCommand() *cobra.Command {
	return &cobra.Command{
		Use: agent.JobRunnerCommand + " FOLDER", Hidden: true, Args: cobra.ExactArgs(1),
		Run: func(cmd *cobra.Command, args []string) { os.Exit(agent.RunJob(cmd.Context(), args[0])) },
	}
}

func execServerCommand(load loader) *cobra.Command {
	return &cobra.Command{
		Use: agent.ExecServerCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			return agent.ExecServer(cfg)
		},
	}
}
