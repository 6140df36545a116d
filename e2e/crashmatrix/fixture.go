package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/e2e/system"
	"github.com/pgdrover/pgdrover/workflows"
	"github.com/pgdrover/pgdrover/workflows/op"
	"github.com/pgdrover/pgdrover/workflows/op/optest"
)

// fixture is what one case works on.
type fixture struct {
	input      map[string]any
	instanceID string
	dir        string
	starts     int
}

// world is what an operation leaves, so far as it must not depend on what was killed.
type world struct {
	// instance is the record's status, absent where there is none.
	instance string
	managed  string
	// directory tells whether the data directory exists.
	directory bool
	// starts is how often the server was started by the operation.
	starts int
}

// prepare makes the object an operation wants, in the status it wants, and its input.
func (l *lane) prepare(ctx context.Context, o op.Operation) (fixture, error) {
	info := o.Info()
	l.n++
	name := fmt.Sprintf("%s-%d", info.Name, l.n)
	f := fixture{dir: filepath.Join(l.dir, "data", name)}
	if err := os.MkdirAll(filepath.Dir(f.dir), 0o755); err != nil {
		return f, fmt.Errorf("make folder: %w", err)
	}
	values := map[string]any{"host_id": l.hostID, "name": name, "data_directory": f.dir}
	if info.Target == op.TargetInstance {
		if err := l.makeInstance(ctx, &f, name, info); err != nil {
			return f, err
		}
		values["instance_id"], values["confirm_name"] = f.instanceID, name
		values["name"] = name + "-again"
	}
	var err error
	f.input, err = input(ctx, o.InputType(), values)
	f.starts = starts(f.dir)
	return f, err
}

func (l *lane) makeInstance(ctx context.Context, f *fixture, name string, info op.Info) error {
	create := workflows.ByName("instance-create")
	in, err := input(ctx, create.InputType(), map[string]any{"host_id": l.hostID, "name": name, "data_directory": f.dir})
	if err != nil {
		return err
	}
	made, err := l.must(ctx, "instance-create", in)
	if err != nil {
		return fmt.Errorf("make an instance: %w", err)
	}
	f.instanceID = made.ObjectID
	if info.From == "stopped" {
		_, err = l.must(ctx, "instance-stop", map[string]any{"instance_id": f.instanceID})
	}
	if info.Unmanaged {
		// Forgotten, it is discovered again by the agent's next report.
		if _, err := l.must(ctx, "instance-delete", map[string]any{"instance_id": f.instanceID, "confirm_name": name}); err != nil {
			return err
		}
		return l.rediscovered(ctx, f)
	}
	return err
}

func (l *lane) rediscovered(ctx context.Context, f *fixture) error {
	return system.Until(ctx, 2*time.Minute, "the instance is discovered", func() error {
		var p struct {
			Items []struct {
				ID            string
				DataDirectory string `json:"data_directory"`
			}
		}
		if err := l.client.Get(ctx, "/api/v1/instances?management=discovered&limit=500", &p); err != nil {
			return err
		}
		for _, i := range p.Items {
			if i.DataDirectory == f.dir {
				f.instanceID = i.ID
				return nil
			}
		}
		return errors.New("not yet")
	})
}

func (l *lane) must(ctx context.Context, name string, in any) (system.Operation, error) {
	o, err := l.client.Start(ctx, name, in)
	if err != nil {
		return o, fmt.Errorf("%s: %w", name, err)
	}
	if o, err = l.client.Await(ctx, o.ID, limit); err == nil && o.State != "succeeded" {
		err = fmt.Errorf("%s ended %s: %+v", name, o.State, o.Failure)
	}
	return o, err
}

// input fills an operation's input as the unit tests do, with a port that is free now.
func input(ctx context.Context, t reflect.Type, values map[string]any) (map[string]any, error) {
	port, err := system.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	values["port"] = port
	return optest.FillInput(t, values)
}

// perform asks for the operation, strikes if armed, and waits for its end.
func (l *lane) perform(ctx context.Context, o op.Operation, f fixture, a *arming) (system.Operation, error) {
	// Accepted while paused at once would change the steps; instead the arming learns the id before any step is asked
	// about: the points wait for this lock.
	l.mu.Lock()
	started, err := l.client.Start(ctx, o.Info().Name, f.input)
	if a != nil {
		a.operation = started.ID
	}
	l.armed = a
	l.mu.Unlock()
	if err != nil {
		return started, err
	}
	return l.client.Await(ctx, started.ID, limit)
}

// look describes what is there now.
func (l *lane) look(ctx context.Context, f fixture, done system.Operation) (world, error) {
	id := f.instanceID
	if id == "" {
		id = done.ObjectID
	}
	w := world{starts: starts(f.dir) - f.starts}
	_, err := os.Stat(f.dir)
	w.directory = err == nil
	var i struct{ Status, Management string }
	err = l.client.Get(ctx, "/api/v1/instances/"+id, &i)
	var p *system.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return w, nil
	}
	w.instance, w.managed = i.Status, i.Management
	return w, err
}

// starts counts in the server's log how often it was started.
func starts(dir string) int {
	n := 0
	for _, file := range []string{dir + "/server.log"} {
		b, err := os.ReadFile(file)
		if err == nil {
			n += strings.Count(string(b), "database system is ready to accept connections")
		}
	}
	return n
}

// stopInstances ends the servers this lane made.
func (l *lane) stopInstances() {
	dirs, _ := filepath.Glob(l.dir + "/data/*/postmaster.pid")
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err != nil {
			continue
		}
		pid, _, _ := strings.Cut(string(b), "\n")
		_ = exec.Command("kill", "-QUIT", pid).Run() //nolint:noctx // cleaning up
	}
}
