package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

// listing is a list command: its filters come from the document, its columns are made for people.
type listing[T any] struct {
	// endpoint is the operation id in the document.
	endpoint string
	head     string
	row      func(c *CLI, v T) []string
	name     func(v T) string
	// keep leaves rows out; nil keeps all.
	keep func(v T) bool
}

func (l listing[T]) command(c *CLI, cmd *cobra.Command) *cobra.Command {
	path, e := c.spec.endpoint(l.endpoint)
	in, _, options, _ := c.newInput("", c.spec.parameters(e))
	limit, all := 100, false
	cmd.Args = cobra.NoArgs
	if cmd.Use == "" {
		cmd.Use = "list"
	}
	cmd.Aliases = append(cmd.Aliases, "ls")
	c.output(cmd, func(cmd *cobra.Command, _ []string, o out) error {
		cl, err := c.connect()
		if err != nil {
			return err
		}
		values, err := in.build(cmd.Context(), cmd, cl, nil)
		if err != nil {
			return err
		}
		if all {
			limit = 0
		}
		p, err := cl.pages(cmd.Context(), path, queryOf(in.fields, values), limit)
		if err != nil {
			return flagNames(err, in.fields)
		}
		return l.write(o, p)
	})
	f := cmd.Flags()
	f.AddFlagSet(options)
	f.IntVar(&limit, "limit", limit, "show at most so many")
	f.BoolVar(&all, "all", false, "show every one")
	in.complete(cmd)
	return cmd
}

func (l listing[T]) write(o out, p page) error {
	var names []string
	var rows [][]string
	kept := p.Items[:0:0]
	for _, item := range p.Items {
		var v T
		if err := json.Unmarshal(item, &v); err != nil {
			return fmt.Errorf("read the list: %w", err)
		}
		if l.keep != nil && !l.keep(v) {
			continue
		}
		kept = append(kept, item)
		names = append(names, l.name(v))
		rows = append(rows, l.row(o.cli, v))
	}
	if p.Items = kept; kept == nil {
		p.Items = []json.RawMessage{}
	}
	return o.list(p, names, l.head, rows)
}

// queryOf writes values as the API reads them: lists with commas.
func queryOf(fields []field, values map[string]any) url.Values {
	q := url.Values{}
	for _, f := range fields {
		switch v := values[f.Name].(type) {
		case nil:
		case []any:
			var parts []string
			for _, p := range v {
				parts = append(parts, fmt.Sprint(p))
			}
			q.Set(f.Name, strings.Join(parts, ","))
		case json.RawMessage:
			q.Set(f.Name, strings.Trim(string(v), `"`))
		default:
			q.Set(f.Name, fmt.Sprint(v))
		}
	}
	return q
}

// one makes a command about one object, named by its argument.
func (c *CLI) one(
	object string, cmd *cobra.Command, run func(ctx context.Context, cl *client, id string, o out) error,
) *cobra.Command {
	cmd.Use += " " + strings.ToUpper(object)
	cmd.Args = exactly(1, strings.ToUpper(object)+", a name or an id")
	cmd.ValidArgsFunction = c.completeArg(object)
	return c.output(cmd, func(cmd *cobra.Command, args []string, o out) error {
		cl, err := c.connect()
		if err != nil {
			return err
		}
		id, err := cl.find(cmd.Context(), object, args[0])
		if err != nil {
			return err
		}
		return run(cmd.Context(), cl, id, o)
	})
}

// exactly wants n arguments and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError(cmd, "missing: %s", what)
		}
		if len(args) > n {
			return usageError(cmd, "%s is too much", quote(args[n]))
		}
		return nil
	}
}

// operationID checks an operation's id: operations have no names.
func operationID(cmd *cobra.Command, ref string) (string, error) {
	u, err := uuid.Parse(strings.TrimPrefix(ref, "operation/"))
	if err != nil {
		return "", usageError(cmd, "%s is no operation's id; pgdrover operations list shows them", quote(ref))
	}
	return u.String(), nil
}
