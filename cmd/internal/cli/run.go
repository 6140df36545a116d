package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pgdrover/pgdrover/internal/apiclient"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// running is how a started operation is waited for.
type running struct {
	dryRun, noFollow, wait bool
	onConflict             choice
	key                    string
}

// addOperations makes the command of every operation in the document.
func (c *CLI) addOperations(root *cobra.Command) {
	for _, o := range c.spec.operations() {
		parent := c.groupOf(root, plural(o.Group))
		if has(parent, o.Verb) {
			// A command made by hand knows more than one made of a schema.
			continue
		}
		parent.AddCommand(c.operationCommand(o))
	}
}

func (c *CLI) groupOf(root *cobra.Command, name string) *cobra.Command {
	for _, cmd := range root.Commands() {
		if cmd.Name() == name {
			return cmd
		}
	}
	g := group(name, "Operations on "+name)
	g.GroupID = groupFleet
	root.AddCommand(g)
	return g
}

func has(parent *cobra.Command, name string) bool {
	for _, cmd := range parent.Commands() {
		if cmd.Name() == name {
			return true
		}
	}
	return false
}

func (c *CLI) operationCommand(o operation) *cobra.Command {
	in, required, options, advanced := c.newInput(o.Group, o.Fields)
	in.positional = o.positional()
	r := &running{}
	run := r.flags()
	use := o.Verb
	if in.positional != nil {
		use += " [" + strings.ToUpper(in.positional.Object) + "]"
	}
	cmd := c.output(&cobra.Command{
		Use: use, Short: o.Summary, Long: o.long(), Args: cobra.MaximumNArgs(1), DisableFlagsInUseLine: true,
	}, func(cmd *cobra.Command, args []string, out out) error {
		cl, err := c.connect()
		if err != nil {
			return err
		}
		body, err := in.build(cmd.Context(), cmd, cl, args)
		if err != nil {
			return err
		}
		op, raw, err := cl.start(cmd.Context(), o.Name, body, r)
		if err != nil {
			return flagNames(err, o.Fields)
		}
		return cl.finish(cmd.Context(), op, raw, r, out)
	})
	run.AddFlag(cmd.Flags().Lookup("output"))
	cmd.Flags().SortFlags = false
	for _, fs := range []*pflag.FlagSet{required, options, advanced, run} {
		cmd.Flags().AddFlagSet(fs)
	}
	in.complete(cmd)
	_ = cmd.RegisterFlagCompletionFunc("on-conflict", cobra.FixedCompletions(r.onConflict.of, cobra.ShellCompDirectiveNoFileComp))
	if in.positional != nil {
		cmd.ValidArgsFunction = c.completeArg(in.positional.Object)
	}
	sections := []section{{"Required", required}, {"Options", options}, {"Seldom needed", advanced}, {"How it is run", run}}
	cmd.SetUsageFunc(func(cmd *cobra.Command) error { return usage(cmd, sections) })
	return cmd
}

// positional is the object the operation is about, where the command's group says so: "instances restart a".
func (o operation) positional() *field {
	for _, f := range o.Fields {
		if f.Kind == kindRef && f.Required && f.Object == o.Group && o.Target == o.Group {
			return &f
		}
	}
	return nil
}

var risks = map[string]string{
	"disrupt": "Clients of the server will notice.",
	"destroy": "What this removes cannot be brought back.",
}

func (o operation) long() string {
	text := o.Description
	if r := risks[o.Risk]; r != "" {
		text += "\n\n" + r
	}
	return text + "\n\nIt is followed until it ends; Ctrl-C lets it go on without you. The exit status is 0 only if it succeeded."
}

type section struct {
	title string
	flags *pflag.FlagSet
}

// usage shows flags by how much they matter, where cobra knows only the alphabet.
func usage(cmd *cobra.Command, sections []section) error {
	w := cmd.OutOrStderr()
	fmt.Fprintf(w, "Usage:\n  %s [flags]\n", cmd.UseLine())
	for _, s := range sections {
		if s.flags.HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s:\n%s", s.title, s.flags.FlagUsages())
		}
	}
	return nil
}

func (r *running) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SortFlags = false
	r.onConflict = choice{of: []string{"refuse", "wait"}}
	fs.BoolVar(&r.dryRun, "dry-run", false, "only show what it would do")
	fs.Var(&r.onConflict, "on-conflict", "when another operation holds the object: refuse, wait (default refuse)")
	r.followFlags(fs)
	fs.StringVar(&r.key, "idempotency-key", "", "makes a repeated request the same operation")
	return fs
}

