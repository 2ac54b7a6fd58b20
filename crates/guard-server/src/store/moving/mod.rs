//! The part of a move from SQLite to PostgreSQL and ClickHouse that needs both databases: a copy of
//! the control tables, and how far the move is.
//!
//! The tables have the same names and columns in both. All are copied in one transaction, and again by
//! every attempt until the move is finished. Until then no server starts on the target.

mod cell;
mod tables;

use thiserror::Error;
use tokio_postgres::{Client, Error as PgError, Transaction};

use self::cell::Cell;
use self::tables::{IDENTITIES, TABLES, Table};
use super::location::Shared;
use super::postgres::{AdvisoryLock, OpenError, Server};
use super::{ProjectId, Sqlite, StoreError};

/// How many rows are on their way to PostgreSQL at the same time.
const AT_ONCE: usize = 500;

/// Why the control tables cannot be moved.
#[derive(Debug, Error)]
pub enum MoveError {
    /// The target has data, and they are not of an earlier attempt.
    #[error(
        "the database of --to-control has data that are not from this file: give empty databases, or \
         remove what is there"
    )]
    NotEmpty,
    /// The move was finished before.
    #[error("this file was moved there already, at {0}: start the servers")]
    Finished(String),
    /// Another move runs.
    #[error("another guard-server migrate works on the same databases; wait for it, or stop it")]
    Running,
    /// A table has other rows after it was copied.
    #[error("{found} of {rows} rows of the table {name} were copied; nothing is changed")]
    Differs {
        /// The table.
        name: &'static str,
        /// How many rows it has in the file.
        rows: u64,
        /// How many there are in PostgreSQL.
        found: u64,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Source(StoreError),
    /// PostgreSQL failed.
    #[error(transparent)]
    Target(#[from] OpenError),
}

/// A move that this process does. Nobody else can do it at the same time.
pub struct Move<'a> {
    from: &'a Sqlite,
    to: &'a Server,
    client: Client,
    origin: String,
    /// Whether an earlier attempt got far enough to have moved something.
    pub is_continued: bool,
}

/// How far the records of a project and kind are moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MovedUntil {
    /// The end of the source when the records were read. If it is another one now, records have come
    /// since.
    pub source: String,
    /// The position in the list of the source.
    pub position: Option<String>,
    /// Whether that is the end.
    pub is_done: bool,
    /// How many were moved.
    pub records: u64,
}

impl<'a> Move<'a> {
    /// Begins a move, or continues one of the same file.
    ///
    /// # Errors
    ///
    /// [`MoveError`] if the target has other data or the move is finished.
    pub async fn begin(from: &'a Sqlite, to: &'a Shared) -> Result<Self, MoveError> {
        let to = &to.control;
        let client = to.connect().await?;
        let failed = |error: PgError| OpenError::statement(to, &error);
        client
            .batch_execute("SET statement_timeout = 0")
            .await
            .map_err(failed)?;
        let key = AdvisoryLock::Move.key();
        let take = "SELECT pg_try_advisory_lock($1)";
        let locked = client.query_one(take, &[&key]).await.map_err(failed)?;
        if !locked.get::<_, bool>(0) {
            return Err(MoveError::Running);
        }
        let origin = tables::origin(from).await.map_err(MoveError::Source)?;
        let find = "SELECT origin, finished_at::text FROM moves";
        let earlier = client.query_opt(find, &[]).await.map_err(failed)?;
        let is_continued = earlier.is_some();
        if let Some(earlier) = earlier {
            if earlier.get::<_, String>(0) != origin {
                return Err(MoveError::NotEmpty);
            }
            if let Some(at) = earlier.get(1) {
                return Err(MoveError::Finished(at));
            }
        } else {
            let has_data = "SELECT EXISTS (SELECT FROM projects) OR EXISTS (SELECT FROM people)
                OR EXISTS (SELECT FROM audit)";
            if client
                .query_one(has_data, &[])
                .await
                .map_err(failed)?
                .get(0)
            {
                return Err(MoveError::NotEmpty);
            }
        }
        Ok(Self {
            from,
            to,
            client,
            origin,
            is_continued,
        })
    }

