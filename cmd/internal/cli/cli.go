// Package cli is the command line for people and scripts: it signs in, lists and shows, starts operations and follows
// them. Commands of operations are made at run time from the embedded OpenAPI document, so a new operation has its
// command without code here.
//
// Results go to standard output, everything told on the way to standard error. No secret is ever taken from an
// argument, and none is printed.
package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pgdrover/pgdrover/api"
	"github.com/spf13/cobra"
)

// CLI is the command line's surroundings; tests give their own.
type CLI struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(string) string
	Terminal Terminal
	// ConfigDir holds session.json; empty where the person has no home.
	ConfigDir string
	Transport http.RoundTripper
	Now       func() time.Time
	Version   string
	// Document is the OpenAPI document.
	Document []byte
	Pace     Pace

	spec *document
}

// Pace is how patient the command line is.
type Pace struct {
	// Poll is the time between two looks at an operation when no event comes; Gap the least time between any two.
	Poll, Gap time.Duration
	// Frame is the time between two drawings of the progress display.
	Frame time.Duration
	// Retry is the first pause after a failed request; it doubles up to RetryMax.
	Retry, RetryMax time.Duration
	// Quiet ends an event stream on which not even a keep-alive came.
	Quiet time.Duration
	// Request bounds an ordinary request.
	Request time.Duration
}

// New makes the command line of this process.
func New(version string) *CLI {
	c := &CLI{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv, Terminal: terminal{}, Now: time.Now, Version: version,
		Document: api.Document,
		Pace: Pace{
			Poll: 2 * time.Second, Gap: 150 * time.Millisecond, Frame: 200 * time.Millisecond, Retry: 500 * time.Millisecond,
			RetryMax: 5 * time.Second, Quiet: 45 * time.Second, Request: 90 * time.Second,
		},
	}
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http documents its type
	t.ResponseHeaderTimeout = 80 * time.Second
	c.Transport = t
	if dir, err := os.UserConfigDir(); err == nil {
		c.ConfigDir = filepath.Join(dir, "pgdrover")
	}
	return c
}

// The groups of "pgdrover help".
const (
	groupFleet   = "fleet"
	groupWork    = "work"
	groupSession = "session"
	groupServer  = "server"
)

// Add puts all commands under the program's root.
func (c *CLI) Add(root *cobra.Command) error {
	doc, err := parseDocument(c.Document)
	if err != nil {
		return err
	}
	c.spec = doc
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.SilenceUsage, root.SilenceErrors = true, true
	for _, cmd := range root.Commands() {
		cmd.GroupID = groupServer
	}
	root.AddGroup(
		&cobra.Group{ID: groupFleet, Title: "The fleet:"}, &cobra.Group{ID: groupWork, Title: "What happens:"},
		&cobra.Group{ID: groupSession, Title: "Your session:"}, &cobra.Group{ID: groupServer, Title: "The manager:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupFleet, c.overviewCommand(), c.hostsCommand(), c.instancesCommand())
	add(groupWork, c.operationsCommand(), c.schedulesCommand(), c.notificationsCommand(), c.auditCommand())
	add(groupSession, c.loginCommand(), c.logoutCommand(), c.whoamiCommand())
	c.addOperations(root)
	root.SetHelpCommandGroupID(groupSession)
	root.SetCompletionCommandGroupID(groupSession)
	root.Long = rootHelp
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, "%s", err.Error()) })
	strict(root)
	return nil
}

const rootHelp = `pgdrover manages fleets of PostgreSQL.

Sign in first: pgdrover login --server https://pgdrover.example.com
Scripts may set PGDROVER_SERVER and PGDROVER_TOKEN instead.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 not signed in, 4 not allowed, 5 not found, 6 conflict,
7 the manager cannot be reached, 130 interrupted.`

// Run executes the arguments and returns the exit status.
func (c *CLI) Run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	return c.Fail(root.ExecuteContext(ctx))
}

// Main is Run with the process's signals and arguments.
func (c *CLI) Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends at once.
	context.AfterFunc(ctx, stop)
	return c.Run(ctx, root, os.Args[1:])
}

// strict makes every misuse a usage error with its own exit status, and unknown subcommands an error at all.
func strict(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				if _, ok := errors.AsType[*Error](err); ok {
					return err
				}
				return usageError(cmd, "%s", err.Error())
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			text := "unknown command " + quote(args[0]) + " of " + cmd.CommandPath()
			cmd.SuggestionsMinimumDistance = 2
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				text += "; did you mean " + strings.Join(s, " or ") + "?"
			}
			return usageError(cmd, "%s", text)
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

// group makes a command that only holds others; its singular is an alias.
func group(name, short string, cmds ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: name, Short: short, Aliases: []string{singular(name)}}
	g.AddCommand(cmds...)
	return g
}

func plural(s string) string {
	switch {
	case strings.HasSuffix(s, "s"):
		return s
	case strings.HasSuffix(s, "y"):
		return strings.TrimSuffix(s, "y") + "ies"
	}
	return s + "s"
}

func singular(s string) string {
	if t, ok := strings.CutSuffix(s, "ies"); ok {
		return t + "y"
	}
	return strings.TrimSuffix(s, "s")
}

func quote(s string) string { return `"` + clean(s) + `"` }

// idempotencyKey makes a repeated request the same operation, so that a request whose answer was lost can be sent again.
func idempotencyKey() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return "cli-" + hex.EncodeToString(b)
}