func (r *running) followFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&r.noFollow, "no-follow", false, "only start it; success means that it was accepted")
	fs.BoolVar(&r.wait, "wait", false, "wait for its end without showing progress")
}

// start asks for an operation. The request is repeated when its answer was lost: the key makes both the same operation.
func (c *client) start(ctx context.Context, name string, input map[string]any, r *running) (apiclient.Operation, []byte, error) {
	var op apiclient.Operation
	body, err := json.Marshal(input)
	if err != nil {
		return op, nil, fmt.Errorf("write the input: %w", err)
	}
	query := url.Values{}
	if r.dryRun {
		query.Set("dry_run", "true")
	}
	if r.onConflict.value != "" {
		query.Set("on_conflict", r.onConflict.value)
	}
	key := r.key
	if key == "" {
		key = idempotencyKey()
	}
	header := http.Header{"Idempotency-Key": {key}}
	raw, err := c.patiently(ctx, func(ctx context.Context) ([]byte, error) {
		return c.send(ctx, http.MethodPost, operationsPath+name, query, header, body)
	})
	if err != nil {
		return op, nil, err
	}
	return op, raw, json.Unmarshal(raw, &op)
}

// patiently repeats what may succeed soon a few times: a manager that restarts is back in seconds.
func (c *client) patiently(ctx context.Context, do func(context.Context) ([]byte, error)) ([]byte, error) {
	pause := c.cli.Pace.Retry
	for attempt := 0; ; attempt++ {
		raw, err := do(ctx)
		if err == nil || attempt == 4 || ctx.Err() != nil || !transient(err) {
			return raw, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(pause*2, c.cli.Pace.RetryMax)
	}
}

// finish follows a started operation as asked for, and shows how it ended.
func (c *client) finish(ctx context.Context, op apiclient.Operation, raw []byte, r *running, o out) error {
	if r.noFollow && !r.dryRun {
		return c.accepted(op, raw, o)
	}
	var v view = silent{}
	if !r.wait && !r.dryRun && o.format == "table" {
		v = c.cli.newView()
	} else if !r.wait && !r.dryRun {
		v = c.cli.plainView()
	}
	op, raw, err := c.follow(ctx, op.Id, v)
	if err != nil {
		return err
	}
	if err := o.ended(op, raw); err != nil {
		return err
	}
	return failure(op)
}

func (c *client) accepted(op apiclient.Operation, raw []byte, o out) error {
	if o.format != "table" {
		return o.show(raw, "operation/"+op.Id, nil)
	}
	fmt.Fprintf(o.cli.Err, "%s: %s\nFollow it with: pgdrover operations follow %s\n", clean(op.Title), op.State, op.Id)
	fmt.Fprintln(o.cli.Out, op.Id)
	return nil
}

// failure is nil only for an operation that succeeded.
func failure(op apiclient.Operation) error {
	if op.State == apiclient.OperationStateSucceeded {
		return nil
	}
	e := &Error{Exit: exitGeneral, Detail: fmt.Sprintf("%s: %s", op.Title, op.State)}
	if f := op.Failure; f != nil {
		e.Code, e.Detail, e.Hint = f.Code, op.Title+": "+f.Message, deref(f.Hint)
	}
	switch deref(op.Undone) {
	case "compensated":
		e.Fields = append(e.Fields, Field{Message: "What it had done was undone."})
	case "partly":
		e.Fields = append(e.Fields, Field{Message: "What it had done was undone only in part."})
	case "past-point-of-no-return":
		e.Fields = append(e.Fields, Field{Message: "It was past the point of no return; nothing was undone."})
	}
	e.Hint = strings.TrimSpace(e.Hint + "\nSee pgdrover operations show " + op.Id)
	return e
}

// flagNames tells fields at fault by their flags.
func flagNames(err error, fields []field) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	for i, at := range e.Fields {
		name, rest, _ := strings.Cut(at.Location, ".")
		for _, f := range fields {
			if f.Name != name {
				continue
			}
			e.Fields[i].Location = "--" + f.Flag
			if f.Kind == kindSecret {
				e.Fields[i].Location = f.Flag
			}
			if rest != "" {
				e.Fields[i].Location += " " + rest
			}
		}
	}
	return err
}
