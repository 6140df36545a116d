package bench_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/stretchr/testify/require"
)

// An agent with nothing to do but its own look around.
func BenchmarkAgentIdle(b *testing.B) {
	t := theBed(b)
	const long = 30 * time.Second
	most, begin := 0.0, time.Now()
	before := cpu(b, t.agent.PID())
	watch(long, func() { most = max(most, memory(b, t.agent.PID())) })
	used := (cpu(b, t.agent.PID()) - before).Seconds() / time.Since(begin).Seconds() * 100
	report(b, "idle agent, resident", "MB", most*1.048576, 40)
	report(b, "idle agent, of a core", "%", used, 0.5)
}

// From the command to the line that says that it is ready; the first start makes repository, Temporal and identity.
func BenchmarkStandalone(b *testing.B) {
	bin := programs(b)
	port, err := system.FreePort(b.Context())
	require.NoError(b, err)
	home := filepath.Join(base, "home")
	for _, which := range []string{"first", "second"} {
		begin := time.Now()
		cmd := exec.CommandContext(b.Context(), filepath.Join(bin, "pgdrover-standalone"))
		cmd.Env = append(os.Environ(), "PGDROVER_HOME="+home, "PGDROVER_PORT="+strconv.Itoa(port),
			"PGDROVER_ADMIN_PASSWORD="+system.AdminPassword)
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		out, err := cmd.StdoutPipe()
		require.NoError(b, err)
		require.NoError(b, cmd.Start())
		ready := awaitLine(out, "pgdrover is ready")
		took := time.Since(begin)
		if ready {
			require.NoError(b, system.AwaitReady(b.Context(), "http://127.0.0.1:"+strconv.Itoa(port)))
			report(b, "standalone ready, "+which+" start", "s", took.Seconds(), 5)
			report(b, "  standalone, resident", "MB", memory(b, cmd.Process.Pid)*1.048576, 0)
		}
		require.NoError(b, cmd.Process.Signal(syscall.SIGTERM))
		_, _ = io.Copy(io.Discard, out)
		require.NoError(b, cmd.Wait())
		require.True(b, ready, "it never said that it is ready")
	}
}

func awaitLine(r io.Reader, text string) bool {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return true
		}
	}
	return false
}
