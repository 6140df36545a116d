// Command pgdrover is the manager, and the command line for people and scripts.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	root := &cobra.Command{
		Use: "pgdrover", Short: "Manages fleets of PostgreSQL", Version: version, SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(managerCommand(), openAPICommand())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "pgdrover: "+err.Error())
		os.Exit(1)
	}
}
