//! The tables, and the migration of older files.

use rusqlite::{Connection, TransactionBehavior};

use super::OpenError;
use crate::store::Progress;

/// One migration step per version. `user_version` counts the steps that a file has taken. A
/// released step never changes; later changes are new steps.
const STEPS: &[&str] = &[
    "
    CREATE TABLE projects (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        encryption_key TEXT,
        signing_secret TEXT
    ) STRICT;
    CREATE TABLE api_keys (
        hash BLOB PRIMARY KEY,
        project_id INTEGER NOT NULL REFERENCES projects (id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE rules (
        project_id INTEGER PRIMARY KEY REFERENCES projects (id),
        version INTEGER NOT NULL,
        document TEXT NOT NULL
    ) STRICT;

    -- Times are microseconds since the epoch.
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        project_id INTEGER NOT NULL,
        idempotency_key TEXT,
        timestamp INTEGER NOT NULL,
        received_at INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        ip TEXT,
        endpoint TEXT,
        body TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX events_once ON events (project_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL;
    CREATE TABLE metrics (
        id INTEGER PRIMARY KEY,
        project_id INTEGER NOT NULL,
        idempotency_key TEXT,
        timestamp INTEGER NOT NULL,
        received_at INTEGER NOT NULL,
        metric_type TEXT NOT NULL,
        value REAL,
        endpoint TEXT,
        body TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX metrics_once ON metrics (project_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL;

    -- Counted in the transaction that stores, so that a summary reads a few
    -- rows however many records there are. Only stored records have a type.
    CREATE TABLE tallies (
        project_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        outcome TEXT NOT NULL,
        type TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (project_id, kind, outcome, type)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE agent_status (
        project_id INTEGER NOT NULL,
        install_id TEXT NOT NULL,
        received_at INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (project_id, install_id)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE rule_versions (
        project_id INTEGER NOT NULL REFERENCES projects (id),
        version INTEGER NOT NULL,
        document TEXT NOT NULL,
        policy TEXT NOT NULL,
        lease_ends INTEGER,
        due INTEGER,
        created_at INTEGER NOT NULL,
        action TEXT NOT NULL,
        author TEXT,
        reason TEXT,
        PRIMARY KEY (project_id, version)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO rule_versions (project_id, version, document, policy, created_at, action)
        SELECT project_id, version, document,
            '{\"rules\":' || document || ',\"entries\":[]}', unixepoch() * 1000000, 'set'
        FROM rules;
    DROP TABLE rules;
",
    "
    CREATE TABLE rule_drafts (
        project_id INTEGER PRIMARY KEY REFERENCES projects (id),
        document TEXT NOT NULL,
        saved_at INTEGER NOT NULL,
        author TEXT
    ) STRICT;
",
    "
    -- Who asks for rules. Of agents that do not name their process it is empty.
    CREATE TABLE rule_followers (
        project_id INTEGER NOT NULL,
        install_id TEXT NOT NULL,
        process TEXT NOT NULL,
        agent TEXT NOT NULL,
        seen_at INTEGER NOT NULL,
        asked_at INTEGER NOT NULL,
        holds INTEGER NOT NULL,
        interval INTEGER,
        fetched INTEGER,
        fetched_at INTEGER,
        applied INTEGER,
        applied_at INTEGER,
        in_force INTEGER,
        refused TEXT,
        reported_at INTEGER,
        PRIMARY KEY (project_id, install_id, process)
    ) STRICT, WITHOUT ROWID;
    -- By these the longest unseen are found and forgotten.
    CREATE INDEX rule_followers_seen ON rule_followers (project_id, seen_at);
    CREATE INDEX agent_status_received ON agent_status (project_id, received_at);
",
    "
    -- Names the document that was published when the draft was saved.
    ALTER TABLE rule_drafts ADD COLUMN base TEXT;
",
    "
    -- Stored records of types beyond the limit are counted under an empty type. Of
    -- files that have more types already, the most frequent ones keep their count.
    CREATE TEMP TABLE rare AS SELECT project_id, kind, type, n FROM (
        SELECT project_id, kind, type, n, row_number() OVER (
            PARTITION BY project_id, kind ORDER BY n DESC, type) AS place
        FROM tallies WHERE outcome = 'stored')
        WHERE place > 1000;
    DELETE FROM tallies WHERE outcome = 'stored'
        AND (project_id, kind, type) IN (SELECT project_id, kind, type FROM rare);
    INSERT INTO tallies (project_id, kind, outcome, type, n)
        SELECT project_id, kind, 'stored', '', sum(n) FROM rare GROUP BY project_id, kind;
    DROP TABLE rare;
    -- One row, written to see that the store takes commits.
    CREATE TABLE probes (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        at INTEGER NOT NULL,
        content BLOB NOT NULL
    ) STRICT;
",
    include_str!("schema/007_projects.sql"),
    include_str!("schema/008_telemetry.sql"),
    include_str!("schema/009_people.sql"),
    include_str!("schema/010_explore.sql"),
    include_str!("schema/011_alerts.sql"),
    include_str!("schema/012_arrivals.sql"),
    include_str!("schema/013_rollups.sql"),
    include_str!("schema/014_minutes.sql"),
];

/// The version of a file with all steps.
#[expect(clippy::cast_possible_truncation, reason = "a handful of steps")]
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// How many steps `connection`'s file has taken.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Runs the missing steps on `connection`'s file, each in a transaction. If the process ends
/// meanwhile, the next call goes on after the last complete step.
pub(super) fn migrate(connection: &mut Connection, progress: &Progress) -> Result<(), OpenError> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let taken = version(&transaction)?;
        if taken > VERSION {
            return Err(OpenError::Newer {
                found: taken,
                known: VERSION,
            });
        }
        if taken == VERSION {
            return Ok(());
        }
        // A new file is complete or not there.
        let next = if taken == 0 { VERSION } else { taken + 1 };
        if taken > 0 {
            progress.begin(format!("step {next} of {VERSION} to the schema of today"));
        }
        for step in &STEPS[taken as usize..next as usize] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", next)?;
        transaction.commit()?;
    }
}

#[cfg(test)]
mod tests;
