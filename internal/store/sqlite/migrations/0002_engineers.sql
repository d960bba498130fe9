-- What a backend's engineers look at: events in their order, deliveries and
-- calls by many sides, requests as they were sent.

ALTER TABLE events ADD COLUMN version INTEGER NOT NULL DEFAULT 0;  -- of the call
ALTER TABLE events ADD COLUMN actor   TEXT    NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN device  TEXT    NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN test    INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_of_call ON events (call_id) WHERE call_id <> 0;

ALTER TABLE deliveries ADD COLUMN header  TEXT;
ALTER TABLE deliveries ADD COLUMN request BLOB;
CREATE INDEX deliveries_event ON deliveries (endpoint_id, event_id);
CREATE INDEX deliveries_failed ON deliveries (endpoint_id, event_id) WHERE state = 2;

ALTER TABLE attempts ADD COLUMN header  TEXT;
ALTER TABLE attempts ADD COLUMN request BLOB;

-- Of a call that has ended, and NULL for one that ended before this column was
-- there.
ALTER TABLE calls ADD COLUMN outcome TEXT;

CREATE TABLE nonces (
	app_id     INTEGER NOT NULL,
	nonce      TEXT    NOT NULL,
	expires_ms INTEGER NOT NULL,
	PRIMARY KEY (app_id, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_expiry ON nonces (expires_ms);

CREATE TABLE redeliveries (
	id         INTEGER PRIMARY KEY,
	query      BLOB    NOT NULL, -- see store.EncodeQuery
	state      INTEGER NOT NULL, -- 0 running, 1 done, 2 stopped
	per_second INTEGER NOT NULL,
	total      INTEGER NOT NULL, -- -1: not yet counted
	done       INTEGER NOT NULL,
	skipped    INTEGER NOT NULL,
	created_ms INTEGER NOT NULL,
	ended_ms   INTEGER NOT NULL  -- 0: it runs
) STRICT;

CREATE TABLE audit (
	id      INTEGER PRIMARY KEY,
	at_ms   INTEGER NOT NULL,
	actor   TEXT    NOT NULL,
	remote  TEXT    NOT NULL,
	action  TEXT    NOT NULL,
	target  TEXT    NOT NULL,
	details BLOB
) STRICT;

CREATE TABLE traces (
	call_id INTEGER NOT NULL,
	n       INTEGER NOT NULL, -- 1, 2, 3 …
	data    BLOB,
	PRIMARY KEY (call_id, n)
) STRICT, WITHOUT ROWID;

-- Apps that were made at run time are managed; the others are those of the
-- configuration file.
ALTER TABLE apps ADD COLUMN managed    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN version    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN settings   BLOB;
ALTER TABLE apps ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN paused   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN settings BLOB;
