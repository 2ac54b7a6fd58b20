//! How this engine searches: by which index, and for how long.

use std::sync::Arc;
use std::time::Duration;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

use super::super::super::Sqlite;
use super::super::event_rollups::HOUR;
use super::grouping::Grouping;
use super::rollup::{self, Source};
use super::scan::{Order, Scan};
use crate::query::TimeRange;
use crate::query::filter::{Field, Filter};
use crate::query::metric::Stat;
use crate::store::{EventQuery, MetricQuery, ProjectId, Search as _, Selection, StoreError};

const PROJECT: ProjectId = ProjectId(1);

fn store() -> (TempDir, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    (directory, store)
}

fn selection(kind: Kind, filter: &str) -> Selection {
    Selection {
        project: PROJECT,
        range: TimeRange {
            from: Timestamp::UNIX_EPOCH,
            to: Timestamp::from_second(4_000_000_000).unwrap(),
        },
        filter: Arc::new(Filter::parse(kind, filter).unwrap()),
    }
}

/// The steps of a statement's plan.
fn plan(connection: &Connection, (sql, params): (String, Vec<Value>)) -> String {
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let steps = statement.query_map(params_from_iter(params), |row| row.get::<_, String>(3));
    let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
    steps.join("; ")
}

async fn check(plans: impl FnOnce(&Connection) -> Vec<(String, &'static str)> + Send + 'static) {
    let (_directory, store) = store();
    let plans = store
        .search(|connection| Ok(plans(connection)))
        .await
        .unwrap();
    for (plan, index) in plans {
        assert!(plan.contains(index) && !plan.contains("SCAN"), "{plan}");
    }
}

#[tokio::test]
async fn rows_are_found_by_project_and_time() {
    check(|connection| {
        let scans = [
            (Order::Any, ""),
            (
                Order::NewestFirst(None),
                "event_type:a ip_address:10.0.0.0/8",
            ),
            (Order::OldestFirst(None), "sqlmap OR metadata.x:1"),
        ];
        let plans = scans.map(|(order, filter)| {
            let selection = selection(Kind::Event, filter);
            let scan = Scan::new(connection, Kind::Event, &selection).unwrap();
            plan(connection, scan.sql(&["type"], order))
        });
        let index = "SEARCH events USING PRIMARY KEY (project=? AND timestamp>? AND timestamp<?)";
        plans.map(|plan| (plan, index)).into()
    })
    .await;
}

#[tokio::test]
async fn rollups_are_found_by_their_key_and_time() {
    check(|connection| {
        let grouping = Grouping::new(Kind::Event, Field::Named("endpoint"));
        let events = |filter, source| {
            let selection = selection(Kind::Event, filter);
            let part = (source, HOUR, selection.range);
            let sql = rollup::sql(connection, &selection, part, Some(&grouping));
            plan(connection, sql.unwrap())
        };
        let query = MetricQuery {
            selection: selection(Kind::Metric, "-endpoint:*"),
            metric: "response_time",
            stat: Stat::P95,
            by: None,
        };
        let metrics = super::metrics::rollup_sql(&query, (HOUR, query.selection.range), None, 1, connection);
        vec![
            (
                events("", Source::Counts(8)),
                "SEARCH event_counts USING PRIMARY KEY (project=? AND span=? AND field=? AND start>? AND start<?)",
            ),
            (
                events("method:GET", Source::Hours),
                "SEARCH event_hours USING PRIMARY KEY (project=? AND start>? AND start<?)",
            ),
            (
                plan(connection, metrics.unwrap()),
                "SEARCH metric_rollups USING PRIMARY KEY (project=? AND span=? AND type=? AND start>? AND start<?)",
            ),
        ]
    })
    .await;
}

fn all() -> EventQuery {
    EventQuery {
        selection: selection(Kind::Event, ""),
        after: None,
        is_oldest_first: false,
        limit: 10,
        bytes: 1000,
        compare: 10,
    }
}

/// A statement that runs until it is stopped.
fn run_on(connection: &Connection) -> rusqlite::Result<i64> {
    let endless =
        "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
    connection.query_row(endless, [], |row| row.get(0))
}

#[tokio::test]
async fn a_query_ends_when_its_time_is_over_and_the_next_one_works() {
    let (_directory, store) = store();
    let store = store.with_query_time(Duration::from_millis(50));
    let error = store.search(run_on).await.unwrap_err();
    assert_eq!(error, StoreError::TimedOut);
    assert!(store.events(all()).await.is_ok());
}

#[tokio::test]
async fn a_query_ends_when_nobody_waits_for_it() {
    let (_directory, store) = store();
    for _ in 0..8 {
        // More than run at a time: the later ones start only because the earlier ones ended.
        let query = store.search(run_on);
        let waited = tokio::time::timeout(Duration::from_millis(50), query).await;
        assert!(waited.is_err(), "nothing ends this query but its caller");
    }
    let found = tokio::time::timeout(Duration::from_secs(20), store.events(all())).await;
    assert!(found.unwrap().is_ok());
}
