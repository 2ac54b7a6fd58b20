//! The promises of every engine, and this engine's behaviour when writes fail.

use std::sync::mpsc;

use guard_wire::Kind;
use jiff::Timestamp;
use tempfile::TempDir;

use super::telemetry::{Appending, Names, append, prepare};
use super::*;
use crate::people::{Actor, AuditEntry, Change};
use crate::store::conformance::{conformance_suite, newest};
use crate::store::{
    ArrivalQuery, Arrivals as _, Batch, Columns, Cursor, KindCounts, NewRecord, ProjectId,
    Projects as _, Stores, Telemetry as _,
};

const PROJECT: ProjectId = ProjectId(1);
const TYPES: u32 = 1000;

fn store() -> (TempDir, Arc<Sqlite>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    (directory, Arc::new(store))
}

async fn open() -> (Stores, TempDir) {
    let (directory, store) = store();
    (Stores::of(store), directory)
}

conformance_suite!(super::open);

/// Text that does not compress to nothing.
fn noise(len: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + u8::try_from(state >> 59).unwrap() % 26)
    };
    (0..len).map(|_| next()).collect()
}

fn batch(keys: &[&str], padding: usize) -> Batch {
    let record = |key: &&str| NewRecord {
        idempotency_key: Some((*key).to_owned()),
        timestamp: Timestamp::UNIX_EPOCH,
        type_name: "x".to_owned(),
        ip: None,
        endpoint: None,
        value: None,
        columns: Columns::default(),
        body: format!("\"{}\"", noise(padding)),
    };
    Batch {
        project: PROJECT,
        received_at: Timestamp::UNIX_EPOCH,
        install_id: None,
        events: keys.iter().map(record).collect(),
        metrics: Vec::new(),
        invalid: KindCounts::default(),
    }
}

async fn total(store: &Sqlite) -> u64 {
    let page = (1000, usize::MAX);
    let stored = newest(store, PROJECT, Kind::Event, None, page)
        .await
        .unwrap();
    let counts = store.counts(PROJECT).await.unwrap();
    assert_eq!(counts.events.total, stored.events.len() as u64);
    counts.events.total
}

#[tokio::test]
async fn writes_work_again_after_a_full_disk() {
    let (_directory, store) = store();
    let pages = |n: i64| {
        store.writer.write(0, move |connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {n}"), [], |_| Ok(()))
        })
    };
    store.append(batch(&["before"], 10), TYPES).await.unwrap();
    pages(1).await.unwrap();
    let refused = store.append(batch(&["a", "b"], 100_000), TYPES).await;
    assert_eq!(refused.unwrap_err(), StoreError::Unavailable);
    assert_eq!(total(&store).await, 1);
    // What is left is for other things.
    let refused = store.append(batch(&["a", "b"], 100_000), TYPES).await;
    assert_eq!(refused.unwrap_err(), StoreError::Full);
    assert_eq!(store.probe().await, Err(StoreError::Full));
    pages(100_000).await.unwrap();
    // The server looks at the disk every second.
    store.disk_room().await.unwrap();
    store
        .append(batch(&["a", "b"], 100_000), TYPES)
        .await
        .unwrap();
    assert_eq!(total(&store).await, 3);
}

#[tokio::test]
async fn a_failed_job_does_not_affect_others_in_its_group() {
    let (_directory, store) = store();
    let (release, held) = mpsc::channel::<()>();
    let hold = store.writer.write(0, move |_| {
        held.recv().unwrap();
        Ok(())
    });
    let fail = store.writer.write(0, |connection| {
        connection.execute_batch("INSERT INTO nowhere VALUES (1)")
    });
    let good = store.append(batch(&["a"], 10), TYPES);
    let free = async move { release.send(()).unwrap() };
    let (held, failed, appended, ()) = tokio::join!(hold, fail, good, free);
    assert_eq!(held, Ok(()));
    assert_eq!(failed, Err(StoreError::Unavailable));
    assert_eq!(appended.unwrap().duplicates, Some(KindCounts::default()));
    assert_eq!(total(&store).await, 1);
}

#[tokio::test]
async fn a_panicking_job_is_rolled_back_and_the_next_one_succeeds() {
    let (_directory, store) = store();
    let panics = store.writer.write(0, |connection| -> rusqlite::Result<()> {
        let how = Appending {
            types: 1,
            is_counted: true,
        };
        let batch = prepare(batch(&["a"], 10)).unwrap();
        append(connection, &mut Names::default(), &batch, how)?;
        panic!("a defect")
    });
    assert_eq!(panics.await, Err(StoreError::Unavailable));
    assert_eq!(total(&store).await, 0);
    store.append(batch(&["a"], 10), TYPES).await.unwrap();
    assert_eq!(total(&store).await, 1);
}

