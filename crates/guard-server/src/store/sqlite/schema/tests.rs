//! Files of older servers, and the migration of their data.

use std::path::Path;

use guard_wire::Kind;
use rusqlite::params;
use serde_json::{Value, json};

use super::super::telemetry::{Appending, Names, append, convert, fill, of_field, prepare};
use super::*;
use crate::DEFAULT_PROJECT;
use crate::fingerprint::fingerprint;
use crate::fleet::subscribers::policy;
use crate::projects::KeyHash;
use crate::store::conformance::newest;
use crate::store::{
    AgentId, AgentSignal, Batch, CheckIn, Columns, Fleet as _, KindCounts, NewRecord, ProjectId,
    Projects as _, RulesStore as _, Sqlite, Telemetry as _,
};

const ROLLUPS: &str = include_str!("013_rollups.sql");
const MINUTES: &str = include_str!("014_minutes.sql");
const KEY: &str = "fg_of_the_old_server";
const PROJECT: ProjectId = ProjectId(1);

/// Creates a file as a server left it that knew only the first `version` steps.
fn old_file(path: &Path, version: usize) {
    let connection = Connection::open(path).unwrap();
    for step in &STEPS[..version] {
        connection.execute_batch(step).unwrap();
    }
    connection
        .pragma_update(None, "user_version", u32::try_from(version).unwrap())
        .unwrap();
    connection
        .execute_batch(
            r#"
            INSERT INTO projects (id, name, signing_secret) VALUES (1, 'default', 'a secret');
            INSERT INTO agent_status VALUES (1, 'host-7', 9, '{"status":"healthy"}');
            "#,
        )
        .unwrap();
    if version < 8 {
        old_records(&connection);
    } else {
        records(&connection, version);
    }
    let key = if version < 7 {
        "INSERT INTO api_keys (hash, project_id) VALUES (?1, 1)"
    } else {
        "INSERT INTO api_keys (hash, project_id, id, label, created_at, created_by)
            VALUES (?1, 1, 'a', 'web', 5, 'cli')"
    };
    let hash = KeyHash::of(KEY);
    connection.execute(key, [hash.as_bytes()]).unwrap();
    let document = r#"{"version":4,"ip_blacklist":["192.0.2.7"]}"#;
    if version == 1 {
        let rules = "INSERT INTO rules (project_id, version, document) VALUES (1, 4, ?1)";
        connection.execute(rules, [document]).unwrap();
    } else {
        let rules = "INSERT INTO rule_versions
            (project_id, version, document, policy, created_at, action, author)
            VALUES (1, 4, ?1, '{\"rules\":' || ?1 || ',\"entries\":[]}', 5, 'set', 'me')";
        connection.execute(rules, [document]).unwrap();
    }
    if version >= 3 {
        let draft = "INSERT INTO rule_drafts (project_id, document, saved_at, author) VALUES (1, '{\"version\":1}', 6, 'me')";
        connection.execute(draft, []).unwrap();
    }
}

/// The records of a server that kept each in a row with its body.
fn old_records(connection: &Connection) {
    connection
        .execute_batch(
            r#"
            INSERT INTO events (project_id, idempotency_key, timestamp, received_at, event_type, body)
                VALUES (1, 'once', 7, 8, 'ip_banned', '{"reason":"old"}');
            INSERT INTO metrics (project_id, timestamp, received_at, metric_type, body)
                VALUES (1, 7, 8, 'block_rate', '{"value":1}');
            INSERT INTO tallies VALUES (1, 'event', 'stored', 'ip_banned', 1);
            "#,
        )
        .unwrap();
}

/// The same records in the layout of the versions since 8, without the rollups that came later.
fn records(connection: &Connection, version: usize) {
    if version < 13 {
        connection.execute_batch(ROLLUPS).unwrap();
    }
    connection.execute_batch(MINUTES).unwrap();
    let how = Appending {
        types: 1000,
        is_counted: true,
    };
    let batch = prepare(one_of_each()).unwrap();
    append(connection, &mut Names::default(), &batch, how).unwrap();
    without_minutes(connection);
    if version < 13 {
        connection.execute_batch(WITHOUT_ROLLUPS).unwrap();
        let tables = "DROP TABLE event_quarters; DROP TABLE unfilled_hours;";
        connection.execute_batch(tables).unwrap();
    }
}

