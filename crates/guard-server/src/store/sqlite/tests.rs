//! What the store promises when writing goes wrong.

use std::sync::mpsc;

use guard_wire::Kind;
use jiff::Timestamp;
use tempfile::TempDir;

use super::telemetry::append;
use super::*;
use crate::DEFAULT_PROJECT;
use crate::projects::KeyHash;
use crate::store::{
    Batch, Change, Control as _, Counts, Page, ProjectId, ProjectSettings, Record, StoredRules,
    Telemetry as _,
};

const PROJECT: ProjectId = ProjectId(1);

fn store() -> (TempDir, Arc<Sqlite>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    (directory, Arc::new(store))
}

fn batch(keys: &[&str], padding: usize) -> Batch {
    let record = |key: &&str| Record {
        idempotency_key: Some((*key).to_owned()),
        timestamp: Timestamp::UNIX_EPOCH,
        type_name: "x".to_owned(),
        ip: None,
        endpoint: None,
        value: None,
        body: format!("\"{}\"", "x".repeat(padding)),
    };
    Batch {
        project: PROJECT,
        received_at: Timestamp::UNIX_EPOCH,
        events: keys.iter().map(record).collect(),
        metrics: Vec::new(),
        invalid: Counts::default(),
    }
}

async fn total(store: &Sqlite) -> u64 {
    let page = Page {
        before: None,
        limit: 1000,
        bytes: crate::store::MAX_LIST_BYTES,
    };
    let stored = store.records(PROJECT, Kind::Event, page).await.unwrap();
    let summary = store.summary(PROJECT).await.unwrap();
    assert_eq!(summary.events.total, stored.len() as u64);
    summary.events.total
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_passes() {
    let (_directory, store) = store();
    let pages = |n: i64| {
        store.writer.write(0, move |connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {n}"), [], |_| Ok(()))
        })
    };
    store.append(batch(&["before"], 10)).await.unwrap();
    pages(1).await.unwrap();
    let refused = store.append(batch(&["a", "b"], 100_000)).await;
    assert_eq!(refused.unwrap_err(), StoreError::Unavailable);
    assert_eq!(total(&store).await, 1);
    pages(100_000).await.unwrap();
    store.append(batch(&["a", "b"], 100_000)).await.unwrap();
    assert_eq!(total(&store).await, 3);
}

#[tokio::test]
async fn a_job_that_fails_does_not_take_others_of_its_group_with_it() {
    let (_directory, store) = store();
    let (release, held) = mpsc::channel::<()>();
    let hold = store.writer.write(0, move |_| {
        held.recv().unwrap();
        Ok(())
    });
    let fail = store.writer.write(0, |connection| {
        connection.execute_batch("INSERT INTO nowhere VALUES (1)")
    });
    let good = store.append(batch(&["a"], 10));
    let free = async move { release.send(()).unwrap() };
    let (held, failed, appended, ()) = tokio::join!(hold, fail, good, free);
    assert_eq!(held, Ok(()));
    assert_eq!(failed, Err(StoreError::Unavailable));
    assert_eq!(appended.unwrap().stored.events, 1);
    assert_eq!(total(&store).await, 1);
}

#[tokio::test]
async fn a_job_that_panics_is_undone_and_the_next_one_is_done() {
    let (_directory, store) = store();
    let panics = store.writer.write(0, |connection| -> rusqlite::Result<()> {
        append(connection, &batch(&["a"], 10), 1)?;
        panic!("a defect")
    });
    assert_eq!(panics.await, Err(StoreError::Unavailable));
    assert_eq!(total(&store).await, 0);
    store.append(batch(&["a"], 10)).await.unwrap();
    assert_eq!(total(&store).await, 1);
}

#[tokio::test]
async fn when_too_much_waits_the_store_is_busy_and_later_not() {
    let (_directory, store) = store();
    let (release, held) = mpsc::channel::<()>();
    let large = store.writer.write(usize::MAX, move |_| {
        held.recv().unwrap();
        Ok(())
    });
    let refused = async {
        let refused = store.append(batch(&["a"], 10)).await;
        release.send(()).unwrap();
        refused
    };
    let (large, refused) = tokio::join!(large, refused);
    assert_eq!(large, Ok(()));
    assert_eq!(refused.unwrap_err(), StoreError::Busy);
    store.append(batch(&["a"], 10)).await.unwrap();
}

#[tokio::test]
async fn settings_that_are_not_given_stay_and_empty_secrets_go() {
    let (_directory, store) = store();
    let save = |settings| store.save_project(DEFAULT_PROJECT, settings);
    let project = async || store.project_named(DEFAULT_PROJECT).await.unwrap().unwrap();
    save(ProjectSettings {
        key: Some(KeyHash::of("k")),
        encryption_key: Some("e".into()),
        signing_secret: Some("s".into()),
    })
    .await
    .unwrap();
    save(ProjectSettings::default()).await.unwrap();
    assert_eq!(project().await.signing_secret, Some("s".into()));
    let found = store.project_of_key(KeyHash::of("k")).await.unwrap();
    assert_eq!(found.map(|it| it.id), Some(project().await.id));
    save(ProjectSettings {
        signing_secret: Some("".into()),
        ..ProjectSettings::default()
    })
    .await
    .unwrap();
    assert_eq!(project().await.signing_secret, None);
    assert_eq!(project().await.encryption_key, Some("e".into()));
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
async fn versions_of_rules_are_kept_as_far_as_there_is_room_and_the_newest_always() {
    let (_directory, store) = store();
    store
        .save_project(DEFAULT_PROJECT, ProjectSettings::default())
        .await
        .unwrap();
    let kept = async |version: i64, mib: usize| {
        let rules = StoredRules {
            version,
            document: "x".repeat(mib * 1024 * 1024),
            policy: version.to_string(),
            lease_ends: None,
            due: None,
            change: Change {
                created_at: Timestamp::UNIX_EPOCH,
                action: String::new(),
                author: None,
                reason: None,
            },
        };
        let from = (version > 1).then_some(version - 1);
        store.set_rules(PROJECT, from, rules).await.unwrap();
        let history = store.rules_history(PROJECT, i64::MAX, 10).await.unwrap();
        let versions = history.into_iter().map(|(version, _)| version);
        versions.collect::<Vec<_>>()
    };
    kept(1, 20).await;
    kept(2, 20).await;
    assert_eq!(kept(3, 20).await, [3, 2, 1]);
    assert_eq!(kept(4, 20).await, [4, 3, 2]);
    assert_eq!(kept(5, 65).await, [5]);
}
