// Command pgdrover-standalone is the whole of pgdrover in one command for one machine: manager, Temporal with its UI,
// a repository of its own, and an agent for this machine. State is in one folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	c := config{}
	root := &cobra.Command{
		Use: "pgdrover-standalone", Short: "Run pgdrover with everything it needs on this machine", Version: version,
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		Long: "Runs manager, Temporal with its UI, a repository of its own and an agent for this machine.\n\n" +
			"PGDROVER_HOME            folder of all state (default ./.pgdrover)\n" +
			"PGDROVER_PORT            port of web app and API (default 8080)\n" +
			"PGDROVER_ADMIN_PASSWORD  password of the first administrator (default: made up and printed once)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, func() {
				// A second Ctrl-C ends at once.
				stop()
			})
			return run(ctx, c)
		},
	}
	f := root.Flags()
	f.StringVar(&c.home, "home", "", "folder of all state (PGDROVER_HOME)")
	f.IntVar(&c.port, "port", 0, "port of web app and API (PGDROVER_PORT)")
	f.StringVar(&c.bind, "bind", "127.0.0.1", "address to listen on for people; agents of other hosts need --bind-agents")
	f.StringVar(&c.bindAgents, "bind-agents", "127.0.0.1", "address to listen on for agents")
	f.IntVar(&c.agentPort, "agent-port", 0, "port for agents (default: a free one, kept)")
	f.BoolVar(&c.noAgent, "no-agent", false, "start no agent for this machine")
	f.StringVar(&c.level, "log-level", "warn", "debug, info, warn or error")
	if err := root.Execute(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "pgdrover-standalone: "+err.Error())
		os.Exit(1)
	}
}
