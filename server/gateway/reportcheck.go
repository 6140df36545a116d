package gateway

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/internal/errs"
)

const (
	maxReports    = 500
	maxListed     = 2000
	maxTextLength = 4096
	maxNameLength = 300
	maxFaults     = 10
)

// checkReports refuses rubbish before anything is stored: an agent is a program on a machine we do not own.
func checkReports(in host.ReportsIn) error {
	f := &faults{}
	if len(in.Reports) > maxReports {
		f.add("body.reports", "has more than %d reports", maxReports)
	}
	for i, r := range in.Reports {
		at := fmt.Sprintf("body.reports[%d]", i)
		if r.Seq < 1 {
			f.add(at+".seq", "must be at least 1")
		}
		if r.Epoch == "" || len(r.Epoch) > maxNameLength {
			f.add(at+".epoch", "must have from 1 to %d characters", maxNameLength)
		}
		f.walk(at, reflect.ValueOf(r))
		for j, in := range r.Instances {
			f.instance(fmt.Sprintf("%s.instances[%d]", at, j), in)
		}
		if r.Facts == nil {
			continue
		}
		for j, in := range r.Facts.Instances {
			f.instance(fmt.Sprintf("%s.facts.instances[%d]", at, j), in)
		}
		f.names(at, r.Facts)
		if len(f.err) >= maxFaults {
			break
		}
	}
	return f.result()
}

type faults struct{ err []errs.Field }

func (f *faults) add(location, format string, args ...any) {
	if len(f.err) < maxFaults {
		f.err = append(f.err, errs.Field{Location: location, Message: fmt.Sprintf(format, args...)})
	}
}

func (f *faults) result() error {
	if len(f.err) == 0 {
		return nil
	}
	first := f.err[0]
	e := errs.New(errs.Invalid, "invalid-report", "The report is not valid: %s %s.", first.Location, first.Message)
	e.Fields = f.err
	return e
}

func (f *faults) names(at string, facts *host.Facts) {
	for name, value := range map[string]string{
		"agent.version": facts.Agent.Version, "os.hostname": facts.OS.Hostname, "os.name": facts.OS.Name,
		"os.version": facts.OS.Version, "os.machine_id": facts.OS.MachineID, "os.architecture": facts.OS.Architecture,
	} {
		if m := textFault(value, maxNameLength); m != "" {
			f.add(at+".facts."+name, "%s", m)
		}
	}
}

var instanceStates = []string{
	host.InstanceRunning, host.InstanceStarting, host.InstanceStopped, host.InstanceCrashed, host.InstanceMissing,
}

func (f *faults) instance(at string, in host.Instance) {
	if !filepath.IsAbs(in.DataDirectory) || filepath.Clean(in.DataDirectory) != in.DataDirectory {
		f.add(at+".data_directory", "must be an absolute, clean path")
	}
	if !slices.Contains(instanceStates, in.Status) {
		f.add(at+".status", "is not a known state")
	}
	if strings.Trim(in.SystemIdentifier, "0123456789") != "" || len(in.SystemIdentifier) > 20 {
		f.add(at+".system_identifier", "is not a system identifier")
	}
	if !slices.Contains([]string{"", "primary", "standby"}, in.Role) {
		f.add(at+".role", "is not a known role")
	}
	if in.Port > math.MaxUint16 {
		f.add(at+".port", "is not a port")
	}
	if in.PID > math.MaxInt32 {
		f.add(at+".pid", "is not a process id")
	}
	for name, value := range map[string]string{
		"version": in.Version, "edition": in.Edition, "os_user": in.OSUser, "unit": in.Unit, "conflict": in.Conflict,
	} {
		if m := textFault(value, maxNameLength); m != "" {
			f.add(at+"."+name, "%s", m)
		}
	}
}

// walk looks at every text and number, wherever it is, so that a field added later is looked at too.
func (f *faults) walk(at string, v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // JSON knows no others
	case reflect.Pointer:
		if !v.IsNil() {
			f.walk(at, v.Elem())
		}
	case reflect.Struct:
		f.fields(at, v)
	case reflect.Slice:
		f.list(at, v)
	case reflect.String:
		if m := textFault(v.String(), maxTextLength); m != "" {
			f.add(at, "%s", m)
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		lowest := int64(0)
		if strings.HasSuffix(at, ".size_bytes") {
			lowest = -1
		}
		if v.Int() < lowest {
			f.add(at, "must not be less than %d", lowest)
		}
	case reflect.Float64:
		if x := v.Float(); x < 0 || math.IsNaN(x) || math.IsInf(x, 0) {
			f.add(at, "must be a number of at least 0")
		}
	}
}

func (f *faults) fields(at string, v reflect.Value) {
	if t, ok := reflect.TypeAssert[time.Time](v); ok {
		if y := t.Year(); y < 1 || y > 9999 {
			f.add(at, "is not a time")
		}
		return
	}
	for field, value := range v.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		f.walk(at+"."+name, value)
	}
}

func (f *faults) list(at string, v reflect.Value) {
	if v.Len() > maxListed {
		f.add(at, "has more than %d entries", maxListed)
		return
	}
	for i := range v.Len() {
		f.walk(fmt.Sprintf("%s[%d]", at, i), v.Index(i))
	}
}

// textFault says what is wrong with a text, nothing if nothing is.
func textFault(s string, longest int) string {
	if len(s) > longest {
		return fmt.Sprintf("has more than %d characters", longest)
	}
	if strings.ContainsRune(s, 0) {
		return "has a NUL character"
	}
	return ""
}
