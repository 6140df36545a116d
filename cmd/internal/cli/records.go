package cli

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/internal/apiclient"
	"github.com/spf13/cobra"
)

func (c *CLI) notificationsCommand() *cobra.Command {
	list := listing[apiclient.Notification]{
		endpoint: "notification-list", head: "AT READ SEVERITY TITLE OPERATION ID",
		row: func(c *CLI, n apiclient.Notification) []string {
			return []string{c.ago(&n.At), yesNo(n.ReadAt != nil), string(n.Severity), n.Title, deref(n.OperationId), n.Id}
		},
		name: func(n apiclient.Notification) string { return n.Id },
	}
	return group("notifications", "News for you",
		list.command(c, &cobra.Command{Short: "List your notifications, the newest first"}), c.readCommand())
}

func (c *CLI) readCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "read [ID...]", Short: "Mark notifications as read",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usageError(cmd, "give the ids of notifications, or --all")
			}
			for _, id := range args {
				if _, err := uuid.Parse(id); err != nil {
					return usageError(cmd, "%s is no notification's id", quote(id))
				}
			}
			cl, err := c.connect()
			if err != nil {
				return err
			}
			body := map[string]any{"all": all}
			if !all {
				body = map[string]any{"ids": args}
			}
			if _, err := cl.post(cmd.Context(), "/api/v1/notifications/read", body); err != nil {
				return err
			}
			fmt.Fprintln(c.Err, "Marked as read.")
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all of them")
	return cmd
}

func (c *CLI) auditCommand() *cobra.Command {
	list := listing[apiclient.AuditRecord]{
		endpoint: "audit-list", head: "AT WHO FROM DID TO RESULT OPERATION",
		row: func(_ *CLI, a apiclient.AuditRecord) []string {
			to := deref(a.TargetKind)
			if name := deref(a.TargetName); name != "" {
				to += " " + name
			}
			// A record's time is evidence: in full, not relative.
			return []string{
				a.At.Local().Format("2006-01-02 15:04:05"), a.Actor, deref(a.RemoteAddress), a.Action, to,
				string(a.Result), deref(a.OperationId),
			}
		},
		name: func(a apiclient.AuditRecord) string { return fmt.Sprint(a.Id) },
	}
	return group("audit", "Who did what", list.command(c, &cobra.Command{Short: "List acts, the newest first"}))
}
