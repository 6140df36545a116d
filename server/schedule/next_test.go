package schedule_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pgdrover/pgdrover/internal/errs"
	"github.com/pgdrover/pgdrover/server/schedule"
	"github.com/stretchr/testify/require"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return v
}

// Cron lines are read in their time zone, over the change to summer time too.
func TestNextFollowsTheZone(t *testing.T) {
	t.Parallel()
	got := schedule.Next("30 3 * * *", 0, "Europe/Vienna", at(t, "2026-03-28T00:00:00Z"), nil, nil, 3)
	require.Equal(t, []time.Time{at(t, "2026-03-28T02:30:00Z"), at(t, "2026-03-29T01:30:00Z"), at(t, "2026-03-30T01:30:00Z")}, got)
}

func TestNextEvery(t *testing.T) {
	t.Parallel()
	start, end := at(t, "2026-01-01T00:30:00Z"), at(t, "2026-01-01T02:00:00Z")
	got := schedule.Next("", 1800, "UTC", at(t, "2026-01-01T00:00:00Z"), &start, &end, 10)
	require.Equal(t, []time.Time{
		at(t, "2026-01-01T00:30:00Z"), at(t, "2026-01-01T01:00:00Z"), at(t, "2026-01-01T01:30:00Z"), at(t, "2026-01-01T02:00:00Z"),
	}, got, "from the start on, up to the end")
}

func TestCheckNamesEveryFault(t *testing.T) {
	t.Parallel()
	early, late := at(t, "2026-01-01T00:00:00Z"), at(t, "2026-01-02T00:00:00Z")
	good := schedule.Definition{
		Name: "n", OperationName: "instance-restart", Cron: "0 3 * * *", TimeZone: "UTC",
		Input: json.RawMessage(`{"instance_id":"01900000-0000-7000-8000-000000000003"}`),
	}
	require.NoError(t, good.Check())
	for name, c := range map[string]struct {
		change func(*schedule.Definition)
		at     string
	}{
		"both":            {func(d *schedule.Definition) { d.EverySeconds = 60 }, "body.cron"},
		"neither":         {func(d *schedule.Definition) { d.Cron = "" }, "body.cron"},
		"bad cron":        {func(d *schedule.Definition) { d.Cron = "61 * * * *" }, "body.cron"},
		"zone in cron":    {func(d *schedule.Definition) { d.Cron = "CRON_TZ=UTC 0 3 * * *" }, "body.cron"},
		"too often":       {func(d *schedule.Definition) { d.Cron, d.EverySeconds = "", 59 }, "body.every_seconds"},
		"zone":            {func(d *schedule.Definition) { d.TimeZone = "Mars/Olympus" }, "body.time_zone"},
		"end first":       {func(d *schedule.Definition) { d.StartAt, d.EndAt = &late, &early }, "body.end_at"},
		"no operation":    {func(d *schedule.Definition) { d.OperationName = "no-such" }, "body.operation_name"},
		"not schedulable": {func(d *schedule.Definition) { d.OperationName = "instance-delete" }, "body.operation_name"},
		"unknown field":   {func(d *schedule.Definition) { d.Input = json.RawMessage(`{"nonsense":1}`) }, "body.input.body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := good
			c.change(&d)
			e, ok := errs.As(d.Check())
			require.True(t, ok)
			require.Equal(t, errs.Invalid, e.Kind)
			require.Equal(t, c.at, e.Fields[0].Location)
		})
	}
}
