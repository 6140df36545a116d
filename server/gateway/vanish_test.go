package gateway

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
)

// network is a wire that can be cut without either end being told.
type network struct {
	addr string
	down atomic.Bool
}

func newNetwork(t *testing.T, to string) *network {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &network{addr: l.Addr().String()}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(ctx, "tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _ = in.Close(); _ = out.Close() })
			wg.Go(func() { n.carry(ctx, out, in) })
			wg.Go(func() { n.carry(ctx, in, out) })
		}
	})
	t.Cleanup(func() { stop(); _ = l.Close(); wg.Wait() })
	return n
}

func (n *network) carry(ctx context.Context, to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		k, err := from.Read(buf)
		if n.down.Load() {
			<-ctx.Done()
			return
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:k]); err != nil {
			return
		}
	}
}

func TestPeerThatVanishesIsNoticed(t *testing.T) {
	t.Parallel()
	fake := newFake()
	f := newFixture(t, fake, quick, func(c *Config) { c.timing.ping = 300 * time.Millisecond })
	a := f.enroll(t, "a")
	wire := newNetwork(t, f.addr)
	c := workflowservice.NewWorkflowServiceClient(a.dial(t, wire.addr))
	held := pollAsync(numbered(t.Context(), "1", ""), c, a.queue(), "s")
	eventually(t, 5*time.Second, "poll at Temporal", func() bool { return fake.polls(a.queue()) == 1 })
	eventually(t, 5*time.Second, "online", func() bool { return f.online(t, a) })

	// The task goes out on a wire that is dead, and nobody knows.
	wire.down.Store(true)
	fake.give(t, a.queue(), fake.task(t, uuid.Nil, "x"))
	eventually(t, 10*time.Second, "offline", func() bool { return !f.online(t, a) })
	require.Empty(t, fake.failures())

	// The agent comes back another way and says that it never got an answer.
	got := await(t, pollAsync(numbered(t.Context(), "2", "1"), a.temporal(t), a.queue(), "s"))
	require.NoError(t, got.err)
	require.Equal(t, "token-1", stripSeal(got.resp.GetTaskToken()))
	select {
	case r := <-held:
		require.Error(t, r.err)
	default:
	}
}
