package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as one of Ringback's.
const applicationID = 0x52696e67

// migrate brings the schema up to date, one numbered file at a time, each in
// a transaction. The number of the last is the user_version of the database.
func migrate(ctx context.Context, c *conn) error {
	files, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		return err
	}
	version, err := c.pragma("user_version")
	if err != nil {
		return err
	}
	if err := recognize(c, version); err != nil {
		return err
	}
	if version > int64(len(files)) {
		return fmt.Errorf("it was written by a newer version of Ringback (its schema has number %d, this version knows up to %d); "+
			"run that version, or restore a backup from before the upgrade", version, len(files))
	}
	if err := c.keepLog(); err != nil {
		return err
	}
	for n := version + 1; n <= int64(len(files)); n++ {
		name := files[n-1].Name()
		if err := ctx.Err(); err != nil {
			return err
		}
		script, err := migrations.ReadFile("migrations/" + name)
		if err != nil {
			return err
		}
		if err := c.migrateTo(n, string(script)); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

// recognize refuses a database that another program has written.
func recognize(c *conn, version int64) error {
	id, err := c.pragma("application_id")
	if err != nil {
		return err
	}
	objects, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	empty := id == 0 && version == 0 && objects == 0
	if !empty && id != applicationID {
		return errors.New("it is the database of another program; move it away, or choose another directory")
	}
	return nil
}

// keepLog switches the database to write-ahead logging, which it remembers.
func (c *conn) keepLog() error {
	st := c.on("PRAGMA journal_mode = WAL")
	var mode string
	if st.next() {
		mode = st.ColumnText(0)
	}
	if err := st.end(); err != nil {
		return fmt.Errorf("switch to write-ahead logging: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("its file system does not allow write-ahead logging (the journal mode stays %q); use a local disk", mode)
	}
	return nil
}

func (c *conn) migrateTo(n int64, script string) error {
	script = "BEGIN IMMEDIATE;\n" + script + "\n;PRAGMA application_id = " + strconv.Itoa(applicationID) +
		";PRAGMA user_version = " + strconv.FormatInt(n, 10) + ";COMMIT"
	err := c.Exec(script)
	if err != nil && !c.GetAutocommit() {
		err = errors.Join(err, c.Exec("ROLLBACK"))
	}
	return err
}

func (c *conn) pragma(name string) (int64, error) { return c.number("PRAGMA " + name) }

// number gives the first column of the first row of a query.
func (c *conn) number(sql string) (int64, error) {
	st := c.on(sql)
	var n int64
	if st.next() {
		n = st.ColumnInt64(0)
	}
	return n, st.end()
}