const WITHOUT_ROLLUPS: &str = "
    DELETE FROM event_counts WHERE span = 86400 OR field IN (9, 10);
    DELETE FROM metric_rollups WHERE span < 0;";

/// Gives each count of a minute a row, as before version 14.
fn without_minutes(connection: &Connection) {
    let mut statement = connection
        .prepare("SELECT start, counts, project FROM event_minutes")
        .unwrap();
    let mut minutes = statement.query([]).unwrap();
    while let Some(row) = minutes.next().unwrap() {
        let (start, project): (i64, i64) = (row.get(0).unwrap(), row.get(2).unwrap());
        for field in 0..=u8::MAX {
            for (value, n) in of_field(row, 1, field).unwrap() {
                let insert = "INSERT INTO event_counts VALUES (?1, 60, ?2, ?3, ?4, ?5)";
                let count = params![project, field, start, value, n];
                connection.execute(insert, count).unwrap();
            }
        }
    }
    drop(minutes);
    let tables = "DROP TABLE event_minutes; DROP TABLE unmoved_hours;";
    connection.execute_batch(tables).unwrap();
}

/// All rollups, as text.
fn rollups(connection: &Connection) -> Vec<String> {
    let mut found = Vec::new();
    for table in [
        "event_counts",
        "event_minutes",
        "event_hours",
        "event_quarters",
        "metric_rollups",
    ] {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {table}"))
            .unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap()));
            found.push(format!("{table} {}", cells.collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

/// The same records as they are received.
fn one_of_each() -> Batch {
    let record = |kind, key: Option<&str>, type_name: &str, body: &str| NewRecord {
        idempotency_key: key.map(str::to_owned),
        timestamp: jiff::Timestamp::from_microsecond(7).unwrap(),
        type_name: type_name.to_owned(),
        ip: None,
        endpoint: None,
        value: None,
        columns: Columns::of(kind, body),
        body: body.to_owned(),
    };
    let event = record(
        Kind::Event,
        Some("once"),
        "ip_banned",
        r#"{"reason":"old"}"#,
    );
    Batch {
        project: PROJECT,
        received_at: jiff::Timestamp::from_microsecond(8).unwrap(),
        install_id: None,
        events: vec![event],
        metrics: vec![record(Kind::Metric, None, "block_rate", r#"{"value":1}"#)],
        invalid: KindCounts::default(),
    }
}

#[tokio::test]
async fn a_file_of_every_older_server_opens_and_keeps_its_data() {
    for version in 1..STEPS.len() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guard.db");
        old_file(&path, version);

        let store = Sqlite::open(&path).unwrap();
        let project = store.project_of_key(KeyHash::of(KEY)).await.unwrap();
        let project = project.unwrap();
        assert_eq!(project.name, DEFAULT_PROJECT);
        assert_eq!(project.signing_secret, Some("a secret".into()));
        assert_eq!(project.settings.require_signature, version < 7);
        assert_eq!(store.keys(PROJECT).await.unwrap().len(), 1);

        let rules = store.rules(PROJECT).await.unwrap().unwrap();
        let policy: Value = serde_json::from_str(&rules.policy).unwrap();
        let document = json!({ "version": 4, "ip_blacklist": ["192.0.2.7"] });
        assert_eq!(rules.version, 4);
        assert_eq!(policy, json!({ "rules": document, "entries": [] }));
        let draft = store.draft(PROJECT).await.unwrap();
        assert_eq!(draft.is_some(), version >= 3);

        let counts = store.counts(PROJECT).await.unwrap();
        assert_eq!(counts.events.by_type["ip_banned"], 1);
        let reports = store.reports(PROJECT, 10, usize::MAX).await.unwrap();
        assert_eq!(reports[0].install_id, "host-7");
        for (kind, body) in [
            (Kind::Event, r#"{"reason":"old"}"#),
            (Kind::Metric, r#"{"value":1}"#),
        ] {
            let page = (10, usize::MAX);
            let records = newest(&store, PROJECT, kind, None, page).await.unwrap();
            let bodies: Vec<_> = records.events.iter().map(|it| it.body.get()).collect();
            assert_eq!(bodies, [body]);
        }
    }
}

#[tokio::test]
async fn a_file_of_every_older_server_accepts_new_data() {
    for version in 1..STEPS.len() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guard.db");
        old_file(&path, version);
        let store = Sqlite::open(&path).unwrap();
        let asked = CheckIn {
            project: PROJECT,
            agent: AgentId::default(),
            at: jiff::Timestamp::UNIX_EPOCH,
            signal: AgentSignal::Asked { holds: true },
        };
        store
            .save_check_ins([asked].into(), policy(10))
            .await
            .unwrap();
        assert_eq!(store.subscribers(PROJECT).await.unwrap().len(), 1);
    }
}

/// Events and metrics of several days, hours and values.
fn spread() -> Batch {
    let mut batch = Batch {
        events: Vec::new(),
        metrics: Vec::new(),
        ..one_of_each()
    };
    for n in 0..300_i64 {
        let mut records = one_of_each();
        for mut record in records.events.drain(..).chain(records.metrics.drain(..)) {
            // Exact in binary, so that sums do not depend on their order.
            let body = format!(
                r#"{{"reason":"{}","user_agent":"{}","action_taken":"a{}","value":{}}}"#,
                n % 7,
                n % 11,
                n % 2,
                n % 13
            );
            let kind = if record.type_name == "ip_banned" {
                Kind::Event
            } else {
                Kind::Metric
            };
            record.idempotency_key = Some(n.to_string());
            record.timestamp = jiff::Timestamp::from_second(n * 1700 - 90_000).unwrap();
            record.ip = (n % 3 > 0).then(|| format!("192.0.2.{}", n % 5));
            record.endpoint = (n % 4 > 0).then(|| format!("/{}", n % 4));
            record.value = (n % 5 > 0).then(|| f64::from(u8::try_from(n % 13).unwrap()));
            record.columns = Columns::of(kind, &body);
            record.body = body;
            match kind {
                Kind::Event => batch.events.push(record),
                Kind::Metric => batch.metrics.push(record),
            }
        }
    }
    batch
}

#[test]
fn the_rollups_of_an_older_file_are_summed_up_even_if_that_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.db");
    drop(Sqlite::open(&path).unwrap());
    let mut connection = Connection::open(&path).unwrap();
    let how = Appending {
        types: 1000,
        is_counted: true,
    };
    append(
        &connection,
        &mut Names::default(),
        &prepare(spread()).unwrap(),
        how,
    )
    .unwrap();
    let expected = rollups(&connection);
    assert!(expected.len() > 2000, "{}", expected.len());

    connection
        .execute_batch("CREATE TABLE unmoved_hours (project, start)")
        .unwrap();
    without_minutes(&connection);
    connection
        .execute_batch(&format!(
            "DROP TABLE event_quarters; {WITHOUT_ROLLUPS} {ROLLUPS} {MINUTES}"
        ))
        .unwrap();
    let mut stops = 0;
    for steps in 1.. {
        // The database stops in the middle of a transaction, as when the process is killed.
        let mut budget = steps * 20;
        let stop = move || {
            budget -= 1;
            budget < 0
        };
        connection.progress_handler(1000, Some(stop)).unwrap();
        let outcome = fill(&mut connection, &Progress::default());
        connection
            .progress_handler(0, None::<fn() -> bool>)
            .unwrap();
        if outcome.is_ok() {
            break;
        }
        stops += 1;
    }
    assert!(stops > 2, "{stops}");
    assert_eq!(rollups(&connection), expected);
}

#[tokio::test]
async fn a_file_with_very_many_types_keeps_the_counts_of_the_frequent_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.db");
    old_file(&path, 5);
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO tallies SELECT 1, 'event', 'stored', 'type-' || i, i + 1 FROM n";
    let connection = Connection::open(&path).unwrap();
    connection.execute(many, []).unwrap();
    drop(connection);

    let store = Sqlite::open(&path).unwrap();
    let events = store.counts(PROJECT).await.unwrap().events;
    assert_eq!(events.by_type.len(), 1000);
    assert_eq!(events.by_type.values().min(), Some(&4002));
    assert_eq!(events.total, 1 + (2..=5001).sum::<u64>());
    assert_eq!(events.other, 1 + (2..=4001).sum::<u64>());
}

/// Adds 5,000 events and as many metrics to the file of a server with the old layout.
fn many_old_records(path: &Path) {
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)";
    let body = "'{\"reason\":\"' || i || '\"}'";
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!(
            "INSERT INTO events
                (project_id, idempotency_key, timestamp, received_at, event_type, ip, body)
                {many} SELECT 1, 'key ' || i, i * 1000000, i / 100, 'x', '192.0.2.1', {body} FROM n;
             INSERT INTO metrics (project_id, timestamp, received_at, metric_type, value, body)
                {many} SELECT 1, i, i / 100, 'block_rate', i, {body} FROM n;
             INSERT INTO tallies VALUES (1, 'event', 'stored', 'x', 5000);"
        ))
        .unwrap();
}

