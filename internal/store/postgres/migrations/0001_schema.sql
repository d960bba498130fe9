-- Times are Unix milliseconds. Text is as textOf makes it: any UTF-8, with NUL
-- and the character after it escaped. Identifiers compare by their bytes.

-- The number of the last event. It is changed only under the lock of the head;
-- see store.EventID for what the numbers are.
CREATE SEQUENCE event_head AS bigint;

-- A call as it is now. IDs begin with the second of creation. No index has a
-- column that changes while a call lives.
CREATE TABLE calls (
	id        bigint   NOT NULL,
	app_id    bigint   NOT NULL,
	version   bigint   NOT NULL,
	commit_id bigint   NOT NULL,
	written   bigint   NOT NULL, -- event_head of the transaction that wrote the row
	ended_ms  bigint,            -- NULL while the call lives
	outcome   text COLLATE "C",  -- of a call that has ended
	state     bytea    NOT NULL, -- see store.EncodeCall
	PRIMARY KEY (id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX calls_live ON calls (id) WHERE ended_ms IS NULL;

-- Which calls a user is or was part of. The day comes first, so that new rows
-- go to a part of the index that is as large as a day, and old ones come out
-- of one part, however long calls are kept.
CREATE TABLE history (
	day       bigint NOT NULL, -- create_ms / 86400000
	app_id    bigint NOT NULL,
	user_id   text   COLLATE "C" NOT NULL,
	create_ms bigint NOT NULL,
	call_id   bigint NOT NULL,
	PRIMARY KEY (day, app_id, user_id, create_ms, call_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- The days that history has, and perhaps some that it has no more.
CREATE TABLE history_days (
	day bigint PRIMARY KEY
);

-- IDs grow with time, so that what is old is at the beginning.
CREATE TABLE events (
	id      bigint  NOT NULL,
	app_id  bigint  NOT NULL,
	call_id bigint  NOT NULL, -- 0: not about a call
	at_ms   bigint  NOT NULL,
	version bigint  NOT NULL, -- of the call
	test    boolean NOT NULL,
	name    text    COLLATE "C" NOT NULL,
	actor   text    COLLATE "C" NOT NULL,
	device  text    COLLATE "C" NOT NULL,
	fields  bytea,
	PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX events_of_call ON events (call_id) WHERE call_id <> 0;

-- One event on its way to one endpoint, and its latest attempt. Of an event
-- that is not about a call the sequence is the event's ID.
CREATE TABLE deliveries (
	call_id     bigint   NOT NULL,
	endpoint_id bigint   NOT NULL,
	sequence    bigint   NOT NULL,
	event_id    bigint   NOT NULL,
	due_ms      bigint   NOT NULL,
	attempts    integer  NOT NULL, -- the number of the latest
	failures    integer  NOT NULL,
	state       smallint NOT NULL, -- 0 pending, 1 delivered, 2 failed
	outcome     smallint,          -- the state that the latest attempt led to
	status      integer,
	started_ms  bigint,
	duration_ms bigint,
	error       bytea,
	response    bytea,
	header      bytea,
	request     bytea,
	PRIMARY KEY (call_id, endpoint_id, sequence)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_ms, event_id) WHERE state = 0;
-- The sum keeps the planner from this index where the primary key is meant:
-- while the table is empty, both seem equally good.
CREATE INDEX deliveries_event ON deliveries ((endpoint_id + 0), event_id);
CREATE INDEX deliveries_failed ON deliveries (endpoint_id, event_id) WHERE state = 2;

-- Attempts before the latest.
CREATE TABLE attempts (
	call_id     bigint   NOT NULL,
	endpoint_id bigint   NOT NULL,
	sequence    bigint   NOT NULL,
	number      integer  NOT NULL,
	started_ms  bigint   NOT NULL,
	duration_ms bigint   NOT NULL,
	status      integer  NOT NULL,
	outcome     smallint NOT NULL,
	failures    integer  NOT NULL,
	due_ms      bigint   NOT NULL,
	error       bytea    NOT NULL,
	response    bytea    NOT NULL,
	header      bytea    NOT NULL,
	request     bytea,
	PRIMARY KEY (call_id, endpoint_id, sequence, number)
);

-- Users, and who else has or had a session.
CREATE TABLE users (
	app_id    bigint  NOT NULL,
	user_id   text    COLLATE "C" NOT NULL,
	version   bigint  NOT NULL, -- of the user's sessions
	written   bigint  NOT NULL, -- event_head of the transaction that wrote the version
	known     boolean NOT NULL, -- has logged in, or was registered
	logged_in boolean NOT NULL, -- has ever logged in
	name      text    COLLATE "C" NOT NULL,
	avatar    text    COLLATE "C" NOT NULL,
	PRIMARY KEY (app_id, user_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE sessions (
	app_id     bigint NOT NULL,
	user_id    text   COLLATE "C" NOT NULL,
	session_id text   COLLATE "C" NOT NULL,
	platform   text   COLLATE "C" NOT NULL,
	login_ms   bigint NOT NULL,
	offline_ms bigint NOT NULL, -- 0: not offline
	node_id    bigint NOT NULL,
	PRIMARY KEY (app_id, user_id, session_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX sessions_offline ON sessions (offline_ms, app_id, user_id, session_id) WHERE offline_ms <> 0;
CREATE INDEX sessions_of_node ON sessions (node_id, app_id, user_id, session_id) WHERE offline_ms = 0;

-- Which call a user's request made.
CREATE TABLE requests (
	app_id     bigint NOT NULL,
	user_id    text   COLLATE "C" NOT NULL,
	request_id text   COLLATE "C" NOT NULL,
	call_id    bigint NOT NULL,
	expires_ms bigint NOT NULL,
	errors     bytea  NOT NULL, -- see store.EncodeUserErrors
	PRIMARY KEY (app_id, user_id, request_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX requests_expiry ON requests (expires_ms);

CREATE TABLE nonces (
	app_id     bigint NOT NULL,
	nonce      text   COLLATE "C" NOT NULL,
	expires_ms bigint NOT NULL,
	PRIMARY KEY (app_id, nonce)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX nonces_expiry ON nonces (expires_ms);

CREATE TABLE traces (
	call_id bigint NOT NULL,
	id      bigint GENERATED ALWAYS AS IDENTITY,
	data    bytea,
	PRIMARY KEY (call_id, id)
);

-- Apps that were made at run time are managed; the others are those of the
-- configuration file.
CREATE TABLE apps (
	id         bigint  NOT NULL,
	managed    boolean NOT NULL,
	version    bigint  NOT NULL,
	created_ms bigint  NOT NULL,
	name       text    COLLATE "C" NOT NULL,
	settings   bytea,
	PRIMARY KEY (id)
);

-- Rows stay for ever, so that no ID is used again.
CREATE TABLE endpoints (
	id       bigint  GENERATED ALWAYS AS IDENTITY,
	app_id   bigint  NOT NULL,
	removed  boolean NOT NULL,
	paused   boolean NOT NULL,
	url      text    COLLATE "C" NOT NULL,
	settings bytea,
	PRIMARY KEY (id),
	UNIQUE (app_id, url)
);

CREATE TABLE redeliveries (
	id         bigint  GENERATED ALWAYS AS IDENTITY,
	state      integer NOT NULL, -- 0 running, 1 done, 2 stopped
	per_second bigint  NOT NULL,
	total      bigint  NOT NULL, -- -1: not yet counted
	done       bigint  NOT NULL,
	skipped    bigint  NOT NULL,
	created_ms bigint  NOT NULL,
	ended_ms   bigint  NOT NULL, -- 0: it runs
	query      bytea   NOT NULL, -- see store.EncodeQuery
	PRIMARY KEY (id)
);

CREATE TABLE audit (
	id      bigint GENERATED ALWAYS AS IDENTITY,
	at_ms   bigint NOT NULL,
	actor   text   COLLATE "C" NOT NULL,
	remote  text   COLLATE "C" NOT NULL,
	action  text   COLLATE "C" NOT NULL,
	target  text   COLLATE "C" NOT NULL,
	details bytea,
	PRIMARY KEY (id)
);

-- Incarnations of nodes.
CREATE TABLE nodes (
	id         bigint GENERATED ALWAYS AS IDENTITY,
	name       text   COLLATE "C" NOT NULL,
	lease_ms   bigint NOT NULL,
	joined_ms  bigint NOT NULL,
	expires_ms bigint NOT NULL, -- unless it renews its lease
	ended_ms   bigint,          -- NULL: it was not ended
	connection text   COLLATE "C" NOT NULL, -- application_name of its connections
	PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- Whose row is locked decides who is there and who holds what.
CREATE TABLE membership (
	id integer PRIMARY KEY CHECK (id = 1)
);
INSERT INTO membership VALUES (1);

CREATE TABLE partitions (
	partition integer NOT NULL PRIMARY KEY,
	node_id   bigint  NOT NULL -- 0: nobody
) WITH (fillfactor = 50);
INSERT INTO partitions SELECT p, 0 FROM generate_series(0, 63) AS p;

-- Something to write when nothing but the writing matters.
CREATE TABLE marks (
	id integer PRIMARY KEY CHECK (id = 1),
	n  bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO marks VALUES (1, 0);
