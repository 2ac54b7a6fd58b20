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

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

pub(in crate::store) use self::database::Database;
use crate::ingest::intake::Intake;
use crate::store::conformance::cases;
use crate::store::postgres::tests::Database as Control;
use crate::store::{
    ArrivalQuery, Arrivals as _, Batch, ClickHouse, Cursor, Node, ProjectId, Receipt, Sqlite,
    StoreError, Stores, Telemetry as _,
};

/// Projects are in PostgreSQL, as they are on several nodes.
async fn open() -> (Stores, (Control, TempDir)) {
    let control = Control::migrated().await;
    let directory = tempfile::tempdir().unwrap();
    let rest = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    let node = Database::new().node(1).await;
    let stores = Stores {
        projects: control.open().await,
        ..Stores::split(Arc::new(rest), node, Node::alone())
    };
    (stores, (control, directory))
}

cases! { super::open,
    arrivals: [
        events_are_read_in_the_order_in_which_they_came,
        an_event_that_is_sent_again_does_not_arrive_again,
        an_arrived_event_is_the_stored_one,
        a_slice_ends_at_its_limits,
        a_reader_misses_and_repeats_nothing_while_others_write,
        projects_do_not_see_the_arrivals_of_each_other,
        a_position_expires_when_a_later_event_is_removed,
    ],
    telemetry: [
        a_record_sent_again_is_stored_once,
        a_record_without_a_key_is_stored_each_time,
        records_are_read_newest_first_page_by_page,
        a_page_ends_with_the_record_that_fills_it,
        a_cursor_that_the_engine_did_not_make_is_refused,
        types_beyond_the_limit_are_counted_together,
        records_that_were_left_out_are_counted,
        projects_do_not_see_the_records_of_each_other,
        the_probe_of_a_working_store_succeeds,
        a_late_record_takes_its_place_by_time,
        pages_stay_stable_while_new_records_come_in,
        a_record_sent_again_with_others_is_counted_once,
        expired_records_leave_with_their_counts,
        expiry_removes_only_what_it_names,
        the_oldest_records_leave_first,
        the_records_of_a_removed_project_are_removed_and_no_other,
        the_room_of_a_project_grows_with_its_records,
    ],
}

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
