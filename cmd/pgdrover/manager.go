package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pgdrover/pgdrover/cmd/internal/app"
	"github.com/pgdrover/pgdrover/server/api"
	"github.com/spf13/cobra"
)

func managerCommand() *cobra.Command {
	var file, address, namespace, level, format string
	cmd := &cobra.Command{
		Use: "manager", Short: "Run a manager", Args: cobra.NoArgs,
		Long: "Runs a manager on an outside Temporal cluster and repository. Any number may run side by side.\n" +
			"Settings come from the file of --config and from PGDROVER_... variables; see docs/configuration.md.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := app.Load(file)
			if err != nil {
				return err
			}
			if address != "" {
				cfg.Temporal.Address = address
			}
			if namespace != "" {
				cfg.Temporal.Namespace = namespace
			}
			log, err := app.Logger(level, format)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			m, err := app.Start(ctx, cfg, app.Options{Version: version, Log: log, AgentProgram: app.AgentProgram()})
			if err != nil {
				return err
			}
			err = wait(ctx, m)
			sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
			defer cancel()
			m.Stop(sctx)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file (YAML)")
	f.StringVar(&address, "temporal-address", "", "host:port of Temporal's frontend")
	f.StringVar(&namespace, "temporal-namespace", "", "Temporal namespace (default pgdrover)")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&format, "log-format", "text", "text or json")
	return cmd
}

func wait(ctx context.Context, m *app.Manager) error {
	ready := m.Ready()
	for {
		select {
		case <-ready:
			ready = nil
			m.Announce(os.Stdout)
		case err := <-m.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func openAPICommand() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the OpenAPI document", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := api.Document()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
}
