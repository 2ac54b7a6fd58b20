-- The last totals that a process reported, to know what is new in the next report.
CREATE TABLE loss_totals (
    project INTEGER NOT NULL,
    install_id TEXT NOT NULL,
    process TEXT NOT NULL,
    reason TEXT NOT NULL,
    total INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY (project, install_id, process, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX loss_totals_seen ON loss_totals (project, seen);
-- Lost records per minute, which is in seconds since the epoch.
CREATE TABLE losses (
    project INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    install_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (project, minute, install_id, reason)
) STRICT, WITHOUT ROWID;
-- Saved views of a project. `content` is JSON.
CREATE TABLE views (
    project INTEGER NOT NULL,
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;
