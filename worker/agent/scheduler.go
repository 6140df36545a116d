package agent

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
)

const (
	// configEvery is how often the manager is asked what it wants of us.
	configEvery = 15 * time.Second
	// watchEvery is how often the instances are looked at.
	watchEvery = time.Second
	// refusedRetry is how often an agent that is refused asks again.
	refusedRetry = 60 * time.Second

	defaultFactsInterval = 60 * time.Second
	minFactsInterval     = 5 * time.Second
)

// pollConfig keeps the list of managed instances up to date. It is also what notices that we are refused, or no more.
func (a *agent) pollConfig(ctx context.Context) {
	back := newBackoff(a.log)
	back.refusedWait = a.refusedWait
	for ctx.Err() == nil {
		a.reloadIdentity()
		if err := a.fetchConfig(ctx); err != nil {
			back.wait(ctx, err, "the manager's gateway cannot be asked")
			continue
		}
		back.reset()
		select {
		case <-time.After(a.configWait):
		case <-ctx.Done():
		}
	}
}

// reloadIdentity takes over what `enroll --force` stored while the agent runs.
func (a *agent) reloadIdentity() {
	before := a.id.get()
	changed, err := a.id.reload()
	if err != nil {
		a.log.Warn("look at the identity", "error", err)
	}
	if !changed {
		return
	}
	now := a.id.get()
	a.log.Info("the host was enrolled again", "host", now.HostID)
	if now.HostID != before.HostID || now.Gateway != before.Gateway || now.Namespace != before.Namespace {
		select {
		case a.quit <- errEnrolledAnew:
		default:
		}
		return
	}
	a.reconnect()
}

var errEnrolledAnew = errors.New("the host was enrolled anew as another one: the agent begins again")

func (a *agent) fetchConfig(ctx context.Context) error {
	var out host.AgentConfig
	header := http.Header{}
	if etag := a.configEtag; etag != "" {
		header.Set("If-None-Match", `"`+etag+`"`)
	}
	status, err := a.gw.callWith(ctx, http.MethodGet, host.PathConfig, header, nil, &out)
	if err != nil || status == http.StatusNotModified {
		return err
	}
	a.configEtag = out.Etag
	dirs := make([]string, 0, len(out.Instances))
	for _, i := range out.Instances {
		dirs = append(dirs, i.DataDirectory)
	}
	a.facts.SetManaged(dirs)
	if n := time.Duration(out.FactsIntervalSeconds) * time.Second; n >= minFactsInterval {
		a.factsEvery.Store(int64(n))
	}
	a.log.Debug("configuration of the manager", "host_name", out.HostName, "instances", len(out.Instances))
	return nil
}

// reportFacts sends a full report at the start and then regularly.
func (a *agent) reportFacts(ctx context.Context) {
	for {
		f, err := a.facts.Facts(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			a.remember(f.Instances)
			err = a.spool.add(host.Report{At: f.CollectedAt, Facts: &f})
		}
		if err != nil {
			a.log.Warn("report the host's facts", "error", err)
		}
		select {
		case <-time.After(time.Duration(a.factsEvery.Load())):
		case <-a.factsNow:
		case <-ctx.Done():
			return
		}
	}
}

// watch looks at the instances every second and reports a change at once.
func (a *agent) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		changed, gone := a.compare(a.facts.Known())
		if gone {
			select {
			case a.factsNow <- struct{}{}:
			default:
			}
		}
		if len(changed) == 0 {
			continue
		}
		for i := range changed {
			a.facts.Complete(ctx, &changed[i])
		}
		if err := a.spool.add(host.Report{At: time.Now().UTC(), Instances: changed}); err != nil {
			a.log.Warn("report changed instances", "error", err)
		}
	}
}

// glance is what of an instance counts as a change.
type glance struct {
	status, role, identifier string
	pid, port                int
}

func glanceOf(in host.Instance) glance {
	return glance{in.Status, in.Role, in.SystemIdentifier, in.PID, in.Port}
}

// compare returns the instances that are not as they were, and whether one is gone altogether.
func (a *agent) compare(now []host.Instance) (changed []host.Instance, gone bool) {
	a.lastMu.Lock()
	defer a.lastMu.Unlock()
	seen := map[string]glance{}
	for _, in := range now {
		g := glanceOf(in)
		seen[in.DataDirectory] = g
		if old, ok := a.last[in.DataDirectory]; !ok || old != g {
			changed = append(changed, in)
		}
	}
	for dir := range a.last {
		if _, ok := seen[dir]; !ok {
			gone = true
		}
	}
	a.last = seen
	return changed, gone
}

// remember takes what a full report said, so that it is not reported as a change again.
func (a *agent) remember(list []host.Instance) {
	a.lastMu.Lock()
	defer a.lastMu.Unlock()
	seen := map[string]glance{}
	for _, in := range list {
		seen[in.DataDirectory] = glanceOf(in)
	}
	a.last = seen
}

// sendReports delivers a batch and takes in who else holds our instances.
func (a *agent) sendReports(ctx context.Context, batch []host.Report) error {
	var out host.ReportsOut
	if err := a.gw.post(ctx, host.PathReports, host.ReportsIn{Reports: batch}, &out); err != nil {
		return err
	}
	if !reflect.DeepEqual(out.Conflicts, a.conflicts) {
		a.conflicts = out.Conflicts
		a.facts.SetConflicts(out.Conflicts)
		for _, c := range out.Conflicts {
			a.log.Warn("another agent holds an instance; this one leaves it alone", "data_directory", c.DataDirectory, "held_by", c.HeldBy)
		}
	}
	return nil
}

// renew replaces the certificate at two thirds of its life.
func (a *agent) renew(ctx context.Context) {
	back := newBackoff(a.log)
	back.refusedWait, back.most = a.refusedWait, time.Minute
	for ctx.Err() == nil {
		if d := time.Until(a.id.renewAt()); d > 0 {
			select {
			// Looked at again now and then: the host may be enrolled anew, or its clock be set.
			case <-time.After(min(d, time.Minute)):
			case <-ctx.Done():
			}
			continue
		}
		if err := a.renewNow(ctx); err != nil {
			back.wait(ctx, err, "the certificate cannot be renewed; it expires at "+a.id.expires().Format(time.RFC3339))
			continue
		}
		back.reset()
	}
}

func (a *agent) renewNow(ctx context.Context) error {
	key, csr, err := newKey(a.id.get().HostID)
	if err != nil {
		return err
	}
	var out host.EnrollOut
	if err := a.gw.post(ctx, host.PathRenew, host.RenewIn{CSRPEM: csr}, &out); err != nil {
		return err
	}
	if out.HostID != a.id.get().HostID {
		return errors.New("renew certificate: the answer is for another host")
	}
	if err := a.id.renewed(key, out); err != nil {
		return err
	}
	a.log.Info("certificate renewed", "expires", a.id.expires())
	a.reconnect()
	return nil
}
