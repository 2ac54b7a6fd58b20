
-- Settings are JSON; a missing one has its default. Until now a signing secret made signatures
-- mandatory. Of removed projects the row stays, without its name, so that no other project gets
-- its number.
ALTER TABLE projects ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE projects ADD COLUMN removed_at INTEGER;
ALTER TABLE projects ADD COLUMN is_swept INTEGER NOT NULL DEFAULT 0;
UPDATE projects SET created_at = unixepoch() * 1000000;
UPDATE projects SET settings = '{"require_signature":true}' WHERE signing_secret IS NOT NULL;

CREATE TABLE keys (
    hash BLOB PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    id TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO keys (hash, project_id, id, label, created_at, created_by)
    SELECT hash, project_id, lower(hex(randomblob(8))), 'set at start', unixepoch() * 1000000,
        'server'
    FROM api_keys;
DROP TABLE api_keys;
ALTER TABLE keys RENAME TO api_keys;
CREATE INDEX api_keys_of_project ON api_keys (project_id);

-- Requests with a valid key that were refused.
CREATE TABLE refusals (
    project_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (project_id, reason)
) STRICT, WITHOUT ROWID;
