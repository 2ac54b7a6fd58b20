//! Removing records.

use jiff::Timestamp;

use super::{Database, PROJECT, append, events, eventually, total};
use crate::store::{Expiry, ProjectId, Telemetry as _};

fn everything_before(time: &str) -> Expiry {
    let before = time.parse().unwrap();
    Expiry {
        events_before: before,
        metrics_before: before,
        rollups_before: Timestamp::MIN,
    }
}

#[tokio::test]
async fn expired_records_are_hidden_at_once_and_leave_the_disk_later() {
    let database = Database::new();
    let node = database.node(1).await;
    append(&node, &["a", "b"]).await.unwrap();
    let other = ProjectId(8);
    node.append(events(other, &["a"]), 100).await.unwrap();
    let expired = node.expire(PROJECT, everything_before("2026-12-01T00:00:00Z"));
    assert_eq!(expired.await.unwrap().events, 2);
    assert_eq!(total(&node).await, 0);
    assert_eq!(node.usage(PROJECT).await.unwrap().bytes, 0);
    assert!(!node.compact(0).await.unwrap());
    eventually(async || database.number("SELECT count() FROM events").await == 1).await;
    assert_eq!(node.counts(other).await.unwrap().events.total, 1);
}

#[tokio::test]
async fn a_clock_that_was_wrong_hides_no_records_to_come() {
    let database = Database::new();
    let node = database.node(1).await;
    append(&node, &["a"]).await.unwrap();
    let expired = node.expire(PROJECT, everything_before("2090-01-01T00:00:00Z"));
    assert_eq!(expired.await.unwrap().events, 1);
    let mut later = events(PROJECT, &["b"]);
    later.events[0].timestamp = "2026-11-30T12:00:01Z".parse().unwrap();
    node.append(later, 100).await.unwrap();
    assert_eq!(total(&node).await, 1);
}

#[tokio::test]
async fn a_removed_project_stays_empty_and_leaves_the_disk() {
    let database = Database::new();
    let node = database.node(1).await;
    append(&node, &["a"]).await.unwrap();
    assert!(!node.sweep(vec![PROJECT]).await.unwrap());
    assert_eq!(total(&node).await, 0);
    // This batch was on its way.
    append(&node, &["b"]).await.unwrap();
    assert_eq!(total(&node).await, 0);
    node.compact(0).await.unwrap();
    eventually(async || database.number("SELECT count() FROM events").await == 0).await;
}
