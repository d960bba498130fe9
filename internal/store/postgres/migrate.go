package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of the advisory lock under which schemas are made:
// "Ring" and "mig".
const migrationLock = 0x52696e67_00_6d6967

// leastVersion is the oldest server that will do, as server_version_num.
const leastVersion = 130000

// migrate checks the server and brings the schema up to date, one numbered
// file at a time, each in a transaction. Nodes that start at the same time
// take turns.
func migrate(ctx context.Context, c *pgx.Conn) error {
	if err := checkServer(ctx, c); err != nil {
		return err
	}
	files, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, c)
	if err != nil || version == len(files) {
		return err
	}
	// It may take its time, and wait for that of others.
	if _, err := c.Exec(ctx, "SET statement_timeout = 0; SET lock_timeout = 0"); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return err
	}
	if err := migrateAll(ctx, c, files); err != nil {
		return err // the lock goes with the connection
	}
	if _, err := c.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(migrationLock)); err != nil {
		return err
	}
	return c.PgConn().Exec(ctx, settings).Close()
}

// migrateAll brings the schema up to date, while nobody else does.
func migrateAll(ctx context.Context, c *pgx.Conn, files []fs.DirEntry) error {
	version, err := schemaVersion(ctx, c)
	if err != nil {
		return err
	}
	if version > len(files) {
		return fmt.Errorf("the database was written by a newer version of Ringback (its schema has number %d, this version knows up to %d); "+
			"run that version, or restore a backup from before the upgrade", version, len(files))
	}
	for n := version + 1; n <= len(files); n++ {
		name := files[n-1].Name()
		script, err := migrations.ReadFile("migrations/" + name)
		if err != nil {
			return err
		}
		if err := migrateTo(ctx, c, n, string(script)); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

// schemaVersion gives 0 for a database that has no schema yet.
func schemaVersion(ctx context.Context, c *pgx.Conn) (int, error) {
	var there bool
	if err := c.QueryRow(ctx, "SELECT to_regclass('ringback_schema') IS NOT NULL").Scan(&there); err != nil || !there {
		return 0, err
	}
	var version int
	err := c.QueryRow(ctx, "SELECT version FROM ringback_schema").Scan(&version)
	return version, err
}

func migrateTo(ctx context.Context, c *pgx.Conn, n int, script string) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if n == 1 {
			script = "CREATE TABLE ringback_schema (version integer NOT NULL); INSERT INTO ringback_schema VALUES (0);" + script
		}
		if _, err := tx.Exec(ctx, script); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE ringback_schema SET version = $1", n)
		return err
	})
}

// checkServer refuses a server on which a store cannot work.
func checkServer(ctx context.Context, c *pgx.Conn) error {
	var version int
	var name, encoding, schema string
	var standby, readOnly bool
	err := c.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding'), coalesce(current_schema(), ''), pg_is_in_recovery(),
		current_setting('transaction_read_only')::bool`).Scan(&version, &name, &encoding, &schema, &standby, &readOnly)
	switch {
	case err != nil:
		return err
	case version < leastVersion:
		return fmt.Errorf("the server is PostgreSQL %s; Ringback needs version %d or later", name, leastVersion/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s; make one with ENCODING 'UTF8'", encoding)
	case standby:
		return fmt.Errorf("the server is a standby, which cannot be written; give the address of the primary, or all addresses with target_session_attrs=read-write")
	case readOnly:
		return fmt.Errorf("transactions are read-only here (default_transaction_read_only); allow this user to write")
	case schema == "":
		return fmt.Errorf("no schema of the search_path exists; make one, or set the search_path of this user")
	}
	return nil
}
