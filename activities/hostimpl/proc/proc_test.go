package proc

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func start(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "sleep 600 & sleep 600")
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	return cmd
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	self, err := Identify(os.Getpid())
	require.NoError(t, err)
	require.True(t, self.Alive())
	other := self
	other.Start++
	require.False(t, other.Alive(), "the number alone says nothing")
	other = self
	other.Boot = "another"
	require.False(t, other.Alive())
	require.False(t, ID{}.Alive())
	_, err = Identify(1 << 30)
	require.ErrorIs(t, err, ErrGone)
	s, err := Read(os.Getpid())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), s.StartedAt(), time.Hour)
	require.Equal(t, os.Getppid(), s.PPID)
	uid, ok := OwnerUID(os.Getpid())
	require.True(t, ok)
	require.Equal(t, os.Getuid(), uid)
	require.True(t, SameWorld(os.Getpid()))
}

func TestZombieIsDead(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/true")
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		_, err := Identify(cmd.Process.Pid)
		return err != nil
	}, 5*time.Second, time.Millisecond)
	require.NoError(t, cmd.Wait())
}

func TestEndGroup(t *testing.T) {
	t.Parallel()
	cmd := start(t)
	id, err := Identify(cmd.Process.Pid)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(Members(id)) == 3 }, 5*time.Second, 5*time.Millisecond)
	// The leader gone, its group is still known by its number.
	require.NoError(t, syscall.Kill(id.PID, syscall.SIGKILL))
	_ = cmd.Wait()
	require.False(t, id.Alive())
	require.Len(t, Members(id), 2)
	require.NoError(t, EndGroup(t.Context(), id, 5*time.Second))
	require.Empty(t, Members(id))
	require.NoError(t, EndGroup(t.Context(), id, 5*time.Second))
	stranger := ID{PID: os.Getpid(), Start: 1}
	require.Empty(t, Members(stranger), "a group that another process leads is not ours")
}

func TestWithEnviron(t *testing.T) {
	t.Parallel()
	cmd := start(t, "PGDROVER_MARK=here")
	require.Eventually(t, func() bool {
		for _, id := range WithEnviron("PGDROVER_MARK=here") {
			if id.PID == cmd.Process.Pid {
				return true
			}
		}
		return false
	}, 5*time.Second, 5*time.Millisecond)
	require.Empty(t, WithEnviron("PGDROVER_MARK=her"))
}

func TestListening(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		port := l.Addr().(*net.TCPAddr).Port
		used, who := Listening(port)
		require.True(t, used)
		require.Contains(t, who, "process")
		require.NoError(t, l.Close())
		used, _ = Listening(port)
		require.False(t, used)
	}
}
