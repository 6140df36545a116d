package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

// out writes a result in the format a person chose with -o.
type out struct {
	cli    *CLI
	format string
}

var formats = []string{"table", "json", "yaml", "name"}

// output gives a command the flag -o and hands its value on.
func (c *CLI) output(cmd *cobra.Command, run func(cmd *cobra.Command, args []string, o out) error) *cobra.Command {
	format := choice{value: "table", of: formats}
	cmd.Flags().VarP(&format, "output", "o", "output format: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return run(cmd, args, out{cli: c, format: format.value})
	}
	return cmd
}

// choice is a flag with a fixed set of values.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "string" }

func (c *choice) Set(v string) error {
	if !slices.Contains(c.of, v) {
		return fmt.Errorf("must be one of %s", strings.Join(c.of, ", "))
	}
	c.value = v
	return nil
}

// show writes one object: body is the manager's answer, which json and yaml give whole.
func (o out) show(body []byte, name string, human func(*details)) error {
	switch o.format {
	case "json":
		return writeJSON(o.cli.Out, body)
	case "yaml":
		return writeYAML(o.cli.Out, body)
	case "name":
		fmt.Fprintln(o.cli.Out, clean(name))
		return nil
	}
	d := &details{cli: o.cli}
	human(d)
	return d.flush()
}

// list writes rows; items are the manager's answers, of the same order.
func (o out) list(p page, names []string, head string, rows [][]string) error {
	switch o.format {
	case "json", "yaml":
		body, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
		if o.format == "json" {
			return writeJSON(o.cli.Out, body)
		}
		return writeYAML(o.cli.Out, body)
	case "name":
		for _, n := range names {
			fmt.Fprintln(o.cli.Out, clean(n))
		}
		return nil
	}
	if len(rows) == 0 {
		fmt.Fprintln(o.cli.Err, "Nothing found.")
		return nil
	}
	if err := table(o.cli.Out, head, dashes(rows)); err != nil {
		return err
	}
	if p.Total > int64(len(rows)) && p.NextCursor != "" {
		fmt.Fprintf(o.cli.Err, "%d of %d are shown; --all shows every one.\n", len(rows), p.Total)
	}
	return nil
}

func table(w io.Writer, head string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(head, " ", "\t"))
	for _, r := range rows {
		for i, cell := range r {
			r[i] = oneLine(cell)
		}
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}

// dashes stand where nothing is, so that columns can be counted.
func dashes(rows [][]string) [][]string {
	for _, r := range rows {
		for i, cell := range r {
			if cell == "" {
				r[i] = "-"
			}
		}
	}
	return rows
}

func writeJSON(w io.Writer, body []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// writeYAML keeps the order of the members: JSON is read as the YAML it is, and only its style is changed.
func writeYAML(w io.Writer, body []byte) error {
	var n yaml.Node
	if err := yaml.Unmarshal(body, &n); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	var plain func(n *yaml.Node)
	plain = func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
			n.Style = 0
		}
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
			n.Style = 0
		}
		for _, c := range n.Content {
			plain(c)
		}
	}
	plain(&n)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&n); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return enc.Close()
}

// details are an object's lines; empty values are left out.
type details struct {
	cli  *CLI
	rows [][2]string
}

func (d *details) add(label, value string) {
	if value != "" {
		d.rows = append(d.rows, [2]string{label, value})
	}
}

func (d *details) optional(label string, value *string) { d.add(label, deref(value)) }

func (d *details) list(label string, values []string) { d.add(label, strings.Join(values, ", ")) }

func (d *details) labels(l map[string]string) { d.add("Labels", labels(l)) }

// at adds a moment, in full and relative to now.
func (d *details) at(label string, t *time.Time) {
	if t != nil && !t.IsZero() {
		d.add(label, t.Local().Format("2006-01-02 15:04:05 MST")+" ("+d.cli.ago(t)+")")
	}
}

func (d *details) flush() error {
	tw := tabwriter.NewWriter(d.cli.Out, 0, 8, 2, ' ', 0)
	for _, r := range d.rows {
		lines := strings.Split(strings.TrimRight(clean(r[1]), "\n"), "\n")
		fmt.Fprintf(tw, "%s:\t%s\n", r[0], lines[0])
		for _, l := range lines[1:] {
			fmt.Fprintf(tw, "\t%s\n", l)
		}
	}
	return tw.Flush()
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func labels(l map[string]string) string {
	pairs := make([]string, 0, len(l))
	for _, k := range slices.Sorted(maps.Keys(l)) {
		pairs = append(pairs, k+"="+l[k])
	}
	return strings.Join(pairs, ", ")
}

// ago tells a moment relative to now.
func (c *CLI) ago(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	d := c.Now().Sub(*t)
	if d < 0 {
		return "in " + duration(-d)
	}
	if d < 2*time.Second {
		return "now"
	}
	return duration(d) + " ago"
}

// duration is short for people: two units at most.
func duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size is bytes for people.
func size(n int64) string {
	if n < 0 {
		return ""
	}
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
