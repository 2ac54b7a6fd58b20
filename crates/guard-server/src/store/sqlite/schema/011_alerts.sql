-- Alerts of projects. `content` is JSON.
CREATE TABLE alerts (
    project INTEGER NOT NULL,
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    content TEXT NOT NULL,
    muted_until INTEGER,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;
-- The projects that have got the default alerts.
CREATE TABLE alert_defaults (
    project INTEGER PRIMARY KEY
) STRICT;
-- The position in the order of arrival up to which events were evaluated.
CREATE TABLE alert_positions (
    project INTEGER PRIMARY KEY,
    position BLOB NOT NULL
) STRICT;
-- Where alerts stand, for each group that is not calm.
CREATE TABLE alert_states (
    project INTEGER NOT NULL,
    alert TEXT NOT NULL,
    grp TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (project, alert, grp)
) STRICT, WITHOUT ROWID;
-- The values that alerts on new values know.
CREATE TABLE alert_seen (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL,
    alert TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (project, alert, value)
) STRICT;
CREATE TABLE alert_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL,
    alert TEXT NOT NULL,
    at INTEGER NOT NULL,
    content TEXT NOT NULL
) STRICT;
CREATE INDEX alert_history_alert ON alert_history (project, alert, id);
-- Notifications that wait to be delivered. Those of a channel are delivered in their order.
CREATE TABLE alert_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project INTEGER NOT NULL,
    alert TEXT NOT NULL,
    channel TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    content TEXT NOT NULL
) STRICT;
CREATE INDEX alert_outbox_channel ON alert_outbox (channel, seq);
-- Where notifications are delivered. Channels belong to the server. `target` may be a secret.
CREATE TABLE channels (
    id TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    label TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    secret TEXT
) STRICT, WITHOUT ROWID;
