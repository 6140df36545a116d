package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgdrover/pgdrover/internal/apiclient"
	"github.com/spf13/cobra"
)

func (c *CLI) hostsCommand() *cobra.Command {
	list := listing[apiclient.Host]{
		endpoint: "host-list", head: "NAME STATE AGENT OS INSTANCES SEEN LABELS ID",
		row: func(c *CLI, h apiclient.Host) []string {
			return []string{
				h.Name, hostState(h), deref(h.AgentVersion), deref(h.OsName), strconv.FormatInt(h.InstanceCount, 10), c.ago(h.SeenAt),
				labels(h.Labels), h.Id,
			}
		},
		name: func(h apiclient.Host) string { return h.Name },
	}
	g := group("hosts", "Database hosts and their agents",
		list.command(c, &cobra.Command{Short: "List hosts"}),
		c.one("host", &cobra.Command{Use: "show", Short: "Show a host"}, func(ctx context.Context, cl *client, id string, o out) error {
			return showHost(o)(decode[apiclient.Host](cl.HostGet(ctx, id))) //nolint:bodyclose // decode closes it
		}),
		c.hostAddCommand(),
		c.one("host", &cobra.Command{
			Use: "token", Short: "Make a new enrolment token for a host's agent",
			Long: "Makes a new one-time token; earlier unused ones are void.",
		}, func(ctx context.Context, cl *client, id string, o out) error {
			return showEnrollment(o)(decode[apiclient.Enrollment](cl.HostToken(ctx, id))) //nolint:bodyclose // decode closes it
		}),
		c.renameCommand("host", patchHost), c.labelCommand("host", patchHost),
		c.one("host", &cobra.Command{
			Use: "revoke", Short: "Cut a host's agent off", Long: "Cuts the agent off within seconds; a new token enrols it again.",
		}, func(ctx context.Context, cl *client, id string, o out) error {
			return showHost(o)(decode[apiclient.Host](cl.HostRevoke(ctx, id))) //nolint:bodyclose // decode closes it
		}),
		c.one("host", &cobra.Command{
			Use: "delete", Short: "Forget a host",
			Long: "Removes the records of the host and its instances; nothing on the host is touched. Revoke it first.",
		}, func(ctx context.Context, cl *client, id string, o out) error {
			_, err := raw(cl.HostDelete(ctx, id))
			if err == nil {
				fmt.Fprintln(c.Err, "Forgotten.")
			}
			return err
		}),
	)
	return g
}

func hostState(h apiclient.Host) string {
	if h.State != apiclient.HostStateEnrolled {
		return string(h.State)
	}
	if h.Online {
		return "online"
	}
	return "offline"
}

func (c *CLI) hostAddCommand() *cobra.Command {
	var given []string
	cmd := c.output(&cobra.Command{
		Use: "add NAME", Short: "Add a host, with a one-time token for its agent", Args: exactly(1, "NAME"),
		Example: "  pgdrover hosts add db1 --label site=vienna",
	}, func(cmd *cobra.Command, args []string, o out) error {
		set, _, err := changedLabels(cmd, given)
		if err != nil {
			return err
		}
		cl, err := c.connect()
		if err != nil {
			return err
		}
		body := apiclient.HostAddJSONRequestBody{Name: args[0]}
		if len(set) > 0 {
			body.Labels = &set
		}
		return showEnrollment(o)(decode[apiclient.Enrollment](cl.HostAdd(cmd.Context(), body))) //nolint:bodyclose // decode closes it
	})
	cmd.Flags().StringArrayVarP(&given, "label", "l", nil, "key=value (may be repeated)")
	return cmd
}

func showEnrollment(o out) func(e apiclient.Enrollment, body []byte, err error) error {
	return func(e apiclient.Enrollment, body []byte, err error) error {
		if err != nil {
			return err
		}
		return o.show(body, "host/"+e.Host.Name, func(d *details) {
			d.add("Host", e.Host.Name)
			d.add("ID", e.Host.Id)
			d.at("Token good until", &e.ExpiresAt)
			d.add("Token", e.Token)
			d.add("On the host, run", e.InstallCommand)
		})
	}
}

func showHost(o out) func(h apiclient.Host, body []byte, err error) error {
	return func(h apiclient.Host, body []byte, err error) error {
		if err != nil {
			return err
		}
		return o.show(body, "host/"+h.Name, func(d *details) {
			d.add("Name", h.Name)
			d.add("ID", h.Id)
			d.add("State", hostState(h))
			d.at("Seen", h.SeenAt)
			d.optional("Agent", h.AgentVersion)
			d.labels(h.Labels)
			d.add("Instances", strconv.FormatInt(h.InstanceCount, 10))
			d.at("Certificate until", h.CertificateExpiresAt)
			d.at("Added", &h.CreatedAt)
			if h.Facts != nil {
				hostFacts(d, *h.Facts)
			}
		})
	}
}

