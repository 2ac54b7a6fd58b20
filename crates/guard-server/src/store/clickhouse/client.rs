//! The client with the settings that every query needs, and what its errors mean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clickhouse::error::Error;
use clickhouse::insert::Insert;
use clickhouse::query::Query;
use clickhouse::{Client, Row, RowOwned, RowRead};
use guard_wire::Kind;

use super::endpoint::Endpoint;
use crate::store::StoreError;
use crate::trouble::TroubleLog;

/// How long a small query may take, the connection included.
pub(super) const QUERY_TIME: Duration = Duration::from_secs(10);

/// Codes of ClickHouse.
pub(super) mod code {
    pub(in super::super) const TIMEOUT_EXCEEDED: u32 = 159;
    pub(in super::super) const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
    pub(in super::super) const MEMORY_LIMIT_EXCEEDED: u32 = 241;
    pub(in super::super) const NOT_ENOUGH_SPACE: u32 = 243;
    pub(in super::super) const TOO_MANY_PARTS: u32 = 252;
    pub(in super::super) const ACCESS_DENIED: u32 = 497;
    pub(in super::super) const AUTHENTICATION_FAILED: u32 = 516;
}

/// What every query sets, so that answers do not depend on the server's profiles or its zone.
const SETTINGS: [(&str, &str); 16] = [
    ("session_timezone", "UTC"),
    // A record and its copies have the same time, so they are in the same partition.
    ("do_not_merge_across_partitions_select_final", "1"),
    ("join_use_nulls", "0"),
    ("transform_null_in", "0"),
    ("aggregate_functions_null_for_empty", "0"),
    // An answer has everything, or it is an error.
    ("limit", "0"),
    ("offset", "0"),
    ("max_result_rows", "0"),
    ("max_result_bytes", "0"),
    ("read_overflow_mode", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("sort_overflow_mode", "throw"),
    ("result_overflow_mode", "throw"),
    ("distinct_overflow_mode", "throw"),
    ("set_overflow_mode", "throw"),
    ("timeout_overflow_mode", "throw"),
];

/// More rows than a batch has, so that an insert is one block.
const BLOCK_ROWS: &str = "1048576";
const BLOCK_BYTES: &str = "1073741824";

/// What every insert sets, whatever the server's profiles say: the answer comes when the rows are
/// in the table, and they become visible together.
const INSERT_SETTINGS: [(&str, &str); 11] = [
    ("async_insert", "0"),
    ("wait_for_async_insert", "1"),
    ("wait_end_of_query", "1"),
    ("insert_deduplicate", "1"),
    ("max_insert_block_size", BLOCK_ROWS),
    ("min_insert_block_size_rows", BLOCK_ROWS),
    ("min_insert_block_size_bytes", BLOCK_BYTES),
    ("max_insert_threads", "1"),
    ("input_format_allow_errors_num", "0"),
    ("input_format_allow_errors_ratio", "0"),
    ("max_execution_time", "0"),
];
/// The same on a cluster: most replicas have the rows before the answer comes.
const REPLICATED_INSERT_SETTINGS: [(&str, &str); 2] =
    [("insert_quorum", "auto"), ("insert_quorum_parallel", "1")];

/// A handle of the database. Clones share connections.
#[derive(Clone)]
pub(super) struct Engine {
    client: Client,
    endpoint: Arc<Endpoint>,
    is_replicated: bool,
    trouble: Arc<TroubleLog>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client would show the password.
        f.debug_tuple("Engine").field(&self.endpoint).finish()
    }
}

impl Engine {
    pub(super) fn new(endpoint: Arc<Endpoint>, is_replicated: bool) -> Self {
        let mut client = Client::default()
            .with_url(endpoint.url())
            .with_user(endpoint.user())
            .with_password(endpoint.password())
            .with_product_info("guard-server", env!("CARGO_PKG_VERSION"));
        for (name, value) in SETTINGS {
            client = client.with_setting(name, value);
        }
        Self {
            client: client.with_database(endpoint.database()),
            endpoint,
            is_replicated,
            trouble: Arc::default(),
        }
    }

    /// The client, for inserts and for statements outside of the database.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// A query that reads. Give values by `{name:Type}` in the text and [`param`](Query::param). A
    /// `?` in the text stands for itself. The server stops it when its future is dropped.
    pub(super) fn query(&self, sql: &str) -> Query {
        self.client
            .query_raw(sql)
            .with_setting("readonly", "2")
            .with_setting("cancel_http_readonly_queries_on_client_close", "1")
    }

