package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgdrover/pgdrover/internal/apiclient"
	"github.com/spf13/cobra"
)

func (c *CLI) loginCommand() *cobra.Command {
	var server, login string
	var stdin bool
	cmd := &cobra.Command{
		Use: "login", Short: "Sign in", Args: cobra.NoArgs,
		Long: "Signs in and keeps the session in a file that only you can read; it is renewed by itself.\n\n" +
			"The password is asked for, or taken from PGDROVER_PASSWORD or standard input, never from an argument:\n" +
			"arguments are seen by everyone on the machine.",
		Example: "  pgdrover login --server https://pgdrover.example.com\n  pgdrover login --login admin --password-stdin < file",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.login(cmd, server, login, stdin)
		},
	}
	f := cmd.Flags()
	f.StringVar(&server, "server", "", "address of the manager (PGDROVER_SERVER; default the last one, else "+defaultServer+")")
	f.StringVar(&login, "login", "", "login name (asked for by default)")
	f.BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func (c *CLI) login(cmd *cobra.Command, server, login string, stdin bool) error {
	store := sessions{c.ConfigDir}
	// An unreadable old session must not keep anybody from a new one.
	old, _ := store.load()
	if server == "" {
		server = c.Env("PGDROVER_SERVER")
	}
	if server == "" && old != nil {
		server = old.Server
	}
	if server == "" {
		server = defaultServer
	}
	server, err := serverURL(server)
	if err != nil {
		return err
	}
	if server[:5] == "http:" && !loopback(server) {
		fmt.Fprintf(c.Err, "warning: %s is not encrypted; your password can be read on the way\n", server)
	}
	if login == "" {
		if stdin || !c.Terminal.Interactive() {
			return usageError(cmd, "give your login name with --login")
		}
		if login, err = c.ask("Login at " + server); err != nil {
			return err
		}
	}
	password, err := c.loginPassword(cmd, login, stdin)
	if err != nil {
		return err
	}
	s, err := c.signIn(cmd.Context(), server, login, password)
	if err != nil {
		return err
	}
	if err := store.save(*s); err != nil {
		return err
	}
	fmt.Fprintf(c.Err, "Signed in at %s as %s.\n", server, clean(s.Login))
	return nil
}

func (c *CLI) loginPassword(cmd *cobra.Command, login string, stdin bool) (string, error) {
	if stdin {
		p, err := readSecret(c.In)
		if err != nil {
			return "", usageError(cmd, "read the password from standard input: %v", err)
		}
		return p, nil
	}
	if p := c.Env("PGDROVER_PASSWORD"); p != "" {
		return p, nil
	}
	if !c.Terminal.Interactive() {
		return "", usageError(cmd, "there is no terminal to ask for the password: use --password-stdin or PGDROVER_PASSWORD")
	}
	return c.askSecret("Password of " + login)
}

func (c *CLI) signIn(ctx context.Context, server, login, password string) (*session, error) {
	cl, err := c.client(server, c.Transport)
	if err != nil {
		return nil, err
	}
	body := apiclient.SessionCreateJSONRequestBody{Login: login, Password: password}
	got, _, err := decode[apiclient.Session](cl.SessionCreate(ctx, nil, body)) //nolint:bodyclose // decode closes it
	if e, ok := errors.AsType[*Error](err); ok {
		e.Hint = "" // which would be to sign in
	}
	if err != nil {
		return nil, err
	}
	s := &session{Server: server}
	return s, s.take(got)
}

func (c *CLI) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the session", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store := sessions{c.ConfigDir}
			s, err := store.load()
			if err == nil && s == nil {
				fmt.Fprintln(c.Err, "Nobody is signed in.")
				return nil
			}
			if err == nil {
				err = c.endSession(cmd.Context(), s)
			}
			// The file goes in any case: who signs out wants the tokens gone from this machine.
			if rerr := store.remove(); rerr != nil {
				return rerr
			}
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Exit != exitNotSignedIn) {
				return fmt.Errorf("the session is removed here, but the manager was not told: %w", err)
			}
			fmt.Fprintln(c.Err, "Signed out.")
			return nil
		},
	}
}

func (c *CLI) endSession(ctx context.Context, s *session) error {
	cl, err := c.client(s.Server, &authorizer{cli: c, server: s.Server, base: c.Transport, session: s})
	if err != nil {
		return err
	}
	_, err = raw(cl.SessionDelete(ctx))
	return err
}

func (c *CLI) whoamiCommand() *cobra.Command {
	return c.output(&cobra.Command{
		Use: "whoami", Short: "Show who is signed in, and where", Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, o out) error {
		cl, err := c.connect()
		if err != nil {
			return err
		}
		me, body, err := decode[apiclient.Account](cl.Me(cmd.Context())) //nolint:bodyclose // decode closes it
		if err != nil {
			return err
		}
		return o.show(body, "account/"+me.Login, func(d *details) {
			d.add("Login", me.Login)
			d.add("Name", me.DisplayName)
			d.add("Role", string(me.Role))
			d.add("Server", cl.server)
			d.list("May", me.Permissions)
		})
	})
}
