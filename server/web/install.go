package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"

	"github.com/pgdrover/pgdrover/deploy"
	"github.com/pgdrover/pgdrover/server/api"
	"github.com/pgdrover/pgdrover/server/auth"
)

// installFiles are handed out to hosts that are about to be enrolled. Nothing in them is secret.
var installFiles = []string{"agent.yaml", "agent-policy.yaml", "pgdrover-agent.service", "pgdrover-postgresql@.service"}

// MountInstall serves the agent's program and its install script; the one-line install command uses it.
func MountInstall(s *api.Server, program string) error {
	b, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the agent's program: %w", err)
	}
	sum := sha256.Sum256(b)
	script, err := deploy.Files.ReadFile("agent/install.sh")
	if err != nil {
		return fmt.Errorf("read the install script: %w", err)
	}
	s.Raw("GET /install/pgdrover-agent", auth.Public, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeFile(w, r, program)
	})
	s.Raw("GET /install/agent.sh", auth.Public, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x-shellscript; charset=utf-8")
		base := api.BaseURL(r.TLS != nil, r.Host)
		if base == "" {
			api.NotFound(w, r)
			return
		}
		_, _ = strings.NewReplacer("@BASE@", base, "@SHA256@", hex.EncodeToString(sum[:]), "@PLATFORM@", platform()).
			WriteString(w, string(script))
	})
	for _, f := range installFiles {
		s.Raw("GET /install/"+f, auth.Public, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, deploy.Files, "agent/"+f)
		})
	}
	return nil
}

// platform as uname says it.
func platform() string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	return "Linux-" + machine
}
