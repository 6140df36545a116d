//go:build !crashpoint

// Package crashpoint lets the crash matrix stop a process at an exact step. In ordinary builds it is nothing; with
// the build tag crashpoint each step asks the harness, which may kill the asking process, or another one, meanwhile.
package crashpoint

import (
	"context"

	"github.com/pgdrover/pgdrover/workflows/op"
)

// Hook returns nil: there are no crash points in ordinary builds.
func Hook(string) func(ctx context.Context, phase string, ref op.StepRef) { return nil }
