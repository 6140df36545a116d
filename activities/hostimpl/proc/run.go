package proc

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
)

// Output runs a small program of ours to look at something, to its end or the end of ctx, and returns what it printed.
func Output(ctx context.Context, cred *syscall.Credential, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("run %s: %w", program, err)
	}
	return string(out), nil
}

// Detach starts a program in a session of its own and does not wait for it; no signal to our group reaches it. The
// end of no context does: that it outlives us is the point.
func Detach(argv, env []string) error {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // see above
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", argv[0], err)
	}
	return cmd.Process.Release()
}

// RunDetached is Detach for a program that ends at once, because it forks; its end is waited for.
func RunDetached(argv, env []string) error {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // see Detach
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	return nil
}
