-- What the contract knows of several nodes. A database of this kind has one,
-- which says so with the number 0.

ALTER TABLE users    ADD COLUMN version INTEGER NOT NULL DEFAULT 1; -- of the user's sessions
ALTER TABLE sessions ADD COLUMN node_id INTEGER NOT NULL DEFAULT 0;
