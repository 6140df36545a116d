package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/pgdrover/pgdrover/internal/apiclient"
	"github.com/spf13/cobra"
)

func (c *CLI) operationsCommand() *cobra.Command {
	list := listing[apiclient.Operation]{
		endpoint: "operation-list", head: "ID TITLE TARGET STATE BY ASKED TOOK",
		row: func(c *CLI, op apiclient.Operation) []string {
			return []string{op.Id, op.Title, deref(op.TargetName), operationState(op), op.Actor, c.ago(&op.AcceptedAt), c.took(op)}
		},
		name: func(op apiclient.Operation) string { return op.Id },
	}
	return group("operations", "What was changed, is being changed and waits to be",
		list.command(c, &cobra.Command{Short: "List operations, the newest first"}),
		c.operation("show", "Show an operation with its steps", showOperation),
		c.followCommand(),
		c.control("cancel", "Cancel an operation: what it did is undone where that is possible", "Asked to cancel."),
		c.control("pause", "Hold an operation before its next step", "Asked to pause before the next step."),
		c.control("resume", "Let a paused operation go on", "It goes on."),
		c.retryCommand(), c.typesCommand(),
	)
}

func operationState(op apiclient.Operation) string {
	s := string(op.State)
	if op.DryRun {
		s += " (dry run)"
	}
	if final(op.State) {
		return s
	}
	if w := deref(op.WaitingFor); w != "" {
		s += " (for " + w + ")"
	}
	if op.CancelRequested {
		s += ", canceling"
	}
	if op.Late {
		s += ", late"
	}
	return s
}

func (c *CLI) took(op apiclient.Operation) string {
	switch {
	case op.StartedAt == nil:
		return ""
	case op.EndedAt == nil:
		return duration(c.Now().Sub(*op.StartedAt))
	}
	return duration(op.EndedAt.Sub(*op.StartedAt))
}

// operation makes a command about one operation, named by its id.
func (c *CLI) operation(use, short string, run func(ctx context.Context, cl *client, id string, o out) error) *cobra.Command {
	return c.output(&cobra.Command{Use: use + " ID", Short: short, Args: exactly(1, "the operation's ID")},
		func(cmd *cobra.Command, args []string, o out) error {
			id, err := operationID(cmd, args[0])
			if err != nil {
				return err
			}
			cl, err := c.connect()
			if err != nil {
				return err
			}
			return run(cmd.Context(), cl, id, o)
		})
}

func showOperation(ctx context.Context, cl *client, id string, o out) error {
	op, body, err := decode[apiclient.Operation](cl.OperationGet(ctx, id)) //nolint:bodyclose // decode closes it
	if err != nil {
		return err
	}
	steps, stepsBody, err := decode[apiclient.PageStep](cl.OperationSteps(ctx, id)) //nolint:bodyclose // decode closes it
	if err != nil {
		return err
	}
	if o.format != "table" {
		// Both answers in one: who shows an operation wants its steps.
		if body, err = withSteps(body, stepsBody); err != nil {
			return err
		}
		return o.show(body, "operation/"+op.Id, nil)
	}
	if err := o.show(body, "", func(d *details) { describe(d, op, cl.server) }); err != nil {
		return err
	}
	rows := make([][]string, 0, len(steps.Items))
	for _, s := range steps.Items {
		took := ""
		if s.StartedAt != nil && s.EndedAt != nil {
			took = duration(s.EndedAt.Sub(*s.StartedAt))
		}
		text := s.Title
		if s.Failure != nil && s.State != apiclient.StepStateCompleted {
			text += ": " + s.Failure.Message
		}
		rows = append(rows, []string{word(s), deref(s.HostName), took, text})
	}
	if len(rows) > 0 {
		fmt.Fprintln(o.cli.Out)
		if err := table(o.cli.Out, "STATE HOST TOOK STEP", dashes(rows)); err != nil {
			return err
		}
	}
	return o.outcome(op)
}

