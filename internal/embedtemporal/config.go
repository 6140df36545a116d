package embedtemporal

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
)

const (
	pluginName  = "postgres12_pgx"
	clusterName = "active"
	// defaultShards suits a single node; the number is fixed for ever when the database is made.
	defaultShards        = 4
	defaultRetentionDays = 7
)

// Config says where Temporal keeps its data and what it offers. Host, Port, User and Password are needed.
type Config struct {
	Host     string
	Port     int
	User     string
	Password string
	TLS      *TLS // to PostgreSQL; nil: plain

	Database           string // default "temporal"
	VisibilityDatabase string // default "temporal_visibility"

	Namespace        string // default "pgdrover"
	RetentionDays    int    // default 7
	SearchAttributes map[string]enumspb.IndexedValueType
	Shards           int // default 4; has an effect only when the database is new

	UI           bool
	UIPublicPath string // the path under which UIHandler is mounted: "/temporal"

	Logger *slog.Logger
}

// TLS is how to reach PostgreSQL over TLS.
type TLS struct {
	CAFile     string
	CertFile   string
	KeyFile    string
	VerifyHost bool
}

func (c *Config) setDefaults() {
	c.Database = cmp.Or(c.Database, "temporal")
	c.VisibilityDatabase = cmp.Or(c.VisibilityDatabase, "temporal_visibility")
	c.Namespace = cmp.Or(c.Namespace, "pgdrover")
	c.RetentionDays = cmp.Or(c.RetentionDays, defaultRetentionDays)
	c.Shards = cmp.Or(c.Shards, defaultShards)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate reports everything that is wrong at once.
func (c *Config) Validate() error {
	var errs []error
	if c.Host == "" || c.User == "" {
		errs = append(errs, errors.New("temporal: host and user of its PostgreSQL must be given"))
	}
	if c.Port < 1 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("temporal: port %d of its PostgreSQL is none", c.Port))
	}
	if c.Database != "" && c.Database == c.VisibilityDatabase {
		errs = append(errs, fmt.Errorf("temporal: database and visibility database must differ, both are %q", c.Database))
	}
	if c.RetentionDays < 0 || c.Shards < 0 {
		errs = append(errs, errors.New("temporal: retention days and shards must not be negative"))
	}
	if c.UIPublicPath != "" && (!strings.HasPrefix(c.UIPublicPath, "/") || strings.HasSuffix(c.UIPublicPath, "/")) {
		errs = append(errs, fmt.Errorf("temporal: UI path %q must start with a slash and not end with one", c.UIPublicPath))
	}
	return errors.Join(errs...)
}

// sql is Temporal's own configuration of a database.
func (c *Config) sql(database string, maxConns int) *config.SQL {
	s := &config.SQL{
		PluginName:        pluginName,
		User:              url.PathEscape(c.User), // the plug-in escapes the password but not the user
		Password:          c.Password,
		DatabaseName:      database,
		ConnectAddr:       net.JoinHostPort(c.Host, strconv.Itoa(c.Port)),
		ConnectProtocol:   "tcp",
		ConnectAttributes: map[string]string{"application_name": "pgdrover temporal"},
		MaxConns:          maxConns,
		MaxIdleConns:      maxConns,
	}
	if c.TLS != nil {
		s.TLS = &auth.TLS{
			Enabled: true, CaFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
			EnableHostVerification: c.TLS.VerifyHost,
		}
	}
	return s
}

// dsn is the same for our own connections.
func (c *Config) dsn(database string) string {
	q := url.Values{"application_name": {"pgdrover temporal setup"}, "sslmode": {"disable"}, "connect_timeout": {"10"}}
	if c.TLS != nil {
		q.Set("sslmode", "require")
		if c.TLS.VerifyHost {
			q.Set("sslmode", "verify-full")
		}
		for key, file := range map[string]string{"sslrootcert": c.TLS.CAFile, "sslcert": c.TLS.CertFile, "sslkey": c.TLS.KeyFile} {
			if file != "" {
				q.Set(key, file)
			}
		}
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(c.User, c.Password), Path: "/" + database,
		Host: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), RawQuery: q.Encode(),
	}
	return u.String()
}
