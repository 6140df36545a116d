package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/internal/apiclient"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (c *CLI) schedulesCommand() *cobra.Command {
	list := listing[apiclient.Schedule]{
		endpoint: "schedule-list", head: "NAME OPERATION TIMES STATE NEXT LAST BY ID",
		row: func(c *CLI, s apiclient.Schedule) []string {
			return []string{s.Name, s.OperationName, times(s), scheduleState(s), c.next(s), c.lastRun(s), s.Actor, s.Id}
		},
		name: func(s apiclient.Schedule) string { return s.Name },
	}
	type answer = func(context.Context, *client, string) (apiclient.Schedule, []byte, error)
	changed := func(get answer) func(ctx context.Context, cl *client, id string, o out) error {
		return func(ctx context.Context, cl *client, id string, o out) error {
			return showSchedule(o)(get(ctx, cl, id))
		}
	}
	return group("schedules", "Operations at set times, and the manager's own tasks",
		list.command(c, &cobra.Command{Short: "List schedules"}),
		c.one("schedule", &cobra.Command{Use: "show", Short: "Show a schedule"},
			changed(func(ctx context.Context, cl *client, id string) (apiclient.Schedule, []byte, error) {
				return decode[apiclient.Schedule](cl.ScheduleGet(ctx, id)) //nolint:bodyclose // decode closes it
			})),
		c.scheduleAddCommand(),
		c.one("schedule", &cobra.Command{Use: "pause", Short: "Pause a schedule"},
			changed(func(ctx context.Context, cl *client, id string) (apiclient.Schedule, []byte, error) {
				return decode[apiclient.Schedule](cl.SchedulePause(ctx, id)) //nolint:bodyclose // decode closes it
			})),
		c.one("schedule", &cobra.Command{Use: "resume", Short: "Let a paused schedule go on"},
			changed(func(ctx context.Context, cl *client, id string) (apiclient.Schedule, []byte, error) {
				return decode[apiclient.Schedule](cl.ScheduleResume(ctx, id)) //nolint:bodyclose // decode closes it
			})),
		c.one("schedule", &cobra.Command{
			Use: "run", Short: "Run a schedule now",
		}, func(ctx context.Context, cl *client, id string, _ out) error {
			_, err := raw(cl.ScheduleRun(ctx, id))
			if err == nil {
				fmt.Fprintf(c.Err, "It runs now. See pgdrover schedules runs %s\n", id)
			}
			return err
		}),
		c.one("schedule", &cobra.Command{
			Use: "delete", Short: "Delete a schedule",
		}, func(ctx context.Context, cl *client, id string, _ out) error {
			_, err := raw(cl.ScheduleDelete(ctx, id))
			if err == nil {
				fmt.Fprintln(c.Err, "Deleted.")
			}
			return err
		}),
		c.one("schedule", &cobra.Command{Use: "runs", Short: "Show when a schedule ran, and how it went"}, scheduleRuns),
		c.previewCommand(),
	)
}

func times(s apiclient.Schedule) string {
	if every := deref(s.EverySeconds); every > 0 {
		return "every " + strings.TrimSuffix((time.Duration(every)*time.Second).String(), "0s")
	}
	return strings.TrimSpace(deref(s.Cron) + " " + deref(s.TimeZone))
}

func scheduleState(s apiclient.Schedule) string {
	if s.Paused {
		return "paused"
	}
	return "active"
}

func (c *CLI) next(s apiclient.Schedule) string {
	if len(s.NextRuns) == 0 {
		return ""
	}
	return c.ago(&s.NextRuns[0])
}

func (c *CLI) lastRun(s apiclient.Schedule) string {
	if s.LastRun == nil {
		return ""
	}
	return string(s.LastRun.State) + " " + c.ago(&s.LastRun.At)
}

