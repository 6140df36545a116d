package system

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/pgdrover/pgdrover/internal/embedtemporal"
	"github.com/pgdrover/pgdrover/server/admit"
)

// roleEnv makes a copy of the running program a Temporal process.
const roleEnv = "PGDROVER_E2E_ROLE"

// Main must be called first by every program and TestMain that starts systems: it never returns in the copies that
// are to be Temporal.
func Main() {
	if os.Getenv(roleEnv) != "temporal" {
		return
	}
	if err := runTemporal(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runTemporal() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	port, err := strconv.Atoi(os.Getenv("E2E_PG_PORT"))
	if err != nil {
		return fmt.Errorf("read port: %w", err)
	}
	s, err := embedtemporal.Start(ctx, embedtemporal.Config{
		Host: "127.0.0.1", Port: port, User: "pgdrover", Password: os.Getenv("E2E_PG_PASSWORD"),
		SearchAttributes: admit.SearchAttributes(),
		Logger:           slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", os.Getenv("E2E_LISTEN"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go accept(l, s)
	<-ctx.Done()
	return s.Stop(context.WithoutCancel(ctx))
}

// accept takes plain connections to a fixed port and hands their bytes to the frontend, whose certificates change
// with each start: it stands in for an outside cluster.
func accept(l net.Listener, s *embedtemporal.Server) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := tls.Dial("tcp", s.FrontendAddress(), s.ClientTLS()) //nolint:noctx // as long as the other side
			if err != nil {
				return
			}
			defer func() { _ = out.Close() }()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			_, _ = io.Copy(in, out)
		}()
	}
}
