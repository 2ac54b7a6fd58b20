//! Runs the queries of one question: few questions at a time, each with a time limit, and only
//! while somebody waits for the answer.

use std::time::Duration;

use clickhouse::query::{Query, RowCursor};
use clickhouse::{RowOwned, RowRead};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::ClickHouse;
use super::super::client::Engine;
use super::params::Params;
use crate::store::{ProjectId, StoreError};

/// How many questions a node asks at the same time.
const SEARCHES: usize = 8;
/// How long the answer to a question may take.
const SEARCH_TIME: Duration = Duration::from_secs(30);

/// Limits the questions of a node.
#[derive(Debug)]
pub(in super::super) struct Searches {
    turns: Semaphore,
    time: Duration,
}

impl Default for Searches {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(SEARCHES),
            time: SEARCH_TIME,
        }
    }
}

impl Searches {
    /// Sets how long an answer may take.
    #[cfg(test)]
    pub(super) fn within(time: Duration) -> Self {
        Self {
            time,
            ..Self::default()
        }
    }
}

/// The queries of one question.
pub(super) struct Run<'a> {
    engine: &'a Engine,
    project: ProjectId,
    time: Duration,
}

impl ClickHouse {
    /// The queries of a question about a project.
    pub(super) const fn run(&self, project: ProjectId) -> Run<'_> {
        Run {
            engine: &self.engine,
            project,
            time: self.searches.time,
        }
    }

    /// Waits for an answer until its time is up. When it is dropped, the server cancels what runs
    /// for it.
    pub(super) async fn search<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let turn = self.searches.turns.acquire().await;
        let _turn = turn.map_err(|_| StoreError::Unavailable)?;
        let answer = timeout(self.searches.time, answer).await;
        answer.unwrap_or(Err(StoreError::TimedOut))
    }
}

impl<'a> Run<'a> {
    fn query(&self, sql: &str, params: &Params) -> Query {
        let query = self.engine.query(sql).param("project", self.project.0);
        // The client ends the connection when its time is up. This is for a server that does not
        // notice.
        let seconds = self.time.as_secs().max(1) + 1;
        params
            .bind(query)
            .with_setting("max_execution_time", seconds.to_string())
            .with_setting("timeout_overflow_mode", "throw")
    }

    /// The rows of an answer, one by one.
    pub(super) fn rows<T: RowOwned + RowRead>(
        &self,
        sql: &str,
        params: &Params,
    ) -> Result<Rows<'a, T>, StoreError> {
        let cursor = self.engine.judged(self.query(sql, params).fetch::<T>())?;
        Ok(Rows {
            engine: self.engine,
            cursor,
        })
    }

    /// All rows of an answer.
    pub(super) async fn all<T: RowOwned + RowRead>(
        &self,
        sql: &str,
        params: &Params,
    ) -> Result<Vec<T>, StoreError> {
        self.engine
            .judged(self.query(sql, params).fetch_all().await)
    }
}

/// The rows of an answer. When it is dropped, the server stops the query.
pub(super) struct Rows<'a, T> {
    engine: &'a Engine,
    cursor: RowCursor<T>,
}

impl<T: RowOwned + RowRead> Rows<'_, T> {
    /// The next row.
    pub(super) async fn next(&mut self) -> Result<Option<T>, StoreError> {
        let next = self.cursor.next().await;
        self.engine.judged(next)
    }
}
