//! Databases for tests, on the ClickHouse of this process. Each test has its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::store::clickhouse::client::{Engine, QUERY_TIME};
use crate::store::clickhouse::{ClickHouse, Endpoint, OpenError};
use crate::store::engines;

/// A database, empty at first.
pub(in crate::store) struct Database {
    name: String,
    server: String,
}

impl Database {
    pub(in crate::store) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self {
            name: format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            server: engines::clickhouse().to_owned(),
        }
    }

    /// The same database, reached through another server.
    pub(super) fn through(&self, server: &str) -> Self {
        Self {
            name: self.name.clone(),
            server: server.to_owned(),
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let Self { server, name } = self;
        format!("{server}/{name}").parse().unwrap()
    }

    /// A store on it, as the node with this slot has.
    pub(in crate::store) async fn node(&self, slot: u16) -> Arc<ClickHouse> {
        let node = self.try_node(move || Some(slot)).await;
        Arc::new(node.unwrap())
    }

    pub(super) async fn try_node(
        &self,
        slot: impl Fn() -> Option<u16> + Send + Sync + 'static,
    ) -> Result<ClickHouse, OpenError> {
        ClickHouse::start(self.endpoint(), None, Arc::new(slot), Duration::ZERO).await
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::new(self.endpoint()), false)
    }

    /// Runs a statement.
    pub(super) async fn run(&self, sql: &str) {
        let engine = self.engine();
        let done = engine.execute(engine.statement(sql), QUERY_TIME).await;
        done.unwrap();
    }

    /// The number that a query returns.
    pub(super) async fn number(&self, sql: &str) -> u64 {
        let engine = self.engine();
        engine.row(engine.query(sql), QUERY_TIME).await.unwrap()
    }
}
