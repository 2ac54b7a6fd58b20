//! The promises of every engine, and this engine's behaviour at start, with several nodes, and when
//! inserts fail.
//!
//! The ClickHouse of these tests is in the zone of New York. Its profile acknowledges inserts from
//! memory and then loses them, and answers a part when a query takes long.

mod database;
mod inserts;
mod nodes;
mod relay;
mod removal;
mod start;

use std::time::Duration;

use serde_json::json;

pub(in crate::store) use self::database::Database;
use crate::ingest::intake::Intake;
use crate::store::conformance::telemetry_suite;
use crate::store::postgres::tests::Database as Control;
use crate::store::{
    ArrivalQuery, Arrivals as _, Batch, ClickHouse, Cursor, Node, ProjectId, Receipt, StoreError,
    Stores, Telemetry as _,
};

/// Everything else is in PostgreSQL, as it is on several nodes.
async fn open() -> (Stores, Control) {
    let control = Control::migrated().await;
    let node = Database::new().node(1).await;
    let stores = Stores::split(control.open().await, node, Node::alone());
    (stores, control)
}

telemetry_suite!(super::open);

const PROJECT: ProjectId = ProjectId(7);

/// A batch of events with these keys.
fn events(project: ProjectId, keys: &[&str]) -> Batch {
    let event = |key: &&str| json!({ "idempotency_key": key, "timestamp": "2026-11-30T12:00:00Z", "event_type": "x" });
    let events: Vec<_> = keys.iter().map(event).collect();
    let body = json!({ "events": events, "metrics": [] }).to_string();
    Intake::read(project, body.as_bytes(), None, 10_000)
        .unwrap()
        .batch
}

async fn append(node: &ClickHouse, keys: &[&str]) -> Result<Receipt, StoreError> {
    node.append(events(PROJECT, keys), 100).await
}

/// How many events of the project there are.
async fn total(node: &ClickHouse) -> u64 {
    node.counts(PROJECT).await.unwrap().events.total
}

/// The keys of the events after a position, and the position after them.
async fn arrived(node: &ClickHouse, after: &Cursor) -> (Vec<String>, Cursor) {
    let (mut keys, mut after) = (Vec::new(), after.clone());
    loop {
        let query = ArrivalQuery {
            project: PROJECT,
            after,
            until: None,
            limit: 3,
            bytes: usize::MAX,
        };
        let slice = node.arrivals(query).await.unwrap();
        for arrived in &slice.events {
            let body: serde_json::Value = serde_json::from_str(arrived.event.body.get()).unwrap();
            keys.push(body["idempotency_key"].as_str().unwrap().to_owned());
        }
        after = slice.next;
        if slice.is_complete {
            return (keys, after);
        }
    }
}

/// Waits for a condition.
async fn eventually<F: Future<Output = bool>>(mut is_true: impl FnMut() -> F) {
    let waiting = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it becomes true in a minute");
}
