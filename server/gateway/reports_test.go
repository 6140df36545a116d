package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/stretchr/testify/require"
)

func running1(dir string, port int) host.Instance {
	started := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	return host.Instance{
		DataDirectory: dir, SystemIdentifier: "7300000000000000001", Status: host.InstanceRunning, Role: "primary", Version: "15.18",
		Edition: "postgresql", Port: port, SocketDir: "/run/postgresql", BinDir: "/usr/lib/postgresql/15/bin", OSUser: "postgres",
		PID: 100, StartedAt: &started, SizeBytes: 1 << 30,
	}
}

func full(seq int64, machine string, list ...host.Instance) host.Report {
	return host.Report{Seq: seq, Epoch: "e", At: time.Now(), Facts: &host.Facts{
		CollectedAt: time.Now(), Agent: host.AgentFacts{Version: "2.0", Capabilities: []string{"command-run"}},
		OS: host.OS{Hostname: "box", MachineID: machine}, Instances: list,
	}}
}

func (f *fixture) report(t *testing.T, a *agent, reports ...host.Report) host.ReportsOut {
	t.Helper()
	var out host.ReportsOut
	status, code := post(t, a.http, f.addr, host.PathReports, host.ReportsIn{Reports: reports}, &out)
	require.Equal(t, http.StatusOK, status, code)
	return out
}

func (f *fixture) instances(t *testing.T, a *agent) map[string]gen.Instance {
	t.Helper()
	rows, err := f.db.InstancesOfHost(t.Context(), a.id)
	require.NoError(t, err)
	out := map[string]gen.Instance{}
	for _, r := range rows {
		out[r.DataDirectory] = r
	}
	return out
}

func TestReportStoresFactsAndInstances(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "alpha")
	one, two := running1("/data/one", 5432), running1("/data/two", 5433)
	two.Status, two.Port, two.SystemIdentifier, two.PID, two.StartedAt = host.InstanceStopped, 0, "7300000000000000002", 0, nil
	out := f.report(t, a, full(1, "m1", one, two))
	require.Empty(t, out.Conflicts)
	require.NotNil(t, out.Conflicts)

	row, err := f.db.GetHost(t.Context(), a.id)
	require.NoError(t, err)
	require.Equal(t, "2.0", row.AgentVersion)
	require.Equal(t, []string{"command-run"}, row.Capabilities)
	require.Equal(t, "m1", row.MachineID)
	require.Contains(t, string(row.Facts), `"box"`)
	require.NotNil(t, row.FactsAt)

	got := f.instances(t, a)
	require.Len(t, got, 2)
	require.Equal(t, "alpha-5432", got["/data/one"].Name)
	require.Equal(t, "alpha-two", got["/data/two"].Name)
	require.Equal(t, "discovered", got["/data/one"].Management)
	require.Equal(t, "running", got["/data/one"].Status)
	require.EqualValues(t, 1<<30, got["/data/one"].SizeBytes)

	// Only the status in between: nothing vanishes, an unmeasured size stays.
	one.Status, one.SizeBytes, one.PID, one.StartedAt = host.InstanceStopped, -1, 0, nil
	f.report(t, a, host.Report{Seq: 2, Epoch: "e", Instances: []host.Instance{one}})
	got = f.instances(t, a)
	require.Len(t, got, 2)
	require.Equal(t, "stopped", got["/data/one"].Status)
	require.EqualValues(t, 1<<30, got["/data/one"].SizeBytes)
	require.Nil(t, got["/data/one"].StartedAt)
}

func TestReportToldTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	first := full(1, "m", running1("/data/one", 5432))
	f.report(t, a, first)
	second := host.Report{Seq: 2, Epoch: "e", Instances: []host.Instance{running1("/data/one", 5440)}}
	f.report(t, a, first, second)
	require.EqualValues(t, 5440, f.instances(t, a)["/data/one"].Port)
	f.report(t, a, first)
	require.EqualValues(t, 5440, f.instances(t, a)["/data/one"].Port, "an old report changes nothing")

	fresh := full(1, "m", running1("/data/one", 5441))
	fresh.Epoch = "spool made anew"
	f.report(t, a, fresh)
	require.EqualValues(t, 5441, f.instances(t, a)["/data/one"].Port)
}

