//! Writes of several nodes that overlap. A slow transaction keeps what they need until they wait for it,
//! so that each has begun before another one ends.

mod agents;
mod alerts;
mod removed;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::Database;
use crate::store::postgres::Postgres;
use crate::store::{Alerts as _, BoxFuture, ProjectId, Projects as _, StoreError, StoredAlert};

const AT: Timestamp = Timestamp::UNIX_EPOCH;
/// The alert of the project.
const ALERT: &str = "a";

/// Three nodes on one database, with a project that has an alert.
struct World {
    nodes: [Arc<Postgres>; 3],
    project: ProjectId,
    /// Its transaction is slow.
    slow: Client,
    /// Sees what the nodes do.
    observer: Client,
    database: Database,
}

impl World {
    async fn new() -> Self {
        let database = Database::migrated().await;
        let nodes = [
            database.open().await,
            database.open().await,
            database.open().await,
        ];
        nodes[0].create_project("shop", AT, 9, None).await.unwrap();
        let project = nodes[0].project_named("shop").await.unwrap().unwrap().id;
        nodes[0].add_alert(alert(project), 9, None).await.unwrap();
        Self {
            slow: database.client().await,
            observer: database.client().await,
            nodes,
            project,
            database,
        }
    }

    /// Begins the slow transaction, with this statement.
    async fn keep(&self, statement: &str) {
        let begin = format!("BEGIN; {statement}");
        self.slow.batch_execute(&begin).await.unwrap();
    }

    /// Ends the slow transaction without changes.
    async fn release(&self) {
        self.slow.batch_execute("ROLLBACK").await.unwrap();
    }

    /// Starts a call on a node.
    fn start<T: Send + 'static>(
        &self,
        node: usize,
        call: impl FnOnce(&Postgres) -> BoxFuture<'_, T> + Send + 'static,
    ) -> JoinHandle<Result<T, StoreError>> {
        let node = Arc::clone(&self.nodes[node]);
        tokio::spawn(async move { call(&node).await })
    }

    /// Waits until this many calls wait for the slow transaction, or for each other.
    async fn waiting(&self, calls: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let all_wait = async {
            while self.number(waiting).await < calls {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(Duration::from_secs(4), all_wait).await;
        waited.expect("the calls wait");
    }

    /// The number that a query returns.
    async fn number(&self, sql: &str) -> i64 {
        self.observer.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn alert(project: ProjectId) -> StoredAlert {
    StoredAlert {
        project,
        id: ALERT.to_owned(),
        created_at: AT,
        created_by: "cli".to_owned(),
        content: "{}".to_owned(),
        muted_until: None,
    }
}
