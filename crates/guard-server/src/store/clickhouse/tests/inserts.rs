//! What an acknowledgement of an insert means, and what happens when there is none.

use std::sync::Arc;

use futures_util::future::join_all;

use super::relay::{Mode, Relay};
use super::{Database, PROJECT, append, arrived, events, eventually, total};
use crate::store::clickhouse::PAUSE;
use crate::store::{Arrivals as _, ClickHouse, ProjectId, StoreError, Telemetry as _};

#[tokio::test]
async fn an_acknowledged_batch_is_stored_whatever_the_profile_says() {
    let database = Database::new();
    let node = database.node(1).await;
    // Other inserts are acknowledged, and lost.
    let lost = "INSERT INTO left_out FORMAT JSONEachRow {\"project\":1}";
    database.run(lost).await;
    assert_eq!(database.number("SELECT count() FROM left_out").await, 0);

    append(&node, &["a", "b"]).await.unwrap();
    assert_eq!(total(&node).await, 2);
    let other = database.node(2).await;
    assert_eq!(total(&other).await, 2);
}

#[tokio::test]
async fn small_batches_of_many_projects_share_inserts() {
    const PROJECTS: i64 = 50;
    const BATCHES: usize = 20;
    let database = Database::new();
    let slot = Arc::new(|| Some(1));
    let node = ClickHouse::start(database.endpoint(), None, slot, PAUSE).await;
    let node = node.unwrap();
    let keys: Vec<_> = (0..BATCHES).map(|n| n.to_string()).collect();
    let batches = (1..=PROJECTS).flat_map(|project| {
        let one = |key: &String| node.append(events(ProjectId(project), &[key]), 100);
        keys.iter().map(one).collect::<Vec<_>>()
    });
    for stored in join_all(batches).await {
        stored.unwrap();
    }
    let stored = database.number("SELECT count() FROM events FINAL").await;
    assert_eq!(stored, 1000);
    // The numbers of blocks count inserts, whatever was merged.
    let inserts = "SELECT toUInt64(max(max_block_number)) FROM system.parts \
                   WHERE database = currentDatabase() AND table = 'events'";
    let inserts = database.number(inserts).await;
    assert!(inserts < 20, "{inserts}");
}

#[tokio::test]
async fn too_many_parts_refuse_a_batch_that_is_stored_once_when_it_comes_again() {
    let database = Database::new();
    let node = database.node(1).await;
    let begin = node.now(PROJECT).await.unwrap();
    database.run("SYSTEM STOP MERGES events").await;
    append(&node, &["a"]).await.unwrap();
    database
        .run("ALTER TABLE events MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")
        .await;
    assert_eq!(append(&node, &["b", "c"]).await, Err(StoreError::Busy));
    assert_eq!(total(&node).await, 1);

    database
        .run("ALTER TABLE events RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
        .await;
    append(&node, &["b", "c"]).await.unwrap();
    assert_eq!(total(&node).await, 3);
    assert_eq!(arrived(&node, &begin).await.0, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_batch_whose_outcome_is_unknown_counts_and_arrives_once() {
    let database = Database::new();
    let direct = database.node(2).await;
    let begin = direct.now(PROJECT).await.unwrap();
    let relay = Relay::to(crate::store::engines::clickhouse()).await;
    let node = database.through(&relay.url).node(1).await;
    append(&node, &["a"]).await.unwrap();

    relay.set(Mode::CutAnswers);
    assert_eq!(
        append(&node, &["b", "c"]).await,
        Err(StoreError::Unavailable)
    );
    // The sender sends it to another node meanwhile.
    append(&direct, &["b", "c"]).await.unwrap();
    relay.set(Mode::Pass);
    append(&node, &["d"]).await.unwrap();
    append(&node, &["b", "c"]).await.unwrap();

    assert_eq!(total(&direct).await, 4);
    let (mut keys, _) = arrived(&direct, &begin).await;
    keys.sort();
    assert_eq!(keys, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_node_without_a_slot_stores_nothing_and_continues_in_the_next_one() {
    let database = Database::new();
    let slot = Arc::new(std::sync::Mutex::new(Some(1)));
    let its = Arc::clone(&slot);
    let node = database
        .try_node(move || *its.lock().unwrap())
        .await
        .unwrap();
    append(&node, &["a"]).await.unwrap();
    *slot.lock().unwrap() = None;
    assert_eq!(append(&node, &["b"]).await, Err(StoreError::Unavailable));
    assert_eq!(node.probe().await, Err(StoreError::Unavailable));
    *slot.lock().unwrap() = Some(16);
    append(&node, &["b"]).await.unwrap();
    assert_eq!(node.probe().await, Ok(()));
    assert_eq!(total(&node).await, 2);
    let slots = "SELECT uniqExact(arrival % 16) FROM events";
    assert_eq!(database.number(slots).await, 2);
}

#[tokio::test]
async fn a_store_that_is_away_is_unavailable_and_comes_back_by_itself() {
    let database = Database::new();
    let relay = Relay::to(crate::store::engines::clickhouse()).await;
    let node = database.through(&relay.url).node(1).await;
    relay.set(Mode::CutAnswers);
    assert_eq!(node.counts(PROJECT).await, Err(StoreError::Unavailable));
    assert_eq!(node.probe().await, Err(StoreError::Unavailable));
    relay.set(Mode::Pass);
    eventually(async || append(&node, &["a"]).await.is_ok()).await;
    assert_eq!(total(&node).await, 1);
}
