// Package agent is the process on a database host: an activity-only Temporal worker behind the manager's gateway, with
// a scheduler of its own for what goes on in the background.
//
// It enrols once (enroll.go), then lives by its identity (identity.go), which it renews itself. Work comes through
// Temporal (session.go) and is carried out by activities/hostimpl; facts and changes of instances are spooled on disk
// and sent in order (scheduler.go, spool.go), the output of commands is uploaded (output.go). The gateway may be away
// at any time, for any length of time; nothing here gives up because of it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/activities/hostimpl"
	"github.com/pgdrover/pgdrover/activities/hostimpl/facts"
	"github.com/pgdrover/pgdrover/workflows/op"
	"google.golang.org/grpc"
)

// flushTime is what the last output gets when the agent stops.
const flushTime = 5 * time.Second

// agent is one running agent.
type agent struct {
	cfg       Config
	log       *slog.Logger
	id        *identity
	session   string
	gw        *gateway
	conns     *conns
	lostPolls grpc.UnaryClientInterceptor
	verbs     *hostimpl.Verbs
	facts     *facts.Collector
	spool     *spool
	output    *uploader
	fatal     chan error

	factsEvery  atomic.Int64
	factsNow    chan struct{}
	configEtag  string
	conflicts   []host.InstanceConflict
	refusedWait time.Duration
	configWait  time.Duration

	lastMu sync.Mutex
	last   map[string]glance

	refusalMu  sync.Mutex
	refusal    bool
	refusedCh  chan struct{}
	acceptedCh chan struct{}

	readyOnce sync.Once
	// quit carries why the process has to begin anew.
	quit chan error
}

// Run lives until ctx ends. An error is one that the process cannot mend by itself.
func Run(ctx context.Context, cfg Config) error {
	a, err := newAgent(cfg)
	if err != nil {
		return err
	}
	return a.run(ctx)
}

func newAgent(cfg Config) (*agent, error) {
	cfg.defaults()
	id, err := loadIdentity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	policy, err := hostimpl.LoadPolicy(cfg.PolicyFile)
	if err != nil {
		return nil, err
	}
	hostname := cfg.Hostname
	if hostname == "" {
		hostname, _ = os.Hostname()
	}
	a := &agent{
		cfg: cfg, log: cfg.Logger, id: id, session: hostname + "@" + uuid.NewString(), conns: &conns{}, lostPolls: newLostPolls(),
		factsNow: make(chan struct{}, 1), refusedWait: refusedRetry, configWait: configEvery, last: map[string]glance{},
		refusedCh: make(chan struct{}), acceptedCh: make(chan struct{}), quit: make(chan error, 1), output: newUploader(cfg.Logger),
	}
	a.factsEvery.Store(int64(defaultFactsInterval))
	if a.spool, err = openSpool(cfg.StateDir, a.log); err != nil {
		return nil, err
	}
	a.gw = newGateway(a.address(),
		&http.Transport{TLSClientConfig: id.tlsConfig(), ForceAttemptHTTP2: true, DialContext: a.conns.dial})
	a.gw.onAnswer = a.heard
	a.facts = NewCollector(cfg, policy, a.spool.dropped)
	a.verbs = hostimpl.New(hostimpl.Config{
		StateDir:   cfg.StateDir,
		RuntimeDir: cfg.RuntimeDir,
		Policy:     policy,
		DataRoot:   cfg.DataRoot,
		Secrets:    a,
		Output:     a.output,
		Facts:      a.facts,
		Logger:     a.log,
		JobRunner:  cfg.JobRunner,
		NoSystemd:  cfg.NoSystemd,
		Worked:     cfg.worked(),
	})
	return a, nil
}

// NewCollector makes the collector of facts that the configuration describes; it needs no manager.
func NewCollector(cfg Config, policy hostimpl.Policy, dropped func() int64) *facts.Collector {
	caps := make([]string, 0, len(host.Verbs()))
	for _, v := range host.Verbs() {
		caps = append(caps, v.Name)
	}
	return facts.New(facts.Options{
		Version: cfg.Version, Capabilities: caps, Systemd: hostimpl.Systemd() && !cfg.NoSystemd, InstanceOSUser: policy.InstanceOSUser,
		DataRoot: cfg.DataRoot, Folders: policy.Folders, StateDir: cfg.StateDir, ExtraDirs: cfg.DataDirectories,
		IgnoreDirs: cfg.IgnoreDataDirectories, OnlyUnder: cfg.OnlyUnder, Hostname: cfg.Hostname, MachineID: cfg.MachineID,
		Dropped: dropped, Logger: cfg.Logger,
	})
}

