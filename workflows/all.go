// Package workflows lists the operations. A new one is a file under its domain and a line here.
package workflows

import (
	"github.com/pgdrover/pgdrover/workflows/host"
	"github.com/pgdrover/pgdrover/workflows/instance"
	"github.com/pgdrover/pgdrover/workflows/op"
)

// All is every operation, in the order in which pages list them.
var All = []op.Operation{
	instance.Create,
	instance.Adopt,
	instance.Start,
	instance.Stop,
	instance.Restart,
	instance.Reload,
	instance.Query,
	instance.Delete,
	host.Command,
}

// ByName finds an operation; nil if there is none.
func ByName(name string) op.Operation {
	for _, o := range All {
		if o.Info().Name == name {
			return o
		}
	}
	return nil
}
