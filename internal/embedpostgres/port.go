package embedpostgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
)

// The range lies below the kernel's ephemeral ports, so that no outgoing connection takes our port while we are down.
const firstPort, lastPort = 20000, 31999

// pickPort keeps the port of earlier starts while it is free, else finds another one.
func pickPort(ctx context.Context, kept int) (int, error) {
	if kept != 0 && portFree(ctx, kept) {
		return kept, nil
	}
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // not a secret
		if port != kept && portFree(ctx, port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port on 127.0.0.1 between %d and %d: all tried are taken", firstPort, lastPort)
}

func portFree(ctx context.Context, port int) bool {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func readPort(path string) (int, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read port from %s: %w", path, err)
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("read port from %s: %q is none", path, raw)
	}
	return port, nil
}