    /// A statement that writes, in the same form.
    pub(super) fn statement(&self, sql: &str) -> Query {
        self.client.query_raw(sql)
    }

    /// An insert of rows that are in the table when it ends.
    pub(super) async fn insert<T: Row>(&self, table: &str) -> clickhouse::error::Result<Insert<T>> {
        let mut insert = self.client.insert::<T>(table).await?;
        for (name, value) in self.insert_settings() {
            insert = insert.with_setting(name, value);
        }
        Ok(insert)
    }

    /// The same for an insert whose rows stand in its text.
    pub(super) fn durably(&self, mut insert: Query) -> Query {
        for (name, value) in self.insert_settings() {
            insert = insert.with_setting(name, value);
        }
        insert
    }

    fn insert_settings(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let replicated: &[_] = if self.is_replicated {
            &REPLICATED_INSERT_SETTINGS
        } else {
            &[]
        };
        INSERT_SETTINGS
            .into_iter()
            .chain(replicated.iter().copied())
    }

    /// All rows of a query, within `time`.
    pub(super) async fn rows<T: RowOwned + RowRead>(
        &self,
        query: Query,
        time: Duration,
    ) -> Result<Vec<T>, StoreError> {
        self.within(time, query.fetch_all()).await
    }

    /// The one row of a query, within `time`.
    pub(super) async fn row<T: RowOwned + RowRead>(
        &self,
        query: Query,
        time: Duration,
    ) -> Result<T, StoreError> {
        self.within(time, query.fetch_one()).await
    }

    /// Runs a statement without an answer, within `time`.
    pub(super) async fn execute(&self, query: Query, time: Duration) -> Result<(), StoreError> {
        self.within(time, query.execute()).await
    }

    /// Waits at most `time` for an answer.
    pub(super) async fn within<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(time, answer).await;
        self.judged(answer.unwrap_or(Err(Error::TimedOut)))
    }

    /// Logs the first failure of an outage and its end.
    pub(super) fn judged<T>(&self, answer: clickhouse::error::Result<T>) -> Result<T, StoreError> {
        match answer {
            Ok(answer) => {
                if let Some(failures) = self.trouble.succeeded() {
                    tracing::info!(failures, "ClickHouse answers again");
                }
                Ok(answer)
            }
            Err(error) => {
                let (meaning, number) = (meaning(&error), code_of(&error).unwrap_or(0));
                let kind = i32::try_from(number).unwrap_or(0);
                if meaning != StoreError::TimedOut && self.trouble.failed(kind, Instant::now()) {
                    let error = self.endpoint.redact(&error.to_string());
                    tracing::error!(error, "ClickHouse failed");
                }
                Err(meaning)
            }
        }
    }
}

/// The condition that hides the records of a kind that were removed. Needs the parameter
/// `project:Int64`.
pub(super) const fn since(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => {
            "timestamp >= (SELECT fromUnixTimestamp64Micro(\
             ifNull(maxOrNull(events), -9223372036854775808), 'UTC') \
             FROM cutoffs WHERE project = {project:Int64})"
        }
        Kind::Metric => {
            "timestamp >= (SELECT fromUnixTimestamp64Micro(\
             ifNull(maxOrNull(metrics), -9223372036854775808), 'UTC') \
             FROM cutoffs WHERE project = {project:Int64})"
        }
    }
}

/// What a failure means to the caller.
pub(super) fn meaning(error: &Error) -> StoreError {
    match code_of(error) {
        Some(code::TOO_MANY_PARTS | code::TOO_MANY_SIMULTANEOUS_QUERIES) => StoreError::Busy,
        Some(code::TIMEOUT_EXCEEDED | code::MEMORY_LIMIT_EXCEEDED) => StoreError::TimedOut,
        Some(code::NOT_ENOUGH_SPACE) => StoreError::Full,
        _ => StoreError::Unavailable,
    }
}

/// The number of ClickHouse's error, if it is one.
pub(super) fn code_of(error: &Error) -> Option<u32> {
    let Error::BadResponse(text) = error else {
        return None;
    };
    let (_, rest) = text.split_once("Code: ")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}
