package embedtemporal

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

const uiPatience = 5 * time.Second

// ui is Temporal's web interface on a loopback port.
type ui struct {
	server  *uiserver.Server
	address string
	secret  string
	ended   chan struct{}
}

func startUI(ctx context.Context, cfg *Config, ids *identities, frontend, secret string) (*ui, error) {
	ca, cert, key, err := ids.uiPEM()
	if err != nil {
		return nil, err
	}
	// The UI ends the whole process when it cannot listen. So the port is tried just before, and it comes from below the
	// range that the kernel gives to outgoing connections.
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	u := &ui{
		address: net.JoinHostPort(loopback, strconv.Itoa(port)),
		secret:  secret,
		ended:   make(chan struct{}),
	}
	u.server = quietly(func() *uiserver.Server {
		return uiserver.NewServer(server_options.WithConfigProvider(&uiconfig.Config{
			Host: loopback, Port: port, PublicPath: cfg.UIPublicPath, EnableUI: true,
			TemporalGRPCAddress: frontend,
			TLS: uiconfig.TLS{
				CaData: ca, CertData: cert, KeyData: key, EnableHostVerification: true, ServerName: serverName,
			},
			DefaultNamespace:    cfg.Namespace,
			DisableWriteActions: true,
			DisableNewsFetch:    true, // it would call home
			HideLogs:            true,
			CORS:                uiconfig.CORS{CookieInsecure: true}, // our own server decides about TLS
		}))
	})
	go func() {
		defer close(u.ended)
		_ = u.server.Start() // blocks; it reports no error but ends the process, see above
	}()
	if err := u.await(ctx); err != nil {
		u.stop()
		return nil, err
	}
	return u, nil
}

var quietMu sync.Mutex // two at once would restore each other's silence

// quietly silences the standard logger while the UI is built: it tells each certificate it loaded.
func quietly[T any](build func() T) T {
	quietMu.Lock()
	defer quietMu.Unlock()
	old := stdlog.Writer()
	stdlog.SetOutput(io.Discard)
	defer stdlog.SetOutput(old)
	return build()
}

func (u *ui) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, uiPatience)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.address)
		if err == nil {
			return conn.Close()
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			return fmt.Errorf("wait for Temporal's UI on %s: %w", u.address, err)
		}
	}
}

func (u *ui) stop() {
	u.server.Stop()
	<-u.ended
}

// handler passes requests on to the UI with the secret that opens the frontend.
func (u *ui) handler() http.Handler {
	target := &url.URL{Scheme: "http", Host: u.address}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			// The caller's own credentials are none of Temporal's business.
			r.Out.Header.Del("Authorization-Extras")
			r.Out.Header.Set("Authorization", "Bearer "+u.secret)
			keepCookies(r.Out, "_csrf")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "Temporal's UI does not answer: "+err.Error(), http.StatusBadGateway)
		},
	}
}

// keepCookies drops all cookies but the named one.
func keepCookies(r *http.Request, name string) {
	kept := r.CookiesNamed(name)
	r.Header.Del("Cookie")
	for _, c := range kept {
		r.AddCookie(c)
	}
}