func (f *fixture) manage(t *testing.T, id uuid.UUID, statusAge string) {
	t.Helper()
	_, err := f.db.Pool.Exec(t.Context(),
		"UPDATE instance SET management = 'managed', name = 'm-' || id, status_at = now() - $2::interval WHERE id = $1", id, statusAge)
	require.NoError(t, err)
}

func TestInstancesThatVanish(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	f.report(t, a, full(1, "m", running1("/data/seen", 1), running1("/data/managed", 2), running1("/data/recent", 3)))
	got := f.instances(t, a)
	f.manage(t, got["/data/managed"].ID, "1 minute")
	f.manage(t, got["/data/recent"].ID, "1 second")
	// An operation has just entered one that is not there yet.
	creating := uuid.Must(uuid.NewV7())
	_, err := f.db.Pool.Exec(t.Context(), `INSERT INTO instance (id, host_id, name, management, status, data_directory, status_at)
		VALUES ($1, $2, 'new', 'managed', 'creating', '/data/new', now() - interval '1 hour')`, creating, a.id)
	require.NoError(t, err)

	f.report(t, a, full(2, "m"))
	got = f.instances(t, a)
	require.NotContains(t, got, "/data/seen")
	require.Equal(t, "missing", got["/data/managed"].Status)
	require.Equal(t, "running", got["/data/recent"].Status, "too fresh for the report to know")
	require.Equal(t, "creating", got["/data/new"].Status)

	half := running1("/data/new", 5)
	half.Status = host.InstanceCrashed
	f.report(t, a, host.Report{Seq: 3, Epoch: "e", Instances: []host.Instance{half}})
	require.Equal(t, "creating", f.instances(t, a)["/data/new"].Status)
	both := []host.Instance{running1("/data/new", 5), running1("/data/managed", 2)}
	f.report(t, a, host.Report{Seq: 4, Epoch: "e", Instances: both})
	got = f.instances(t, a)
	require.Equal(t, "running", got["/data/new"].Status)
	require.Equal(t, "running", got["/data/managed"].Status)
	require.Equal(t, "managed", got["/data/new"].Management)
}

func TestTwoAgentsOfOneMachineConflict(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	first, second := f.enroll(t, "first"), f.enroll(t, "second")
	elsewhere := f.enroll(t, "elsewhere")
	inst := running1("/data/one", 5432)
	require.Empty(t, f.report(t, first, full(1, "same", inst)).Conflicts)
	out := f.report(t, second, full(1, "same", inst, running1("/data/other", 5433)))
	want := host.InstanceConflict{DataDirectory: "/data/one", SystemIdentifier: inst.SystemIdentifier, HeldBy: "first"}
	require.Equal(t, []host.InstanceConflict{want}, out.Conflicts)
	require.Equal(t, "first", f.instances(t, second)["/data/one"].Conflict)
	require.Empty(t, f.instances(t, second)["/data/other"].Conflict)
	require.Empty(t, f.report(t, elsewhere, full(1, "another machine", inst)).Conflicts)

	// The holder goes on holding, told twice the answer is the same.
	require.Empty(t, f.report(t, first, full(2, "same", inst)).Conflicts)
	require.Len(t, f.report(t, second, full(1, "same", inst)).Conflicts, 1)

	// With the holder's host revoked the way is free.
	f.revoke(t, first)
	require.Empty(t, f.report(t, second, full(2, "same", inst)).Conflicts)
	require.Empty(t, f.instances(t, second)["/data/one"].Conflict)
}

func TestNamesOfDiscoveredInstancesAreUnique(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	f.report(t, a, full(1, "m", running1("/data/x", 5432), running1("/other/x", 5432)))
	names := map[string]bool{}
	for _, i := range f.instances(t, a) {
		names[i.Name] = true
	}
	require.Equal(t, map[string]bool{"a-5432": true, "a-5432-2": true}, names)
}

func TestRubbishIsRefusedAndNothingStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	long := strings.Repeat("x", 10000)
	for name, change := range map[string]func(*host.Report){
		"negative port":        func(r *host.Report) { r.Facts.Instances[0].Port = -1 },
		"port too high":        func(r *host.Report) { r.Facts.Instances[0].Port = 70000 },
		"negative pid":         func(r *host.Report) { r.Facts.Instances[0].PID = -5 },
		"size":                 func(r *host.Report) { r.Facts.Instances[0].SizeBytes = -2 },
		"long hostname":        func(r *host.Report) { r.Facts.OS.Hostname = long },
		"long mount":           func(r *host.Report) { r.Facts.Disks = []host.Disk{{Mount: long}} },
		"long version":         func(r *host.Report) { r.Facts.Instances[0].Version = long[:1000] },
		"long capability":      func(r *host.Report) { r.Facts.Agent.Capabilities = []string{long} },
		"nul in name":          func(r *host.Report) { r.Facts.OS.Name = "a\x00b" },
		"nul in directory":     func(r *host.Report) { r.Facts.Instances[0].DataDirectory = "/data/\x00" },
		"nul in capability":    func(r *host.Report) { r.Facts.Agent.Capabilities = []string{"\x00"} },
		"negative memory":      func(r *host.Report) { r.Facts.Memory.Total = -1 },
		"negative load":        func(r *host.Report) { r.Facts.CPU.Load1 = -0.5 },
		"relative directory":   func(r *host.Report) { r.Facts.Instances[0].DataDirectory = "data" },
		"unclean directory":    func(r *host.Report) { r.Facts.Instances[0].DataDirectory = "/data/../etc" },
		"unknown status":       func(r *host.Report) { r.Facts.Instances[0].Status = "creating" },
		"unknown role":         func(r *host.Report) { r.Facts.Instances[0].Role = "king" },
		"system identifier":    func(r *host.Report) { r.Facts.Instances[0].SystemIdentifier = "x" },
		"sequence number":      func(r *host.Report) { r.Seq = 0 },
		"no epoch":             func(r *host.Report) { r.Epoch = "" },
		"too many instances":   func(r *host.Report) { r.Instances = make([]host.Instance, maxListed+1) },
		"rubbish beside facts": func(r *host.Report) { r.Instances = []host.Instance{{Status: "running"}} },
	} {
		r := full(1, "m", running1("/data/one", 5432))
		change(&r)
		status, code := post(t, a.http, f.addr, host.PathReports, host.ReportsIn{Reports: []host.Report{full(1, "m"), r}}, nil)
		require.Equal(t, http.StatusUnprocessableEntity, status, name)
		require.Equal(t, "invalid-report", code, name)
	}
	row, err := f.db.GetHost(t.Context(), a.id)
	require.NoError(t, err)
	require.Nil(t, row.Facts)
	require.Empty(t, row.ReportEpoch)
	require.Empty(t, f.instances(t, a))
}

func TestOnlyVisibleChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	f := newFixture(t, newFake())
	a := f.enroll(t, "a")
	events := f.events(t)
	inst := running1("/data/one", 5432)
	f.report(t, a, full(1, "m", inst))
	id := f.instances(t, a)["/data/one"].ID.String()
	require.Equal(t, id, events.next(t, "instance").ID)

	inst.SizeBytes += 4096
	f.report(t, a, host.Report{Seq: 2, Epoch: "e", Instances: []host.Instance{inst}})
	require.Equal(t, inst.SizeBytes, f.instances(t, a)["/data/one"].SizeBytes)
	inst.Status = host.InstanceStopped
	f.report(t, a, host.Report{Seq: 3, Epoch: "e", Instances: []host.Instance{inst}})
	require.Equal(t, id, events.next(t, "instance").ID)
	f.report(t, a, host.Report{Seq: 4, Epoch: "e", Instances: []host.Instance{inst}})
	require.NoError(t, f.db.NotifyEvent(t.Context(), `{"kind":"audit","id":"end"}`))
	events.next(t, "audit")
	require.Equal(t, 2, events.count("instance"))
}
