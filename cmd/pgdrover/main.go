// Command pgdrover is the manager, and the command line for people and scripts.
package main

import (
	"fmt"
	"os"

	"github.com/pgdrover/pgdrover/cmd/internal/cli"
	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	root := &cobra.Command{Use: "pgdrover", Short: "Manages fleets of PostgreSQL", Version: version}
	root.AddCommand(managerCommand(), openAPICommand())
	c := cli.New(version)
	if err := c.Add(root); err != nil {
		fmt.Fprintln(os.Stderr, "pgdrover: "+err.Error())
		os.Exit(1)
	}
	os.Exit(c.Main(root))
}
