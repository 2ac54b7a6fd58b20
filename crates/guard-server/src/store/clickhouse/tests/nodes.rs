//! Several nodes on one database.

use std::sync::Arc;

use super::relay::{Mode, Relay};
use super::{Database, PROJECT, append, arrived, eventually, total};
use crate::store::{Arrivals as _, StoreError};

#[tokio::test]
async fn a_record_that_is_sent_to_two_nodes_counts_and_arrives_once() {
    let database = Database::new();
    let (one, other) = (database.node(1).await, database.node(2).await);
    database.run("SYSTEM STOP MERGES events").await;
    let begin = one.now(PROJECT).await.unwrap();
    append(&one, &["a", "b"]).await.unwrap();
    let (keys, middle) = arrived(&other, &begin).await;
    assert_eq!(keys, ["a", "b"]);
    append(&other, &["b", "a", "c"]).await.unwrap();
    append(&one, &["c", "d"]).await.unwrap();

    for node in [&one, &other] {
        assert_eq!(total(node).await, 4);
        assert_eq!(arrived(node, &begin).await.0, ["a", "b", "c", "d"]);
        assert_eq!(arrived(node, &middle).await.0, ["c", "d"]);
    }
    // The same after the copies were merged.
    database.run("SYSTEM START MERGES events").await;
    database.run("OPTIMIZE TABLE events FINAL").await;
    assert_eq!(database.number("SELECT count() FROM events").await, 4);
    assert_eq!(arrived(&one, &begin).await.0, ["a", "b", "c", "d"]);
    assert_eq!(arrived(&one, &middle).await.0, ["c", "d"]);
}

#[tokio::test]
async fn a_reader_misses_nothing_of_three_nodes_when_an_insert_is_delayed() {
    let database = Database::new();
    let relay = Relay::to(crate::store::engines::clickhouse()).await;
    let slow = database.through(&relay.url).node(1).await;
    let (two, three) = (database.node(2).await, database.node(3).await);
    append(&slow, &["before"]).await.unwrap();
    let begin = two.now(PROJECT).await.unwrap();

    relay.set(Mode::Hold);
    let delayed = tokio::spawn({
        let slow = Arc::clone(&slow);
        async move { append(&slow, &["delayed-1", "delayed-2"]).await }
    });
    let mut read = Vec::new();
    let mut position = begin;
    for n in 0..5 {
        append(&two, &[&format!("two-{n}")]).await.unwrap();
        append(&three, &[&format!("three-{n}")]).await.unwrap();
        let (keys, next) = arrived(&three, &position).await;
        read.extend(keys);
        position = next;
    }
    assert_eq!(read.len(), 10, "{read:?}");
    relay.set(Mode::Pass);
    delayed.await.unwrap().unwrap();
    append(&two, &["after"]).await.unwrap();

    let (keys, _) = arrived(&three, &position).await;
    read.extend(keys);
    assert_eq!(read.len(), 13, "{read:?}");
    for key in ["delayed-1", "delayed-2", "after"] {
        assert!(read.iter().any(|read| read == key), "{key} in {read:?}");
    }
}

#[tokio::test]
async fn a_node_that_takes_over_a_slot_goes_on_after_its_last_arrival() {
    let database = Database::new();
    let first = database.node(1).await;
    append(&first, &["a"]).await.unwrap();
    // As if the clock of the first one were ahead.
    database
        .run(
            "INSERT INTO events (project, timestamp, key, arrival, received_at, event_type, body) \
             SELECT 7, timestamp, 5, 4611686018427387904, received_at, 'x', \
             '{\"idempotency_key\":\"ahead\"}' FROM events LIMIT 1",
        )
        .await;
    drop(first);
    let second = database.node(1).await;
    let begin = second.now(PROJECT).await.unwrap();
    append(&second, &["b"]).await.unwrap();
    assert_eq!(arrived(&second, &begin).await.0, ["b"]);
}

#[tokio::test]
async fn nodes_may_open_an_empty_database_at_the_same_time() {
    let database = Database::new();
    let opened = tokio::join!(
        database.node(1),
        database.node(2),
        database.node(3),
        database.node(4)
    );
    append(&opened.3, &["a"]).await.unwrap();
    assert_eq!(total(&opened.0).await, 1);
    let versions = "SELECT count() FROM schema_version FINAL";
    assert_eq!(database.number(versions).await, 1);
}

#[tokio::test]
async fn a_position_of_another_database_or_project_is_refused() {
    let database = Database::new();
    let node = database.node(1).await;
    let foreign = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let query = crate::store::ArrivalQuery {
        project: PROJECT,
        after: foreign,
        until: None,
        limit: 1,
        bytes: 1,
    };
    let refused = node.arrivals(query).await.unwrap_err();
    assert_eq!(refused, StoreError::InvalidCursor);
    eventually(async || node.now(PROJECT).await.is_ok()).await;
}