    /// Copies the control tables, in place of those of an earlier attempt. Returns how many rows each
    /// has in both.
    ///
    /// # Errors
    ///
    /// [`MoveError`] if it cannot. Then the target is as before.
    pub async fn copy_tables(&mut self) -> Result<Vec<(&'static str, u64)>, MoveError> {
        let failed = |error: PgError| OpenError::statement(self.to, &error);
        let transaction = self.client.transaction().await.map_err(failed)?;
        let note = "INSERT INTO moves (origin) VALUES ($1) ON CONFLICT DO NOTHING";
        transaction
            .execute(note, &[&self.origin])
            .await
            .map_err(failed)?;
        for table in TABLES.iter().rev() {
            let empty = format!("DELETE FROM {table}");
            transaction.batch_execute(&empty).await.map_err(failed)?;
        }
        let mut copied = Vec::new();
        for name in TABLES {
            let columns = columns(&transaction, name).await.map_err(failed)?;
            let table = Table::read(self.from, name, columns);
            let table = table.await.map_err(MoveError::Source)?;
            insert(&transaction, &table).await.map_err(failed)?;
            let count = format!("SELECT count(*) FROM {name}");
            let count = transaction.query_one(&count, &[]).await.map_err(failed)?;
            let (rows, found) = (
                table.rows.len() as u64,
                count.get::<_, i64>(0).unsigned_abs(),
            );
            if found != rows {
                return Err(MoveError::Differs { name, rows, found });
            }
            copied.push((*name, rows));
        }
        for (table, column) in IDENTITIES {
            let continue_after = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', '{column}'),
                    (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
            );
            transaction
                .batch_execute(&continue_after)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(copied)
    }

    /// How far an earlier attempt moved the records of a kind.
    ///
    /// # Errors
    ///
    /// [`MoveError`] if PostgreSQL fails.
    pub async fn moved(
        &self,
        project: ProjectId,
        kind: &str,
    ) -> Result<Option<MovedUntil>, MoveError> {
        let find = "SELECT source, position, is_done, records FROM move_positions WHERE project = $1 AND kind = $2";
        let row = self.client.query_opt(find, &[&project.0, &kind]).await;
        let row = row.map_err(|error| self.failed(&error))?;
        Ok(row.map(|row| MovedUntil {
            source: row.get(0),
            position: row.get(1),
            is_done: row.get(2),
            records: u64::try_from(row.get::<_, i64>(3)).unwrap_or(0),
        }))
    }

    /// Notes how far the records of a kind are moved.
    ///
    /// # Errors
    ///
    /// [`MoveError`] if PostgreSQL fails.
    pub async fn note(
        &self,
        project: ProjectId,
        kind: &str,
        until: &MovedUntil,
    ) -> Result<(), MoveError> {
        let save = "INSERT INTO move_positions (project, kind, source, position, is_done, records)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (project, kind) DO UPDATE
            SET source = excluded.source, position = excluded.position,
                is_done = excluded.is_done, records = excluded.records";
        let records = i64::try_from(until.records).unwrap_or(i64::MAX);
        let MovedUntil {
            source,
            position,
            is_done,
            ..
        } = until;
        self.client
            .execute(
                save,
                &[&project.0, &kind, source, position, is_done, &records],
            )
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }

    /// Lets servers start on the target.
    ///
    /// # Errors
    ///
    /// [`MoveError`] if PostgreSQL fails.
    pub async fn finish(&self) -> Result<(), MoveError> {
        let finish = "WITH positions AS (DELETE FROM move_positions)
            UPDATE moves SET finished_at = now() WHERE origin = $1";
        let finished = self.client.execute(finish, &[&self.origin]).await;
        finished.map_err(|error| self.failed(&error))?;
        Ok(())
    }

    fn failed(&self, error: &PgError) -> MoveError {
        OpenError::statement(self.to, error).into()
    }
}

/// The columns of a table in PostgreSQL.
async fn columns(transaction: &Transaction<'_>, table: &str) -> Result<Vec<String>, PgError> {
    let find = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1)
        AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = transaction.query(find, &[&table]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn insert(transaction: &Transaction<'_>, table: &Table) -> Result<(), PgError> {
    let values: Vec<_> = (1..=table.columns.len()).map(|n| format!("${n}")).collect();
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        table.name,
        table.columns.join(", "),
        values.join(", ")
    );
    let statement = transaction.prepare(&sql).await?;
    for rows in table.rows.chunks(AT_ONCE) {
        let inserts = rows
            .iter()
            .map(|row| transaction.execute_raw(&statement, row.iter().map(Cell::of)));
        futures_util::future::try_join_all(inserts).await?;
    }
    Ok(())
}
