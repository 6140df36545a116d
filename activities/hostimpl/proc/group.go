package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// poll is how often the end of a foreign process is looked for.
const poll = 50 * time.Millisecond

// Members lists the living members of the process group that id leads or led. A member is never older than the
// leader, and while a member lives the leader's number is not given to another process, so a group of the same
// number made by a stranger is not taken for it.
func Members(id ID) []int {
	if id.PID <= 1 || (id.Boot != "" && id.Boot != BootID()) {
		return nil
	}
	if s, err := Read(id.PID); err == nil && s.Start != id.Start {
		return nil
	}
	var out []int
	for _, pid := range All() {
		s, err := Read(pid)
		if err == nil && s.PGRP == id.PID && s.Start >= id.Start && !s.Dead() {
			out = append(out, pid)
		}
	}
	return out
}

// EndGroup ends all members of the group that id leads: politely first, after grace by force. It returns when none
// lives any more.
func EndGroup(ctx context.Context, id ID, grace time.Duration) error {
	if len(Members(id)) == 0 {
		return nil
	}
	if err := signalGroup(id, syscall.SIGTERM); err != nil {
		return err
	}
	force := time.NewTimer(grace)
	defer force.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if len(Members(id)) == 0 {
				return nil
			}
		case <-force.C:
			if err := signalGroup(id, syscall.SIGKILL); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("end process group %d: %w", id.PID, context.Cause(ctx))
		}
	}
}

func signalGroup(id ID, sig syscall.Signal) error {
	if len(Members(id)) == 0 {
		return nil
	}
	if err := syscall.Kill(-id.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to process group %d: %w", sig, id.PID, err)
	}
	return nil
}

// WithEnviron finds living processes whose environment holds the assignment; a process started by us is found so
// even when we were killed before we could note its number.
func WithEnviron(assignment string) []ID {
	want := []byte(assignment)
	var out []ID
	for _, pid := range All() {
		if pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err != nil {
			continue
		}
		for kv := range bytes.SplitSeq(b, []byte{0}) {
			if bytes.Equal(kv, want) {
				if id, err := Identify(pid); err == nil {
					out = append(out, id)
				}
				break
			}
		}
	}
	return out
}