#[tokio::test]
async fn moving_old_records_goes_on_after_it_was_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.db");
    old_file(&path, 6);
    many_old_records(&path);
    let left = |connection: &Connection| -> i64 {
        let count = |table: &str| {
            let query = format!("SELECT count(*) FROM {table}");
            // A table that was moved is gone.
            connection
                .query_row(&query, [], |row| row.get(0))
                .unwrap_or(0)
        };
        count("old_events") + count("old_metrics")
    };
    let mut stops = Vec::new();
    for steps in 1.. {
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, &Progress::default()).unwrap();
        // The database stops in the middle of a transaction, as when the process is killed.
        let mut budget = steps * 20;
        let stop = move || {
            budget -= 1;
            budget < 0
        };
        connection.progress_handler(10_000, Some(stop)).unwrap();
        let outcome = convert(&mut connection, &Progress::default());
        connection
            .progress_handler(0, None::<fn() -> bool>)
            .unwrap();
        if outcome.is_ok() {
            break;
        }
        stops.push(left(&connection));
    }
    assert!(stops.len() > 2, "{stops:?}");
    assert!(stops.first() > stops.last(), "{stops:?}");

    let store = Sqlite::open(&path).unwrap();
    let counts = store.counts(PROJECT).await.unwrap();
    assert_eq!(
        (counts.events.by_type["x"], counts.events.total),
        (5000, 5001)
    );
    for kind in Kind::ALL {
        let (mut found, mut after) = (std::collections::BTreeSet::new(), None);
        loop {
            let page = (1000, usize::MAX);
            let page = newest(&store, PROJECT, kind, after, page).await.unwrap();
            for record in page.events {
                let body = record.body.get();
                assert!(found.insert(body.to_owned()), "{body}");
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 5001);
    }
}

