package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Client speaks to the API as a script would, and signs in again by itself.
type Client struct {
	URL string

	mu    sync.Mutex
	token string
}

// Problem is an answer that is no success.
type Problem struct {
	Status int
	Code   string
	Detail string
	Body   []byte
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

// Operation is what the harness looks at.
type Operation struct {
	ID         string
	Name       string
	State      string
	Undone     string
	WaitingFor string `json:"waiting_for"`
	ObjectID   string `json:"object_id"`
	Result     json.RawMessage
	Failure    *struct{ Code, Message, Step string }
	Plan       []struct{ Verb, Does string }
}

// Step of an operation.
type Step struct {
	Step, Verb, State, Title string
	Attempt                  int
	Undo                     bool
	HostID                   string `json:"host_id"`
}

// SignIn gets a token.
func (c *Client) SignIn(ctx context.Context) error {
	var out struct {
		AccessToken string `json:"access_token"`
	}
	in := map[string]string{"login": "admin", "password": AdminPassword}
	if err := c.do(ctx, http.MethodPost, "/api/v1/sessions", "", in, &out, nil); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = out.AccessToken
	return nil
}

// Get reads a resource.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, out, nil)
}

// Post asks for something.
func (c *Client) Post(ctx context.Context, path string, in, out any, header ...string) error {
	return c.call(ctx, http.MethodPost, path, in, out, header)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any, header []string) error {
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	err := c.do(ctx, method, path, token, in, out, header)
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusUnauthorized {
		if err := c.SignIn(ctx); err != nil {
			return err
		}
		c.mu.Lock()
		token = c.token
		c.mu.Unlock()
		return c.do(ctx, method, path, token, in, out, header)
	}
	return err
}

func (c *Client) do(ctx context.Context, method, path, token string, in, out any, header []string) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		p := &Problem{Status: resp.StatusCode, Body: b}
		_ = json.Unmarshal(b, p)
		return p
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// Until repeats fn until it succeeds or the time is over.
func Until(ctx context.Context, limit time.Duration, what string, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s until %s: %w", limit, what, err)
		case <-tick.C:
		}
	}
}

// AwaitReady waits until a manager says that it is ready.
func AwaitReady(ctx context.Context, url string) error {
	return Until(ctx, time.Minute, "the manager is ready", func() error {
		return (&Client{URL: url}).do(ctx, http.MethodGet, "/readyz", "", nil, nil, nil)
	})
}

// AwaitHost waits until a host is online with facts, or offline.
func (c *Client) AwaitHost(ctx context.Context, id string, online bool) error {
	return Until(ctx, time.Minute, fmt.Sprintf("the host's online is %v", online), func() error {
		var h struct {
			Online  bool
			FactsAt *time.Time `json:"facts_at"`
		}
		if err := c.Get(ctx, "/api/v1/hosts/"+id, &h); err != nil {
			return err
		}
		if h.Online != online || (online && h.FactsAt == nil) {
			return fmt.Errorf("host: online %v, facts at %v", h.Online, h.FactsAt)
		}
		return nil
	})
}

// Await waits for the end of an operation, whatever the manager goes through meanwhile.
func (c *Client) Await(ctx context.Context, id string, limit time.Duration) (Operation, error) {
	var o Operation
	err := Until(ctx, limit, "operation "+id+" has ended", func() error {
		if err := c.Get(ctx, "/api/v1/operations/"+id, &o); err != nil {
			return err
		}
		if o.State != "succeeded" && o.State != "failed" && o.State != "canceled" {
			return fmt.Errorf("it is %s", o.State)
		}
		return nil
	})
	return o, err
}

// Start asks for an operation.
func (c *Client) Start(ctx context.Context, name string, in any, header ...string) (Operation, error) {
	var o Operation
	err := c.Post(ctx, "/api/v1/operations/"+name, in, &o, header...)
	return o, err
}

// Steps of an operation.
func (c *Client) Steps(ctx context.Context, id string) ([]Step, error) {
	var p struct{ Items []Step }
	err := c.Get(ctx, "/api/v1/operations/"+id+"/steps", &p)
	return p.Items, err
}
