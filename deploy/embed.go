// Package deploy carries the files that an installation puts on a host, so that the manager can hand them out.
package deploy

import "embed"

// Files are the agent's units, example configuration and install script.
//
//go:embed agent
var Files embed.FS
