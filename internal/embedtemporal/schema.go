package embedtemporal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/blang/semver/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.temporal.io/server/common/log"
	// The plug-in behind pluginName registers itself.
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	v12 "go.temporal.io/server/schema/postgresql/v12"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/tools/common/schema"
	"go.temporal.io/server/tools/sql"
	"google.golang.org/protobuf/types/known/durationpb"
)

// store is one of Temporal's two databases.
type store struct {
	database string
	schema   string // of the schemas embedded in the server module
	version  string
}

func (c *Config) stores() []store {
	return []store{
		{c.Database, "postgresql/v12/temporal", v12.Version},
		{c.VisibilityDatabase, "postgresql/v12/visibility", v12.VisibilityVersion},
	}
}

const (
	undefinedTable    = "42P01"
	undefinedDatabase = "3D000"
)

// ensureSchema brings both databases to the version this server wants. When they are, it costs two connections.
func ensureSchema(ctx context.Context, cfg *Config, logger log.Logger) error {
	for _, st := range cfg.stores() {
		version, err := schemaVersion(ctx, cfg, st.database)
		switch {
		case pgCode(err) == undefinedDatabase:
			err = createStore(ctx, cfg, st, logger)
		case err != nil:
		case version == st.version:
		case version == "":
			err = setupSchema(cfg, st.database, st, logger)
		default:
			err = updateSchema(cfg, st, version, logger)
		}
		if err != nil {
			return fmt.Errorf("prepare Temporal's database %s: %w", st.database, err)
		}
	}
	return nil
}

// schemaVersion is empty for a database without any table.
func schemaVersion(ctx context.Context, cfg *Config, database string) (version string, err error) {
	conn, err := pgx.Connect(ctx, cfg.dsn(database))
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()

	err = conn.QueryRow(ctx,
		"SELECT curr_version FROM schema_version WHERE version_partition = 0 AND db_name = $1", database).Scan(&version)
	if err == nil {
		return version, nil
	}
	if pgCode(err) != undefinedTable {
		return "", fmt.Errorf("read schema version: %w", err)
	}
	// An empty database made by an administrator is ours to fill, any other is not.
	var tables int
	err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'`).Scan(&tables)
	if err != nil {
		return "", fmt.Errorf("count tables: %w", err)
	}
	if tables > 0 {
		return "", errors.New("it holds tables but no Temporal schema: name another database or empty this one")
	}
	return "", nil
}

// createStore makes a database under another name and renames it when its schema is whole, so that a crash half-way
// leaves nothing that the next start could trip over.
func createStore(ctx context.Context, cfg *Config, st store, logger log.Logger) (err error) {
	conn, err := pgx.Connect(ctx, cfg.dsn("postgres"))
	if err != nil {
		return fmt.Errorf("connect to database postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()

	unfinished := st.database + "_unfinished"
	temp, final := pgx.Identifier{unfinished}.Sanitize(), pgx.Identifier{st.database}.Sanitize()
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + temp, "CREATE DATABASE " + temp} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	if err := setupSchema(cfg, unfinished, st, logger); err != nil {
		return err
	}
	if err := renameInVersion(ctx, cfg, unfinished, st.database); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "ALTER DATABASE "+temp+" RENAME TO "+final); err != nil {
		return fmt.Errorf("rename %s: %w", unfinished, err)
	}
	return nil
}

// renameInVersion follows the renaming in Temporal's version table, which knows databases by name.
func renameInVersion(ctx context.Context, cfg *Config, from, to string) (err error) {
	conn, err := pgx.Connect(ctx, cfg.dsn(from))
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", from, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, "UPDATE schema_version SET db_name = $1 WHERE db_name = $2", to, from); err != nil {
		return fmt.Errorf("rename in schema version: %w", err)
	}
	return nil
}

// setupSchema fills an empty database with the current schema as a whole, which is quicker than its 30 steps.
func setupSchema(cfg *Config, database string, st store, logger log.Logger) error {
	conn, err := sql.NewConnection(cfg.sql(database, 1), logger)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	setup := schema.SetupConfig{SchemaName: st.schema, InitialVersion: st.version}
	if err := schema.NewSetupSchemaTask(conn, &setup, logger).Run(); err != nil {
		return fmt.Errorf("set up schema %s: %w", st.version, err)
	}
	return nil
}

func updateSchema(cfg *Config, st store, from string, logger log.Logger) error {
	have, err := semver.ParseTolerant(from)
	if err != nil {
		return fmt.Errorf("read schema version %q: %w", from, err)
	}
	want, err := semver.ParseTolerant(st.version)
	if err != nil {
		return fmt.Errorf("read schema version %q: %w", st.version, err)
	}
	if have.GT(want) {
		return fmt.Errorf("its schema %s is newer than %s, which this program knows: use the newer program", from, st.version)
	}
	conn, err := sql.NewConnection(cfg.sql(st.database, 1), logger)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	update := schema.UpdateConfig{DBName: st.database, TargetVersion: st.version, SchemaName: st.schema}
	if err := schema.NewUpdateSchemaTask(conn, &update, logger).Run(); err != nil {
		return fmt.Errorf("update schema from %s to %s: %w", from, st.version, err)
	}
	return nil
}

// ensureNamespace registers the namespace before the server starts, so that no cache has yet learned of its absence.
func ensureNamespace(cfg *Config) error {
	ns, err := sqlite.NewNamespaceConfig(clusterName, cfg.Namespace, false, cfg.SearchAttributes)
	if err != nil {
		return fmt.Errorf("describe namespace %s: %w", cfg.Namespace, err)
	}
	ns.Detail.Config.Retention = durationpb.New(retention(cfg))
	// The helper lives with SQLite but speaks to whatever plug-in the configuration names.
	if err := sqlite.CreateNamespaces(cfg.sql(cfg.Database, 1), ns); err != nil {
		return fmt.Errorf("create namespace %s: %w", cfg.Namespace, err)
	}
	return nil
}

func retention(cfg *Config) time.Duration { return time.Duration(cfg.RetentionDays) * 24 * time.Hour }

func pgCode(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}