func showSchedule(o out) func(s apiclient.Schedule, body []byte, err error) error {
	return func(s apiclient.Schedule, body []byte, err error) error {
		if err != nil {
			return err
		}
		return o.show(body, "schedule/"+s.Name, func(d *details) {
			d.add("Name", s.Name)
			d.add("ID", s.Id)
			d.add("Operation", s.OperationName)
			if input, err := json.Marshal(s.Input); err == nil && s.Input != nil {
				d.add("Input", string(input))
			}
			d.add("Times", times(s))
			d.add("State", scheduleState(s))
			d.at("Not before", s.StartAt)
			d.at("Not after", s.EndAt)
			d.add("When one still runs", string(deref(s.Overlap)))
			d.add("Last", d.cli.lastRun(s))
			d.add("Next", moments(s.NextRuns))
			d.add("By", s.Actor)
			d.at("Changed", &s.UpdatedAt)
		})
	}
}

func moments(all []time.Time) string {
	lines := make([]string, len(all))
	for i, t := range all {
		lines[i] = t.Local().Format("Mon 2006-01-02 15:04:05 MST")
	}
	return strings.Join(lines, "\n")
}

func scheduleRuns(ctx context.Context, cl *client, id string, o out) error {
	body, err := raw(cl.ScheduleRuns(ctx, id, nil))
	if err != nil {
		return err
	}
	var p page
	if err := json.Unmarshal(body, &p); err != nil {
		return fmt.Errorf("read the runs: %w", err)
	}
	return listing[apiclient.ScheduleRun]{
		head: "AT STATE TOOK OPERATION SUMMARY",
		row: func(c *CLI, r apiclient.ScheduleRun) []string {
			took := ""
			if r.EndedAt != nil {
				took = duration(r.EndedAt.Sub(r.At))
			}
			return []string{c.ago(&r.At), string(r.State), took, deref(r.OperationId), deref(r.Summary)}
		},
		name: func(r apiclient.ScheduleRun) string { return cmp.Or(deref(r.OperationId), r.At.Format(time.RFC3339)) },
	}.write(o, p)
}

// rule are the flags of when something runs.
type rule struct {
	cron, zone, start, end string
	every                  time.Duration
}

func (r *rule) flags(fs *pflag.FlagSet) {
	fs.StringVar(&r.cron, "cron", "", `minute hour day month weekday, e.g. "0 3 * * *"`)
	fs.DurationVar(&r.every, "every", 0, "instead of cron, e.g. 6h or 30m")
	fs.StringVar(&r.zone, "time-zone", "", "IANA name for cron, e.g. Europe/Vienna (default UTC)")
	fs.StringVar(&r.start, "start-at", "", "not before, e.g. 2030-01-31T08:00:00Z")
	fs.StringVar(&r.end, "end-at", "", "not after")
}

// read writes the rule's members into a request.
func (r *rule) read(cmd *cobra.Command, body map[string]any) error {
	if (r.cron == "") == (r.every == 0) {
		return usageError(cmd, "give --cron or --every")
	}
	if r.every%time.Second != 0 {
		return usageError(cmd, "--every must be whole seconds")
	}
	if r.every != 0 {
		body["every_seconds"] = int64(r.every / time.Second)
	}
	for name, text := range map[string]string{"cron": r.cron, "time_zone": r.zone} {
		if text != "" {
			body[name] = text
		}
	}
	for name, text := range map[string]string{"start-at": r.start, "end-at": r.end} {
		if text == "" {
			continue
		}
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return usageError(cmd, "--%s: %s is no time like 2030-01-31T08:00:00Z", name, quote(text))
		}
		body[strings.ReplaceAll(name, "-", "_")] = text
	}
	return nil
}