func hostFacts(d *details, f apiclient.HostFacts) {
	d.add("System", strings.Join([]string{f.Os.Name, f.Os.Version, f.Os.Kernel, f.Os.Architecture}, " "))
	d.at("Booted", &f.Os.BootedAt)
	d.add("Processors", fmt.Sprintf("%d, %s, load %.2f", f.Cpu.Cores, f.Cpu.Model, f.Cpu.Load1))
	d.add("Memory", size(f.Memory.Available)+" free of "+size(f.Memory.Total))
	var disks, binaries []string
	for _, disk := range f.Disks {
		disks = append(disks, fmt.Sprintf("%s: %s free of %s (%s)", disk.Mount, size(disk.Free), size(disk.Total), disk.Type))
	}
	for _, b := range f.Binaries {
		binaries = append(binaries, fmt.Sprintf("%s %s in %s", b.Edition, b.Version, b.Dir))
	}
	d.add("Disks", strings.Join(disks, "\n"))
	d.add("Server programs", strings.Join(binaries, "\n"))
	d.add("New instances in", f.Agent.DataRoot)
	d.add("Instances run as", f.Agent.InstanceOsUser)
	if f.Agent.DroppedReports > 0 {
		d.add("Reports dropped", strconv.FormatInt(f.Agent.DroppedReports, 10))
	}
}

func (c *CLI) instancesCommand() *cobra.Command {
	list := listing[apiclient.Instance]{
		endpoint: "instance-list", head: "NAME HOST PORT STATUS VERSION ROLE SIZE MANAGEMENT OPERATION ID",
		row: func(c *CLI, i apiclient.Instance) []string {
			doing := ""
			if i.CurrentOperation != nil {
				doing = i.CurrentOperation.Title
			}
			return []string{
				i.Name, i.HostName, strconv.Itoa(int(i.Port)), instanceStatus(i), deref(i.Version), deref(i.Role), size(i.SizeBytes),
				string(i.Management), doing, i.Id,
			}
		},
		name: func(i apiclient.Instance) string { return cmp.Or(i.Name, i.Id) },
	}
	return group("instances", "PostgreSQL instances",
		list.command(c, &cobra.Command{Short: "List instances"}),
		c.one("instance", &cobra.Command{
			Use: "show", Short: "Show an instance",
		}, func(ctx context.Context, cl *client, id string, o out) error {
			return showInstance(o)(decode[apiclient.Instance](cl.InstanceGet(ctx, id))) //nolint:bodyclose // decode closes it
		}),
		c.renameCommand("instance", patchInstance), c.labelCommand("instance", patchInstance),
	)
}

// instanceStatus is the last one known; an offline host's may be old.
func instanceStatus(i apiclient.Instance) string {
	if !i.HostOnline {
		return string(i.Status) + "?"
	}
	return string(i.Status)
}

func showInstance(o out) func(i apiclient.Instance, body []byte, err error) error {
	return func(i apiclient.Instance, body []byte, err error) error {
		if err != nil {
			return err
		}
		return o.show(body, "instance/"+i.Name, func(d *details) {
			d.add("Name", i.Name)
			d.add("ID", i.Id)
			d.add("Host", i.HostName)
			if !i.HostOnline {
				d.add("Note", "the host's agent is offline; this is how it was last seen")
			}
			d.add("Status", string(i.Status))
			d.at("Seen", &i.StatusAt)
			d.optional("Conflict", i.Conflict)
			if i.CurrentOperation != nil {
				d.add("Operation", i.CurrentOperation.Title+", "+i.CurrentOperation.State+" ("+i.CurrentOperation.Id+")")
			}
			d.optional("Role", i.Role)
			d.add("Version", strings.TrimSpace(deref(i.Version)+" "+deref(i.Edition)))
			d.add("Port", strconv.Itoa(int(i.Port)))
			d.add("Data directory", i.DataDirectory)
			d.add("Size", size(i.SizeBytes))
			d.add("Management", string(i.Management))
			d.optional("Unit", i.Unit)
			d.optional("Runs as", i.OsUser)
			d.optional("Socket folder", i.SocketDir)
			d.optional("Server programs", i.BinDir)
			d.optional("Account", i.DbmsUser)
			d.optional("System identifier", i.SystemIdentifier)
			d.labels(i.Labels)
			d.at("Started", i.StartedAt)
			d.at("Added", &i.CreatedAt)
		})
	}
}

func (c *CLI) overviewCommand() *cobra.Command {
	return c.output(&cobra.Command{Use: "overview", Short: "The fleet at a glance", Args: cobra.NoArgs},
		func(cmd *cobra.Command, _ []string, o out) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			v, body, err := decode[apiclient.Overview](cl.Overview(cmd.Context())) //nolint:bodyclose // decode closes it
			if err != nil {
				return err
			}
			return o.show(body, "overview", func(d *details) { overview(d, v) })
		})
}

