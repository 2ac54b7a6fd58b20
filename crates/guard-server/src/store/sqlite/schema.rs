//! The tables, and how older files become newer ones.

use rusqlite::{Connection, TransactionBehavior};

use super::OpenError;

/// One step for each version; `user_version` counts those that were taken.
/// A released step is never changed: later changes are new steps.
const STEPS: &[&str] = &["
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
"];

/// The version of a file that took every step.
#[expect(clippy::cast_possible_truncation, reason = "a handful of steps")]
const VERSION: u32 = STEPS.len() as u32;

/// Takes the steps that `connection`'s file still lacks, all or none.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let taken: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if taken > VERSION {
        return Err(OpenError::Newer {
            found: taken,
            known: VERSION,
        });
    }
    for step in &STEPS[taken as usize..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_gets_every_step_and_an_up_to_date_one_none() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        let version: u32 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(version, VERSION);
    }

    #[test]
    fn a_file_of_a_newer_server_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 99, .. }));
    }
}