#[tokio::test]
async fn a_record_of_an_older_file_that_is_sent_again_is_a_duplicate() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.db");
    old_file(&path, 6);
    let store = Sqlite::open(&path).unwrap();
    let again = store.append(one_of_each(), 1000).await.unwrap();
    let duplicates = KindCounts {
        events: 1,
        metrics: 0,
    };
    assert_eq!(again.duplicates, Some(duplicates));
}

#[test]
fn the_file_of_an_older_server_can_shrink() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.db");
    old_file(&path, 6);
    many_old_records(&path);
    drop(Sqlite::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    let pragma = |name: &str| -> i64 {
        let query = format!("PRAGMA {name}");
        connection.query_row(&query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(pragma("auto_vacuum"), 2, "incremental");
    assert_eq!(pragma("freelist_count"), 0);
}

#[test]
fn released_steps_never_change() {
    let taken = STEPS.iter().map(|step| fingerprint(&[step]));
    let expected = [
        "9256f5bac535c3a35e26d92d4970e9a7",
        "da62451c906b8d09835e9e4149650622",
        "d4d2756e5d6cf3742c8fc72dc0f2400b",
        "7fba89202d81f4b9d918e0820f8fa1f6",
        "88d85329bef2ccbde39fc9b6057b1461",
        "e510d93888078db45cc91e0fc1db6157",
        "f4a0a5ae165b4c133017dbd2579e7c9b",
        "6a9eba8f0b73969ab85b32cb4e609820",
        "26c457523e869b48e8ab5b94a2296563",
        "610781d5ddd05a11bb9fe279764685ba",
        "afbb428f1db5d2ea6148bd851515212c",
        "8afee10b85346ede2dbfef57fbb197e8",
        "aa08782f94da0d017ca9b663dea45329",
        "5f62530e430140c8f9c75e19359aad53",
    ];
    assert_eq!(taken.collect::<Vec<_>>(), expected);
}

#[test]
fn a_new_file_gets_all_steps_and_an_up_to_date_file_none() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, &Progress::default()).unwrap();
    migrate(&mut connection, &Progress::default()).unwrap();
    let version: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, VERSION);
}

#[test]
fn a_file_of_a_newer_server_is_refused() {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = migrate(&mut connection, &Progress::default()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }));
}