#[tokio::test]
async fn the_store_is_busy_only_while_too_many_jobs_wait() {
    let (_directory, store) = store();
    let (release, held) = mpsc::channel::<()>();
    let large = store.writer.write(usize::MAX, move |_| {
        held.recv().unwrap();
        Ok(())
    });
    let refused = async {
        let refused = store.append(batch(&["a"], 10), TYPES).await;
        release.send(()).unwrap();
        refused
    };
    let (large, refused) = tokio::join!(large, refused);
    assert_eq!(large, Ok(()));
    assert_eq!(refused.unwrap_err(), StoreError::Busy);
    store.append(batch(&["a"], 10), TYPES).await.unwrap();
}

#[tokio::test]
async fn the_file_is_durable_at_every_commit() {
    let (_directory, store) = store();
    let (mode, synchronous) = store
        .writer
        .write(0, |connection| {
            let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            let synchronous: i64 =
                connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
            Ok((mode, synchronous))
        })
        .await
        .unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(synchronous, 2, "FULL");
}

#[tokio::test]
async fn the_file_shrinks_after_records_expired() {
    let (directory, store) = store();
    store
        .create_project("shop", Timestamp::UNIX_EPOCH, 10, None)
        .await
        .unwrap();
    for key in 0..100 {
        let batch = batch(&[&key.to_string()], 200_000);
        store.append(batch, TYPES).await.unwrap();
    }
    let size = || directory.path().join("guard.db").metadata().unwrap().len();
    let full = store.disk_room().await.unwrap().used;
    assert!(full > 8 << 20, "{full}");
    while store.expire_oldest(PROJECT, u64::MAX).await.unwrap().events > 0 {}
    let room = store.disk_room().await.unwrap();
    assert!(room.reusable > full / 2, "{room:?}");
    assert!(room.free.is_some());
    let keep = 1 << 20;
    while store.compact(keep).await.unwrap() {}
    let room = store.disk_room().await.unwrap();
    assert!(room.reusable <= keep, "{room:?}");
    let Ok(store) = Arc::try_unwrap(store) else {
        panic!("the store is in use")
    };
    drop(store);
    assert!(size() < full / 4, "{} of {full}", size());
}

/// How many events arrived after a position.
async fn arrived(store: &Sqlite, after: &Cursor) -> Result<usize, StoreError> {
    let query = ArrivalQuery {
        project: PROJECT,
        after: after.clone(),
        until: None,
        limit: 1000,
        bytes: usize::MAX,
    };
    Ok(store.arrivals(query).await?.events.len())
}

/// Stores an event that came at this second.
async fn arrive(store: &Sqlite, key: &str, second: i64) {
    let mut batch = batch(&[key], 0);
    batch.received_at = Timestamp::from_second(second).unwrap();
    batch.events[0].body = r#"{"timestamp":"1970-01-01T00:00:00Z"}"#.to_owned();
    store.append(batch, TYPES).await.unwrap();
}

#[tokio::test]
async fn a_position_stays_valid_when_the_file_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.db");
    let open = || Sqlite::open(&path).unwrap();
    let store = open();
    let at = Timestamp::UNIX_EPOCH;
    store.create_project("shop", at, 10, None).await.unwrap();
    arrive(&store, "a", 1).await;
    let position = store.now(PROJECT).await.unwrap();
    arrive(&store, "b", 2).await;
    drop(store);
    assert_eq!(arrived(&open(), &position).await, Ok(1));
}

#[tokio::test]
async fn a_position_of_another_file_or_of_a_lost_future_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.db");
    let store = Sqlite::open(&path).unwrap();
    let at = Timestamp::UNIX_EPOCH;
    store.create_project("shop", at, 10, None).await.unwrap();
    arrive(&store, "a", 1).await;
    let kept = store.now(PROJECT).await.unwrap();
    let copy = directory.path().join("copy.db");
    back_up(&path, &copy).unwrap();
    arrive(&store, "b", 2).await;
    let lost = store.now(PROJECT).await.unwrap();
    assert_eq!(arrived(&store, &lost).await, Ok(0));

    let copy = Sqlite::open(&copy).unwrap();
    assert_eq!(arrived(&copy, &lost).await, Err(StoreError::InvalidCursor));
    arrive(&copy, "c", 3).await;
    assert_eq!(arrived(&copy, &lost).await, Err(StoreError::InvalidCursor));
    assert_eq!(arrived(&copy, &kept).await, Ok(1));

    let other = Sqlite::open(&directory.path().join("other.db")).unwrap();
    other.create_project("shop", at, 10, None).await.unwrap();
    arrive(&other, "a", 1).await;
    assert_eq!(arrived(&other, &kept).await, Err(StoreError::InvalidCursor));
}

#[tokio::test]
async fn a_change_whose_entry_cannot_be_stored_is_not_made() {
    let (directory, store) = store();
    let other = Connection::open(directory.path().join("guard.db")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'no'); END";
    other.execute_batch(refuse).unwrap();
    let entry = AuditEntry::new(&Actor::CLI, Change::default(), Timestamp::UNIX_EPOCH);
    let made = store.create_project("shop", Timestamp::UNIX_EPOCH, 9, Some(entry));
    assert_eq!(made.await, Err(StoreError::Unavailable));
    assert_eq!(store.project_named("shop").await, Ok(None));
}
