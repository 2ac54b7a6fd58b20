-- People and programs that use the operator API.
CREATE TABLE people (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    -- A JSON array of names, or of one star.
    projects TEXT NOT NULL,
    -- Hashed; null until the person has chosen one.
    password TEXT,
    created_at INTEGER NOT NULL,
    signed_in_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,
    person TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_person ON sessions (person);
-- Without a person, a link adds the first admin.
CREATE TABLE setup_links (
    hash BLOB PRIMARY KEY,
    person TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    label TEXT NOT NULL,
    role TEXT NOT NULL,
    projects TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    project TEXT,
    object TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
CREATE INDEX audit_at ON audit (at, id);
-- Whether a program or the server made the version, not a person. Such versions are
-- removed first.
ALTER TABLE rule_versions ADD COLUMN automatic INTEGER NOT NULL DEFAULT 0;
UPDATE rule_versions SET automatic = 1 WHERE author IS NULL AND reason IS NULL
    AND (action IN ('renew in time', 'follow the clock') OR action LIKE 'end: %');