func overview(d *details, v apiclient.Overview) {
	count := func(pairs ...any) string {
		var parts []string
		for pair := range slices.Chunk(pairs, 2) {
			if n, ok := pair[0].(int64); ok && n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", pair...))
			}
		}
		if len(parts) == 0 {
			return "none"
		}
		return strings.Join(parts, ", ")
	}
	h, i, op := v.Hosts, v.Instances, v.Operations
	d.add("Hosts", count(h.Online, "online", h.Offline, "offline", h.Invited, "invited", h.Revoked, "revoked"))
	var pairs []any
	for _, status := range slices.Sorted(maps.Keys(i.ByStatus)) {
		pairs = append(pairs, i.ByStatus[status], status)
	}
	d.add("Instances", count(append(pairs, i.Discovered, "discovered, not managed")...))
	d.add("Operations", count(op.Running, "running", op.Waiting, "waiting", op.Paused, "paused"))
	d.add("In the last day", count(op.Succeeded24h, "succeeded", op.Failed24h, "failed"))
	d.add("Version", v.Version)
}

// editable are the members of a host or an instance that a person edits.
type editable struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

// patcher changes an object that was read with an ETag.
type patcher func(ctx context.Context, cl *client, id, etag string, e editable) ([]byte, error)

func patchHost(ctx context.Context, cl *client, id, etag string, e editable) ([]byte, error) {
	return raw(cl.HostUpdate(ctx, id, &apiclient.HostUpdateParams{IfMatch: &etag},
		apiclient.HostUpdateJSONRequestBody{Name: e.Name, Labels: &e.Labels}))
}

func patchInstance(ctx context.Context, cl *client, id, etag string, e editable) ([]byte, error) {
	return raw(cl.InstanceUpdate(ctx, id, &apiclient.InstanceUpdateParams{IfMatch: &etag},
		apiclient.InstanceUpdateJSONRequestBody{Name: e.Name, Labels: &e.Labels}))
}

// edit reads an object, changes it and writes it back, unless somebody else changed it in between.
func (c *CLI) edit(cmd *cobra.Command, object, ref string, o out, patch patcher, change func(*editable)) error {
	ctx := cmd.Context()
	cl, err := c.connect()
	if err != nil {
		return err
	}
	id, err := cl.find(ctx, object, ref)
	if err != nil {
		return err
	}
	get := cl.HostGet
	if object == "instance" {
		get = cl.InstanceGet
	}
	resp, err := get(ctx, id) //nolint:bodyclose // decode closes it
	e, _, err := decode[editable](resp, err)
	if err != nil {
		return err
	}
	if e.Labels == nil {
		e.Labels = map[string]string{}
	}
	change(&e)
	body, err := patch(ctx, cl, id, resp.Header.Get("ETag"), e)
	if err != nil {
		return err
	}
	if object == "instance" {
		var i apiclient.Instance
		err = json.Unmarshal(body, &i)
		return showInstance(o)(i, body, err)
	}
	var h apiclient.Host
	err = json.Unmarshal(body, &h)
	return showHost(o)(h, body, err)
}

func (c *CLI) renameCommand(object string, patch patcher) *cobra.Command {
	return c.output(&cobra.Command{
		Use: "rename " + strings.ToUpper(object) + " NAME", Short: "Give " + article(object) + " another name",
		Args: exactly(2, strings.ToUpper(object)+" and its new NAME"), ValidArgsFunction: c.completeArg(object),
	}, func(cmd *cobra.Command, args []string, o out) error {
		return c.edit(cmd, object, args[0], o, patch, func(e *editable) { e.Name = args[1] })
	})
}

func article(object string) string {
	if strings.ContainsAny(object[:1], "aeio") {
		return "an " + object
	}
	return "a " + object
}

func (c *CLI) labelCommand(object string, patch patcher) *cobra.Command {
	return c.output(&cobra.Command{
		Use: "label " + strings.ToUpper(object) + " KEY=VALUE... KEY-...", Short: "Set and remove labels",
		ValidArgsFunction: c.completeArg(object),
		Example:           "  pgdrover " + plural(object) + " label db1 site=vienna test-   # sets site, removes test",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError(cmd, "missing: %s and at least one KEY=VALUE or KEY-", strings.ToUpper(object))
			}
			return nil
		},
	}, func(cmd *cobra.Command, args []string, o out) error {
		set, gone, err := changedLabels(cmd, args[1:])
		if err != nil {
			return err
		}
		return c.edit(cmd, object, args[0], o, patch, func(e *editable) {
			maps.Copy(e.Labels, set)
			for _, k := range gone {
				delete(e.Labels, k)
			}
		})
	})
}

// changedLabels reads key=value, and key- for one to remove.
func changedLabels(cmd *cobra.Command, args []string) (set map[string]string, gone []string, err error) {
	set = map[string]string{}
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if ok && k != "" {
			set[k] = v
			continue
		}
		if k, ok = strings.CutSuffix(a, "-"); !ok || k == "" {
			return nil, nil, usageError(cmd, "%s is neither KEY=VALUE nor KEY-", quote(a))
		}
		gone = append(gone, k)
	}
	return set, gone, nil
}
