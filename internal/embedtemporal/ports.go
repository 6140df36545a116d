package embedtemporal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const loopback = "127.0.0.1"

// The range lies below the kernel's ephemeral ports, so that no outgoing connection takes a port between our look and
// the server's.
const firstPort, lastPort = 10000, 19999

// freePorts finds different free ports on the loopback address.
func freePorts(ctx context.Context, n int) ([]int, error) {
	ports := make([]int, 0, n)
	for tries := 0; len(ports) < n; tries++ {
		if tries == 100+n {
			return nil, fmt.Errorf("find %d free ports on %s between %d and %d: all tried are taken", n, loopback, firstPort, lastPort)
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // not a secret
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			continue
		}
		defer l.Close()
		ports = append(ports, port)
	}
	return ports, nil
}

func freePort(ctx context.Context) (int, error) {
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}
