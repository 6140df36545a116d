package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

// page is one page of a list, or all of them together.
type page struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor string            `json:"next_cursor,omitempty"`
	Total      int64             `json:"total"`
}

// pageSize is the most the API gives at once.
const pageSize = 500

// pages reads a list up to limit rows, 0 for all of them.
func (c *client) pages(ctx context.Context, path string, query url.Values, limit int) (page, error) {
	all := page{Items: []json.RawMessage{}}
	query = cloneValues(query)
	cursors := map[string]bool{}
	for {
		n := pageSize
		if limit > 0 {
			n = min(n, limit-len(all.Items))
		}
		query.Set("limit", strconv.Itoa(n))
		body, err := c.get(ctx, path, query)
		if err != nil {
			return all, err
		}
		var p page
		if err := json.Unmarshal(body, &p); err != nil {
			return all, fmt.Errorf("read the list: %w", err)
		}
		all.Items, all.Total, all.NextCursor = append(all.Items, p.Items...), p.Total, p.NextCursor
		if limit > 0 && len(all.Items) > limit {
			all.Items = all.Items[:limit]
		}
		// A cursor seen before would go round for ever.
		if p.NextCursor == "" || cursors[p.NextCursor] || (limit > 0 && len(all.Items) >= limit) {
			return all, nil
		}
		cursors[p.NextCursor] = true
		query.Set("cursor", p.NextCursor)
	}
}

func cloneValues(v url.Values) url.Values {
	n := url.Values{}
	for k, l := range v {
		n[k] = append([]string{}, l...)
	}
	return n
}

// named is what all objects have.
type named struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	HostName string `json:"host_name"`
}

// find gives the id of an object by its id or name. Names are compared exactly: what is changed must be what was meant.
func (c *client) find(ctx context.Context, object, ref string) (string, error) {
	if u, err := uuid.Parse(ref); err == nil {
		return u.String(), nil
	}
	path := c.cli.spec.listOf(object)
	query := url.Values{}
	if c.cli.spec.searchable(path) {
		query.Set("q", ref)
	}
	p, err := c.pages(ctx, path, query, 0)
	if err != nil {
		return "", err
	}
	var found []named
	var similar []string
	for _, raw := range p.Items {
		var n named
		if json.Unmarshal(raw, &n) != nil {
			continue
		}
		if n.Name == ref {
			found = append(found, n)
		} else if strings.EqualFold(n.Name, ref) || strings.Contains(strings.ToLower(n.Name), strings.ToLower(ref)) {
			similar = append(similar, n.Name)
		}
	}
	switch len(found) {
	case 1:
		return found[0].ID, nil
	case 0:
		e := &Error{Exit: exitNotFound, Code: "not-found", Detail: fmt.Sprintf("there is no %s named %s", object, quote(ref))}
		if len(similar) > 0 {
			e.Hint = "Similar: " + strings.Join(similar[:min(len(similar), 5)], ", ")
		}
		return "", e
	}
	detail := fmt.Sprintf("%d %s are named %s; give the id of one", len(found), plural(object), quote(ref))
	e := &Error{Exit: exitUsage, Code: "ambiguous", Detail: detail}
	for _, n := range found {
		e.Fields = append(e.Fields, Field{Location: n.ID, Message: strings.TrimSpace(n.Name + " " + onHost(n.HostName))})
	}
	return "", e
}

func onHost(name string) string {
	if name == "" {
		return ""
	}
	return "on " + name
}

// completeNames offers the names of a kind of object, to a person who is signed in.
func (c *CLI) completeNames(object string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		cl, err := c.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		p, err := cl.pages(cmd.Context(), c.spec.listOf(object), nil, pageSize)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, raw := range p.Items {
			var n named
			if json.Unmarshal(raw, &n) == nil && strings.HasPrefix(n.Name, start) {
				names = append(names, n.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeArg is completeNames for a command whose only argument is the object.
func (c *CLI) completeArg(object string) cobra.CompletionFunc {
	names := c.completeNames(object)
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(cmd, args, start)
	}
}

// readFile reads a file, - is standard input.
func (c *CLI) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(c.In, maxAnswer))
	}
	return os.ReadFile(name)
}