func (a *agent) address() string {
	if a.cfg.Gateway != "" {
		return a.cfg.Gateway
	}
	return a.id.get().Gateway
}

func (a *agent) run(ctx context.Context) error {
	unlock, err := lockState(a.cfg.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	a.log.Info("agent starts", "version", a.cfg.Version, "host", a.id.get().HostID, "gateway", a.address(), "session", a.session)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Output is uploaded a little longer than the rest lives.
	octx, ostop := context.WithCancel(context.WithoutCancel(ctx))
	defer ostop()
	var all, up sync.WaitGroup
	up.Go(func() { a.output.run(octx, sendOutput(a.gw), newBackoff(a.log)) })
	all.Go(func() { a.verbs.Housekeep(ctx) })
	all.Go(func() { a.pollConfig(ctx) })
	all.Go(func() { a.reportFacts(ctx) })
	all.Go(func() { a.watch(ctx) })
	all.Go(func() { a.renew(ctx) })
	all.Go(func() {
		back := newBackoff(a.log)
		back.refusedWait = a.refusedWait
		a.spool.deliver(ctx, a.sendReports, back)
	})
	err = a.work(ctx)
	stop()
	all.Wait()
	fctx, fstop := context.WithTimeout(octx, flushTime)
	a.output.flush(fctx)
	fstop()
	ostop()
	up.Wait()
	a.gw.close()
	a.log.Info("agent stopped")
	return err
}

// lockState keeps a second agent from the same state: two would do the same steps.
func lockState(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "agent.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the agent's state: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the agent's state in %s: another agent runs with it", dir)
	}
	return func() { f.Close() }, nil
}

// Fetch gets a secret from the manager, under the grant of the operation.
func (a *agent) Fetch(ctx context.Context, secretID, operation string) (string, error) {
	var out host.SecretOut
	err := a.gw.post(ctx, host.PathSecret, host.SecretIn{Secret: secretID, Operation: operation}, &out)
	var g *GatewayError
	switch {
	case err == nil:
		return out.Value, nil
	case errors.As(err, &g) && pointless(err):
		return "", op.Permanent(op.CodeForbidden, "fetch a secret of the operation: %s",
			"The operation has no right to it any more; start it again.", g.Detail)
	}
	return "", op.Transient("manager-away", err)
}

// heard takes in whether the gateway accepted our identity.
func (a *agent) heard(err error) {
	a.refusalMu.Lock()
	defer a.refusalMu.Unlock()
	switch {
	case refused(err) && !a.refusal:
		a.refusal = true
		close(a.refusedCh)
		a.acceptedCh = make(chan struct{})
		a.log.Error("the manager does not know this agent any more: the host was revoked or its certificate has expired; "+
			"to use the host again make a new token and enrol it with --force", "error", err)
	case (err == nil || pointless(err)) && a.refusal:
		a.refusal = false
		close(a.acceptedCh)
		a.refusedCh = make(chan struct{})
		a.log.Info("the manager accepts this agent again")
	}
}

func (a *agent) isRefused() bool {
	a.refusalMu.Lock()
	defer a.refusalMu.Unlock()
	return a.refusal
}

func (a *agent) refusedNow() <-chan struct{} {
	a.refusalMu.Lock()
	defer a.refusalMu.Unlock()
	return a.refusedCh
}

func (a *agent) awaitAccepted(ctx context.Context) error {
	a.refusalMu.Lock()
	ch := a.acceptedCh
	a.refusalMu.Unlock()
	select {
	case <-ch:
	case err := <-a.quit:
		return err
	case <-ctx.Done():
	}
	return nil
}

// reconnect makes all connections anew, under the certificate of now.
func (a *agent) reconnect() {
	a.conns.cut()
	a.gw.close()
}

func (a *agent) markReady() {
	if a.cfg.OnReady != nil {
		a.readyOnce.Do(a.cfg.OnReady)
	}
}