func (c *CLI) previewCommand() *cobra.Command {
	var r rule
	cmd := c.output(&cobra.Command{Use: "preview", Short: "Show the next ten times of a rule", Args: cobra.NoArgs},
		func(cmd *cobra.Command, _ []string, o out) error {
			body := map[string]any{}
			if err := r.read(cmd, body); err != nil {
				return err
			}
			cl, err := c.connect()
			if err != nil {
				return err
			}
			answer, err := cl.post(cmd.Context(), "/api/v1/schedules/preview", body)
			if err != nil {
				return err
			}
			var v apiclient.PreviewOutBody
			if err := json.Unmarshal(answer, &v); err != nil {
				return fmt.Errorf("read the times: %w", err)
			}
			if o.format == "table" {
				fmt.Fprintln(c.Out, moments(v.NextRuns))
				return nil
			}
			return o.show(answer, "preview", nil)
		})
	r.flags(cmd.Flags())
	return cmd
}

func (c *client) post(ctx context.Context, path string, body map[string]any) ([]byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	return c.send(ctx, "POST", path, nil, nil, b)
}

func (c *CLI) scheduleAddCommand() *cobra.Command {
	var r rule
	var jitter, catchup time.Duration
	overlap := choice{of: []string{"skip", "queue", "allow"}}
	cmd := c.output(&cobra.Command{
		Use: "add NAME --cron RULE -- GROUP VERB [OBJECT] [flags of the operation]", Short: "Run an operation at set times",
		Long: "Adds a schedule. What runs is written after -- as its own command would be.\n" +
			"\"pgdrover operations types\" tells which operations may be scheduled.",
		Example: "  pgdrover schedules add nightly --cron '0 3 * * *' --time-zone Europe/Vienna -- instances restart a --mode fast",
	}, func(cmd *cobra.Command, args []string, o out) error {
		body := map[string]any{}
		if err := r.read(cmd, body); err != nil {
			return err
		}
		for name, v := range map[string]time.Duration{"jitter_seconds": jitter, "catchup_seconds": catchup} {
			if v != 0 {
				body[name] = int64(v / time.Second)
			}
		}
		if overlap.value != "" {
			body["overlap"] = overlap.value
		}
		cl, err := c.connect()
		if err != nil {
			return err
		}
		body["name"] = args[0]
		if body["operation_name"], body["input"], err = c.scheduled(cmd, cl, args[1:]); err != nil {
			return err
		}
		answer, err := cl.post(cmd.Context(), "/api/v1/schedules", body)
		if err != nil {
			return err
		}
		var s apiclient.Schedule
		err = json.Unmarshal(answer, &s)
		return showSchedule(o)(s, answer, err)
	})
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if cmd.ArgsLenAtDash() != 1 || len(args) < 3 {
			return usageError(cmd, "missing: NAME, and after -- the command of the operation, like instances restart a")
		}
		return nil
	}
	r.flags(cmd.Flags())
	cmd.Flags().DurationVar(&jitter, "jitter", 0, "spread the start over this time")
	cmd.Flags().DurationVar(&catchup, "catchup", 0, "missed times older than this are left out (default 10m)")
	cmd.Flags().Var(&overlap, "overlap", "when the run before has not ended: skip, queue, allow (default skip)")
	return cmd
}

// scheduled reads an operation's own command line: its name and its input.
func (c *CLI) scheduled(cmd *cobra.Command, cl *client, args []string) (name string, input map[string]any, err error) {
	for _, op := range c.spec.operations() {
		if (plural(op.Group) != args[0] && op.Group != args[0]) || op.Verb != args[1] {
			continue
		}
		if !op.Schedulable {
			return "", nil, usageError(cmd, "%s cannot be scheduled", op.Name)
		}
		in, required, options, advanced := c.newInput(op.Group, op.Fields)
		in.positional = op.positional()
		fs := pflag.NewFlagSet(op.Name, pflag.ContinueOnError)
		fs.Usage = func() {}
		for _, part := range []*pflag.FlagSet{required, options, advanced} {
			fs.AddFlagSet(part)
		}
		if err := fs.Parse(args[2:]); err != nil {
			return "", nil, usageError(cmd, "%s: %s", op.Name, err.Error())
		}
		input, err = in.build(cmd.Context(), cmd, cl, fs.Args())
		return op.Name, input, err
	}
	return "", nil, usageError(cmd, "there is no operation %s %s", quote(args[0]), quote(args[1]))
}
