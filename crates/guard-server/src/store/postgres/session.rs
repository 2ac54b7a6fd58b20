//! Statements on a connection of the pool, alone or in a transaction.

use std::error::Error;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use serde::Serialize;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error as PgError, Row};

use super::Postgres;
use super::health::Health;
use super::rows::ReadError;
use crate::people::AuditEntry;
use crate::store::StoreError;
use crate::store::audit::Outcome;

/// How long the server may take for an answer. It gives up earlier by itself (see `connect`), unless
/// the network is cut.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// The values of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection of the pool. Each statement is a transaction. After a failure the connection is closed
/// and not used again, because its state is not known then.
pub(super) struct Session<'a> {
    health: &'a Health,
    /// `None` only during drop.
    client: Option<Object>,
    has_failed: AtomicBool,
}

impl<'a> Session<'a> {
    pub(super) fn of(client: Object, health: &'a Health) -> Self {
        Self {
            health,
            client: Some(client),
            has_failed: AtomicBool::new(false),
        }
    }

    /// The rows that `sql` returns, each read by `read`.
    pub(super) async fn all<T>(
        &self,
        sql: &str,
        params: Params<'_>,
        read: impl Fn(&Row) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows(sql, params).await?;
        let read = rows.iter().map(read).collect::<Result<_, _>>();
        read.map_err(|error| self.health.unreadable(&*error))
    }

    /// The first row that `sql` returns, read by `read`.
    pub(super) async fn first<T>(
        &self,
        sql: &str,
        params: Params<'_>,
        read: impl Fn(&Row) -> Result<T, ReadError>,
    ) -> Result<Option<T>, StoreError> {
        let rows = self.rows(sql, params).await?;
        let read = rows.first().map(read).transpose();
        read.map_err(|error| self.health.unreadable(&*error))
    }

    /// The only row that `sql` returns, such as a count.
    pub(super) async fn one<T>(
        &self,
        sql: &str,
        params: Params<'_>,
        read: impl Fn(&Row) -> Result<T, ReadError>,
    ) -> Result<T, StoreError> {
        let row = self.first(sql, params, read).await?;
        row.ok_or_else(|| {
            self.health
                .unreadable(&*ReadError::from("a row is missing"))
        })
    }

    /// Runs `sql`. Returns how many rows it concerned.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, StoreError> {
        let client = self.client()?;
        self.answered(async {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, params).await
        })
        .await
    }

    /// A value as JSON text.
    pub(super) fn to_json(&self, value: &impl Serialize) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|error| self.unwritable(&error))
    }

    /// Records that a value cannot be written.
    pub(super) fn unwritable(&self, error: &(dyn Error + Send + Sync)) -> StoreError {
        self.health.unwritable(error)
    }

    /// Runs a statement without values that is not worth preparing.
    async fn command(&self, sql: &str) -> Result<(), StoreError> {
        let client = self.client()?;
        self.answered(client.batch_execute(sql)).await
    }

    async fn rows(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let client = self.client()?;
        self.answered(async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        })
        .await
    }

    async fn answered<T>(
        &self,
        work: impl Future<Output = Result<T, PgError>>,
    ) -> Result<T, StoreError> {
        let error = match timeout(ANSWER_TIME, work).await {
            Ok(Ok(answer)) => {
                self.health.answered();
                return Ok(answer);
            }
            Ok(Err(error)) => self.health.failed(&error),
            Err(_) => self.health.silent(),
        };
        self.has_failed.store(true, Ordering::Relaxed);
        Err(error)
    }

    fn client(&self) -> Result<&Object, StoreError> {
        self.client.as_ref().ok_or(StoreError::Unavailable)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.has_failed.load(Ordering::Relaxed)
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

/// A transaction. Dropped, it changes nothing: the connection is closed, so that the server rolls it
/// back. Others see its changes, and its locks end, with the commit.
pub(super) struct Transaction<'a> {
    session: Session<'a>,
    is_over: bool,
}

impl<'a> Deref for Transaction<'a> {
    type Target = Session<'a>;

    fn deref(&self) -> &Session<'a> {
        &self.session
    }
}

impl Transaction<'_> {
    /// Makes the changes durable and visible.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        // PostgreSQL answers a commit after a failed statement by rolling back, without an error.
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable);
        }
        self.end("COMMIT").await
    }

    /// Takes the changes back.
    pub(super) async fn roll_back(self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    /// Commits a change with this outcome. If the change was [made](Outcome::is_made), `entry` is added
    /// to the audit log in the same commit.
    pub(super) async fn commit_audited<T: Outcome>(
        self,
        outcome: T,
        entry: Option<AuditEntry>,
    ) -> Result<T, StoreError> {
        if let Some(entry) = entry.filter(|_| outcome.is_made()) {
            super::audit::insert(&self, &entry).await?;
        }
        self.commit().await?;
        Ok(outcome)
    }

    async fn end(mut self, command: &str) -> Result<(), StoreError> {
        self.command(command).await?;
        self.is_over = true;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.session.has_failed.store(true, Ordering::Relaxed);
        }
    }
}

impl Postgres {
    /// A connection for statements that need no transaction.
    pub(super) async fn session(&self) -> Result<Session<'_>, StoreError> {
        Ok(Session::of(self.connection().await?, &self.health))
    }

    /// Begins a transaction. What one statement reads, others may have changed at the next, so lock
    /// what a decision depends on.
    pub(super) async fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        // Made first: if this call is dropped before the answer, the connection is not used again.
        let transaction = Transaction {
            session: self.session().await?,
            is_over: false,
        };
        transaction.command("BEGIN").await?;
        Ok(transaction)
    }
}
