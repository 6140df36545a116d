package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/pgdrover/pgdrover/activities/hostimpl"
	"github.com/pgdrover/pgdrover/workflows/op"
	"gopkg.in/yaml.v3"
)

// DefaultConfigFile is where the package puts the configuration.
const DefaultConfigFile = "/etc/pgdrover/agent.yaml"

// envPrefix and the upper-case name of a setting make its environment variable.
const envPrefix = "PGDROVER_AGENT_"

// Config is the agent's configuration: a YAML file, overridden by the environment. Everything has a default, so that
// an enrolled agent needs no file.
type Config struct {
	// StateDir holds the identity, the journal and the spool.
	StateDir string `yaml:"state_dir"`
	// RuntimeDir holds secrets while a command needs them, best on a memory file system.
	RuntimeDir string `yaml:"runtime_dir"`
	// PolicyFile says what the manager may do on this host.
	PolicyFile string `yaml:"policy_file"`
	// Gateway overrides the address of the enrolment, e.g. when the manager moved.
	Gateway string `yaml:"gateway"`
	// DataRoot is where new instances go by default.
	DataRoot string `yaml:"data_root"`
	// DataDirectories are looked at for instances besides the usual places.
	DataDirectories []string `yaml:"data_directories"`
	// IgnoreDataDirectories are never reported: the manager's own repository.
	IgnoreDataDirectories []string `yaml:"ignore_data_directories"`
	// OnlyUnder limits what is reported, for several agents on one machine.
	OnlyUnder []string `yaml:"only_under"`
	// Hostname and MachineID are told instead of the real ones.
	Hostname  string `yaml:"hostname"`
	MachineID string `yaml:"machine_id"`
	// LogLevel is debug, info, warn or error; LogFormat text or json.
	LogLevel  string `yaml:"log_level"`
	LogFormat string `yaml:"log_format"`
	// NoSystemd treats the host as one without systemd.
	NoSystemd bool `yaml:"no_systemd"`

	// Version of the agent, set by its build.
	Version string       `yaml:"-"`
	Logger  *slog.Logger `yaml:"-"`
	// StepHook, for crash tests, is called with the phases "before", "worked" (the journal does not know yet; changing
	// steps only) and "after" of each step of an operation; "after" the
	// work is done and its answer not sent yet.
	StepHook func(ctx context.Context, phase string, ref op.StepRef) `yaml:"-"`
	// OnReady is called once, when the agent first takes work.
	OnReady func() `yaml:"-"`
	// JobRunner overrides the program that runs detached jobs, for tests.
	JobRunner []string `yaml:"-"`
}

// LoadConfig reads the file, if it exists, and the environment, and checks everything at once.
func LoadConfig(file string, environ []string) (Config, error) {
	c := Config{
		StateDir: "/var/lib/pgdrover-agent", PolicyFile: hostimpl.DefaultPolicyFile, DataRoot: "/var/lib/postgresql",
		LogLevel: "info", LogFormat: "text",
	}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist) && file == DefaultConfigFile:
	case err != nil:
		return c, fmt.Errorf("read configuration: %w", err)
	default:
		dec := yaml.NewDecoder(bytes.NewReader(b))
		dec.KnownFields(true)
		if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("read configuration %s: %w", file, err)
		}
	}
	if err := c.fromEnviron(environ); err != nil {
		return c, err
	}
	c.defaults()
	return c, c.Validate()
}

func (c *Config) fromEnviron(environ []string) error {
	fields := map[string]reflect.Value{}
	for f, v := range reflect.ValueOf(c).Elem().Fields() {
		if tag := f.Tag.Get("yaml"); tag != "-" {
			fields[envPrefix+strings.ToUpper(tag)] = v
		}
	}
	var errs []error
	for _, kv := range environ {
		k, val, _ := strings.Cut(kv, "=")
		v, ok := fields[k]
		switch {
		case !ok && strings.HasPrefix(k, envPrefix) && k != envPrefix+"CONFIG" && k != envPrefix+"TOKEN":
			errs = append(errs, fmt.Errorf("environment: %s is no setting", k))
		case !ok:
		case v.Kind() == reflect.String:
			v.SetString(val)
		case v.Kind() == reflect.Bool:
			b, err := strconv.ParseBool(val)
			if err != nil {
				errs = append(errs, fmt.Errorf("environment: %s must be true or false", k))
			}
			v.SetBool(b)
		case v.Kind() == reflect.Slice:
			var list []string
			for p := range strings.SplitSeq(val, ",") {
				if p = strings.TrimSpace(p); p != "" {
					list = append(list, p)
				}
			}
			v.Set(reflect.ValueOf(list))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) defaults() {
	if c.RuntimeDir == "" && os.Geteuid() == 0 {
		// One folder for each state folder: several agents may run on one machine.
		c.RuntimeDir = filepath.Join("/run", "pgdrover-agent", strings.Trim(strings.ReplaceAll(c.StateDir, "/", "-"), "-"))
	}
	if c.RuntimeDir == "" {
		c.RuntimeDir = filepath.Join(c.StateDir, "run")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Version == "" {
		c.Version = "development"
	}
}

// Validate checks everything at once.
func (c *Config) Validate() error {
	var errs []error
	dirs := map[string]string{
		"state_dir":   c.StateDir,
		"runtime_dir": c.RuntimeDir,
		"policy_file": c.PolicyFile,
		"data_root":   c.DataRoot,
	}
	for name, d := range dirs {
		if d == "" || !filepath.IsAbs(d) || filepath.Clean(d) != d || d == "/" {
			errs = append(errs, fmt.Errorf("%s: %q is no absolute, clean path", name, d))
		}
	}
	lists := map[string][]string{
		"data_directories": c.DataDirectories, "ignore_data_directories": c.IgnoreDataDirectories, "only_under": c.OnlyUnder,
	}
	for name, list := range lists {
		for _, d := range list {
			if !filepath.IsAbs(d) || filepath.Clean(d) != d {
				errs = append(errs, fmt.Errorf("%s: %q is no absolute, clean path", name, d))
			}
		}
	}
	if c.Gateway != "" {
		if _, _, err := net.SplitHostPort(c.Gateway); err != nil {
			errs = append(errs, fmt.Errorf("gateway: %q is no host:port", c.Gateway))
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		errs = append(errs, fmt.Errorf("log_level: %q is none of debug, info, warn, error", c.LogLevel))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		errs = append(errs, fmt.Errorf("log_format: %q is none of text, json", c.LogFormat))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check configuration: %w", err)
	}
	return nil
}

// MakeLogger makes the logger that the configuration asks for.
func (c *Config) MakeLogger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel))
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func (c Config) worked() func(ctx context.Context, ref op.StepRef) {
	if c.StepHook == nil {
		return nil
	}
	return func(ctx context.Context, ref op.StepRef) { c.StepHook(ctx, "worked", ref) }
}
