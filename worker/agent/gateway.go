package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// callTimeout bounds a call that has no limit of its own.
const callTimeout = 20 * time.Second

// maxAnswer is far above any answer of the gateway.
const maxAnswer = 8 << 20

// GatewayError is an answer that is no success.
type GatewayError struct {
	Status int
	Code   string
	Detail string
}

func (e *GatewayError) Error() string {
	return fmt.Sprintf("the gateway answered %d %s: %s", e.Status, e.Code, e.Detail)
}

// refusedCodes are the gateway's ways to say that this identity is of no more use.
var refusedCodes = []string{"revoked", "certificate-revoked", "certificate-unknown", "certificate-expired", "host-revoked"}

// refused tells that the manager no longer knows this agent.
func refused(err error) bool {
	var g *GatewayError
	return errors.As(err, &g) && (g.Status == http.StatusUnauthorized || g.Status == http.StatusForbidden) &&
		slices.Contains(refusedCodes, g.Code)
}

// pointless tells that the same request will never succeed.
func pointless(err error) bool {
	var g *GatewayError
	if !errors.As(err, &g) || refused(err) {
		return false
	}
	switch g.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusPreconditionFailed:
		return false
	}
	return g.Status >= 400 && g.Status < 500
}

// gateway is the HTTPS side of the manager's gateway.
type gateway struct {
	base      string
	transport *http.Transport
	client    *http.Client
	// onAnswer hears whether the identity was accepted.
	onAnswer func(err error)
	calls    atomic.Int64
}

func newGateway(address string, tr *http.Transport) *gateway {
	tr.MaxIdleConns, tr.IdleConnTimeout, tr.TLSHandshakeTimeout = 4, 90*time.Second, 10*time.Second
	tr.Proxy = nil
	return &gateway{
		base:      "https://" + address,
		transport: tr,
		onAnswer:  func(error) {},
		client: &http.Client{
			Transport:     tr,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (g *gateway) close() { g.transport.CloseIdleConnections() }

// post sends JSON and reads JSON; out may be nil.
func (g *gateway) post(ctx context.Context, path string, in, out any) error {
	_, err := g.callWith(ctx, http.MethodPost, path, nil, in, out)
	return err
}

func (g *gateway) callWith(ctx context.Context, method, path string, header http.Header, in, out any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, fmt.Errorf("call %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.base+path, body)
	if err != nil {
		return 0, fmt.Errorf("call %s: %w", path, err)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("call %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	err = answer(resp, out)
	g.calls.Add(1)
	g.onAnswer(err)
	return resp.StatusCode, err
}

func answer(resp *http.Response, out any) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotModified {
		g := &GatewayError{Status: resp.StatusCode, Code: "unknown", Detail: http.StatusText(resp.StatusCode)}
		var p struct {
			Code   string `json:"code"`
			Detail string `json:"detail"`
			Title  string `json:"title"`
		}
		if json.Unmarshal(b, &p) == nil && p.Code != "" {
			g.Code, g.Detail = p.Code, p.Detail
			if g.Detail == "" {
				g.Detail = p.Title
			}
		}
		return g
	}
	if out == nil || len(b) == 0 || resp.StatusCode == http.StatusNotModified {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
