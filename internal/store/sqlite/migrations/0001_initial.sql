-- Times are Unix milliseconds. Text and blobs hold any bytes.

-- A call as it is now. IDs begin with the second of creation.
CREATE TABLE calls (
	id        INTEGER PRIMARY KEY,
	app_id    INTEGER NOT NULL,
	version   INTEGER NOT NULL,
	commit_id INTEGER NOT NULL,
	ended_ms  INTEGER,          -- NULL while the call lives
	state     BLOB    NOT NULL  -- see store.EncodeCall
) STRICT;
CREATE INDEX calls_live ON calls (id) WHERE ended_ms IS NULL;

-- Which calls a user is or was part of.
CREATE TABLE history (
	app_id    INTEGER NOT NULL,
	user_id   TEXT    NOT NULL,
	create_ms INTEGER NOT NULL,
	call_id   INTEGER NOT NULL,
	PRIMARY KEY (app_id, user_id, create_ms, call_id)
) STRICT, WITHOUT ROWID;

-- IDs grow with time, so that what is old is at the beginning.
CREATE TABLE events (
	id      INTEGER PRIMARY KEY,
	app_id  INTEGER NOT NULL,
	call_id INTEGER NOT NULL,  -- 0: not about a call
	name    TEXT    NOT NULL,
	at_ms   INTEGER NOT NULL,
	fields  BLOB
) STRICT;

-- One event on its way to one endpoint, and its latest attempt. Of an event
-- that is not about a call the sequence is the event's ID.
CREATE TABLE deliveries (
	call_id     INTEGER NOT NULL,
	endpoint_id INTEGER NOT NULL,
	sequence    INTEGER NOT NULL,
	event_id    INTEGER NOT NULL,
	state       INTEGER NOT NULL, -- 0 pending, 1 delivered, 2 failed
	attempts    INTEGER NOT NULL, -- the number of the latest
	failures    INTEGER NOT NULL,
	due_ms      INTEGER NOT NULL,
	started_ms  INTEGER,
	duration_ms INTEGER,
	status      INTEGER,
	outcome     INTEGER,          -- the state that the latest attempt led to
	error       TEXT,
	response    TEXT,
	PRIMARY KEY (call_id, endpoint_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_ms, event_id) WHERE state = 0;

-- Attempts before the latest.
CREATE TABLE attempts (
	call_id     INTEGER NOT NULL,
	endpoint_id INTEGER NOT NULL,
	sequence    INTEGER NOT NULL,
	number      INTEGER NOT NULL,
	started_ms  INTEGER NOT NULL,
	duration_ms INTEGER NOT NULL,
	status      INTEGER NOT NULL,
	outcome     INTEGER NOT NULL,
	failures    INTEGER NOT NULL,
	due_ms      INTEGER NOT NULL,
	error       TEXT    NOT NULL,
	response    TEXT    NOT NULL,
	PRIMARY KEY (call_id, endpoint_id, sequence, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
	app_id    INTEGER NOT NULL,
	user_id   TEXT    NOT NULL,
	name      TEXT    NOT NULL,
	avatar    TEXT    NOT NULL,
	logged_in INTEGER NOT NULL, -- 1: has ever logged in
	PRIMARY KEY (app_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
	app_id     INTEGER NOT NULL,
	user_id    TEXT    NOT NULL,
	session_id TEXT    NOT NULL,
	platform   TEXT    NOT NULL,
	login_ms   INTEGER NOT NULL,
	offline_ms INTEGER NOT NULL, -- 0: not offline
	PRIMARY KEY (app_id, user_id, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_offline ON sessions (offline_ms) WHERE offline_ms <> 0;

-- Which call a user's request made.
CREATE TABLE requests (
	app_id     INTEGER NOT NULL,
	user_id    TEXT    NOT NULL,
	request_id TEXT    NOT NULL,
	call_id    INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	errors     BLOB    NOT NULL, -- see store.EncodeUserErrors
	PRIMARY KEY (app_id, user_id, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_expiry ON requests (expires_ms);

CREATE TABLE apps (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL
) STRICT;

-- Rows stay for ever, so that no ID is used again.
CREATE TABLE endpoints (
	id      INTEGER PRIMARY KEY,
	app_id  INTEGER NOT NULL,
	url     TEXT    NOT NULL,
	removed INTEGER NOT NULL,
	UNIQUE (app_id, url)
) STRICT;

-- Something to write when nothing but the writing matters.
CREATE TABLE marks (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	n  INTEGER NOT NULL
) STRICT;
INSERT INTO marks VALUES (1, 0);
