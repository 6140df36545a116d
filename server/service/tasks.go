// Package service holds the manager's own regular work. Each task is a schedule of kind service: listed, pausable,
// with its history.
package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/server/admit"
	"github.com/pgdrover/pgdrover/server/schedule"
)

// Retention says how long records are kept, in days.
type Retention struct {
	Operations    int32 `yaml:"operations_days"`
	Output        int32 `yaml:"output_days"`
	Audit         int32 `yaml:"audit_days"`
	Notifications int32 `yaml:"notifications_days"`
	Runs          int32 `yaml:"runs_days"`
}

// DefaultRetention keeps what a person asks for a year later.
func DefaultRetention() Retention {
	return Retention{Operations: 400, Output: 90, Audit: 800, Notifications: 90, Runs: 90}
}

// Tasks makes the list.
func Tasks(d *db.DB, a *admit.Service, s *schedule.Service, keep Retention) []schedule.Task {
	return []schedule.Task{
		{
			Name: "reconcile", Title: "Reconcile operations and schedules", Every: time.Minute,
			Run: func(ctx context.Context) (string, error) {
				what, err := a.Reconcile(ctx)
				n, err2 := s.Apply(ctx)
				return fmt.Sprintf("%s, %d schedules applied", what, n), errors.Join(err, err2)
			},
		},
		{
			Name: "housekeeping", Title: "Housekeeping: remove records past their retention", Every: 6 * time.Hour,
			Run: func(ctx context.Context) (string, error) { return housekeeping(ctx, d, keep) },
		},
		{
			Name: "certificates", Title: "Check agents' certificates", Every: 24 * time.Hour,
			Run: func(ctx context.Context) (string, error) { return certificates(ctx, d) },
		},
	}
}

func housekeeping(ctx context.Context, d *db.DB, keep Retention) (string, error) {
	var parts []string
	var failed []error
	clean := func(what string, fn func() (int64, error)) {
		n, err := fn()
		if err != nil {
			failed = append(failed, fmt.Errorf("remove old %s: %w", what, err))
			return
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	clean("operations", func() (int64, error) { return d.DeleteOldOperations(ctx, keep.Operations) })
	clean("outputs", func() (int64, error) { return d.DeleteOldOutput(ctx, keep.Output) })
	clean("audit records", func() (int64, error) { return d.DeleteOldAudit(ctx, keep.Audit) })
	clean("notifications", func() (int64, error) { return d.DeleteOldNotifications(ctx, keep.Notifications) })
	clean("runs", func() (int64, error) { return d.DeleteOldRuns(ctx, keep.Runs) })
	clean("sessions", func() (int64, error) { return d.DeleteExpiredSessions(ctx) })
	clean("sign-in failures", func() (int64, error) { return d.DeleteOldLoginFailures(ctx) })
	clean("secrets", func() (int64, error) { return d.DeleteUnusedSecrets(ctx) })
	return "removed " + strings.Join(parts, ", "), errors.Join(failed...)
}

// certificates warns administrators of agents that did not renew: renewal begins at two thirds of the life, so a
// certificate with less than a fifth left means that something is wrong.
func certificates(ctx context.Context, d *db.DB) (string, error) {
	rows, err := d.ExpiringCertificates(ctx, 18)
	if err != nil {
		return "", fmt.Errorf("list expiring certificates: %w", err)
	}
	err = d.InTx(ctx, func(ctx context.Context, q *gen.Queries) error {
		admins, err := q.AdministratorIDs(ctx)
		if err != nil {
			return err
		}
		for _, r := range rows {
			for _, account := range admins {
				id := uuid.Must(uuid.NewV7())
				if err := q.InsertNotification(ctx, gen.InsertNotificationParams{
					ID: id, AccountID: account, Kind: "certificate-expiring", Severity: "warning",
					Title: "Certificate of host " + r.HostName + " expires on " + r.NotAfter.UTC().Format("2006-01-02"),
					Body:  "Its agent should have renewed it. See that the agent runs, or enrol it again.",
				}); err != nil {
					return err
				}
				if err := db.Notify(ctx, q, db.Event{Kind: "notification", ID: id.String(), Parent: account.String()}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return fmt.Sprintf("%d certificates need attention", len(rows)), err
}