func withSteps(op, steps []byte) ([]byte, error) {
	var page struct {
		Items json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(steps, &page); err != nil {
		return nil, fmt.Errorf("read the steps: %w", err)
	}
	op = []byte(strings.TrimSpace(string(op)))
	// Put in as text: the order of the other members stays.
	return append(op[:len(op)-1:len(op)-1], append(append([]byte(`,"steps":`), page.Items...), '}')...), nil
}

func describe(d *details, op apiclient.Operation, server string) {
	d.add("Operation", op.Title)
	d.add("ID", op.Id)
	d.add("State", operationState(op))
	d.add("On", strings.TrimSpace(op.TargetKind+" "+deref(op.TargetName)))
	d.optional("Host", op.HostName)
	d.add("Asked for by", op.Actor)
	d.at("Asked for", &op.AcceptedAt)
	d.at("Started", op.StartedAt)
	d.at("Ended", op.EndedAt)
	d.add("Took", d.cli.took(op))
	d.optional("Retry of", op.RetryOf)
	d.optional("Schedule", op.ScheduleId)
	if op.Failure != nil {
		d.add("Failure", op.Failure.Message+" ("+op.Failure.Code+")")
		d.optional("What to do", op.Failure.Hint)
	}
	d.optional("Undone", op.Undone)
	if input, err := json.Marshal(op.Input); err == nil && op.Input != nil {
		d.add("Input", string(input))
	}
	if url := deref(op.TemporalUrl); strings.HasPrefix(url, "/") {
		d.add("In Temporal", server+url)
	} else {
		d.add("In Temporal", url)
	}
}

func (c *CLI) followCommand() *cobra.Command {
	cmd := c.operation("follow", "Follow an operation until it ends", func(ctx context.Context, cl *client, id string, o out) error {
		return cl.finish(ctx, apiclient.Operation{Id: id}, nil, &running{}, o)
	})
	cmd.Long = "Shows an operation's steps and output as they come; of an ended one, all there was.\n" +
		"The exit status is 0 only if it succeeded. Ctrl-C lets it go on without you."
	return cmd
}

// control makes a command that asks something of an operation that has not ended.
func (c *CLI) control(name, short, told string) *cobra.Command {
	return c.operation(name, short, func(ctx context.Context, cl *client, id string, o out) error {
		body, err := cl.patiently(ctx, func(ctx context.Context) ([]byte, error) {
			return cl.send(ctx, http.MethodPost, operationsPath+id+"/"+name, nil, nil, nil)
		})
		if err != nil {
			return err
		}
		if o.format != "table" {
			return o.show(body, "operation/"+id, nil)
		}
		fmt.Fprintf(c.Err, "%s See pgdrover operations follow %s\n", told, id)
		return nil
	})
}

func (c *CLI) retryCommand() *cobra.Command {
	r := &running{}
	cmd := c.operation("retry", "Ask for the same again", func(ctx context.Context, cl *client, id string, o out) error {
		key := r.key
		if key == "" {
			key = idempotencyKey()
		}
		body, err := cl.patiently(ctx, func(ctx context.Context) ([]byte, error) {
			params := &apiclient.OperationRetryParams{IdempotencyKey: &key}
			return raw(cl.OperationRetry(ctx, id, params))
		})
		if err != nil {
			return err
		}
		var op apiclient.Operation
		if err := json.Unmarshal(body, &op); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return cl.finish(ctx, op, body, r, o)
	})
	r.followFlags(cmd.Flags())
	cmd.Flags().StringVar(&r.key, "idempotency-key", "", "makes a repeated request the same operation")
	return cmd
}

func (c *CLI) typesCommand() *cobra.Command {
	return c.output(&cobra.Command{
		Use: "types", Short: "List what operations there are, and their commands", Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, o out) error {
		cl, err := c.connect()
		if err != nil {
			return err
		}
		p, err := cl.pages(cmd.Context(), "/api/v1/operation-types", nil, 0)
		if err != nil {
			return err
		}
		return listing[apiclient.OperationType]{
			head: "NAME TITLE RISK SCHEDULABLE ALLOWED COMMAND",
			row: func(_ *CLI, t apiclient.OperationType) []string {
				command := ""
				if op, ok := c.spec.find(t.Name); ok {
					command = "pgdrover " + plural(op.Group) + " " + op.Verb
				}
				return []string{t.Name, t.Title, string(t.Risk), yesNo(t.Schedulable), yesNo(t.Allowed), command}
			},
			name: func(t apiclient.OperationType) string { return t.Name },
		}.write(o, p)
	})
}

// ended shows how an operation ended: its plan, its result, or only that it did.
func (o out) ended(op apiclient.Operation, body []byte) error {
	if o.format != "table" {
		return o.show(body, "operation/"+op.Id, nil)
	}
	if op.State == apiclient.OperationStateSucceeded && !op.DryRun {
		fmt.Fprintf(o.cli.Err, "%s: succeeded after %s\n", oneLine(op.Title), o.cli.took(op))
	}
	return o.outcome(op)
}

// outcome shows the plan and the result of an operation, for people.
func (o out) outcome(op apiclient.Operation) error {
	if op.Plan != nil && len(*op.Plan) > 0 {
		rows := make([][]string, 0, len(*op.Plan))
		for _, p := range *op.Plan {
			host := deref(p.Host)
			if host != "" && host == deref(op.HostId) {
				host = deref(op.HostName)
			}
			rows = append(rows, []string{p.Does, host, p.Title})
		}
		return table(o.cli.Out, "DOES HOST STEP", dashes(rows))
	}
	result, ok := op.Result.(map[string]any)
	if !ok || len(result) == 0 || op.DryRun {
		return nil
	}
	columns, isTable := result["columns"].([]any)
	rows, hasRows := result["rows"].([]any)
	if isTable && hasRows {
		return o.resultTable(columns, rows, result)
	}
	d := &details{cli: o.cli}
	d.result(result)
	return d.flush()
}

// resultTable shows rows of a query.
func (o out) resultTable(columns, rows []any, result map[string]any) error {
	head := make([]string, len(columns))
	for i, c := range columns {
		if m, ok := c.(map[string]any); ok {
			c = m["name"]
		}
		// The head is cut at blanks.
		head[i] = strings.ReplaceAll(oneLine(plainText(c)), " ", "_")
	}
	cells := make([][]string, 0, len(rows))
	for _, r := range rows {
		var line []string
		values, _ := r.([]any)
		for _, v := range values {
			if v == nil {
				v = "NULL"
			}
			line = append(line, plainText(v))
		}
		cells = append(cells, line)
	}
	if len(head) > 0 {
		if err := table(o.cli.Out, strings.Join(head, " "), cells); err != nil {
			return err
		}
	}
	if cutOff, _ := result["truncated"].(bool); cutOff {
		fmt.Fprintf(o.cli.Err, "Only the first %d rows are shown.\n", len(rows))
	}
	return nil
}

// result adds the members of a result by name.
func (d *details) result(result map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(result)) {
		label := strings.ReplaceAll(k, "_", " ")
		d.add(strings.ToUpper(label[:1])+label[1:], plainText(result[k]))
	}
}

func plainText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any, []any:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(b)
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprintf("%d", int64(v))
		}
	}
	return fmt.Sprint(v)
}
