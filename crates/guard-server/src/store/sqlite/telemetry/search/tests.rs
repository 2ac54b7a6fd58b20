//! How this engine searches: by which index, and for how long.

use std::sync::Arc;
use std::time::Duration;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, StatementStatus, params_from_iter};
use serde_json::json;
use tempfile::TempDir;

use super::super::super::Sqlite;
use super::super::records::Place;
use super::super::rollups::{DAY, HOUR, MINUTE, QUARTER};
use super::counts::Counting;
use super::grouping::Grouping;
use super::presence;
use super::rollup::{self, Source};
use super::scan::{Order, Scan};
use crate::ingest::intake::Intake;
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::filter::{Field, Filter};
use crate::query::metric::Stat;
use crate::query::series::SERIES_KEYS;
use crate::store::{
    EventQuery, MetricQuery, ProjectId, Search as _, Selection, StoreError, Telemetry as _,
};

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
async fn pages_are_read_in_the_order_of_the_table() {
    check(|connection| {
        let place = Place {
            timestamp: 5,
            chunk: 6,
            position: 7,
        };
        let orders = [
            Order::NewestFirst(None),
            Order::NewestFirst(Some(place)),
            Order::OldestFirst(Some(place)),
        ];
        let plans = orders.map(|order| {
            let selection = selection(Kind::Event, "metadata.x:1");
            let scan = Scan::new(connection, Kind::Event, &selection).unwrap();
            // Only events of the same time are sorted.
            (
                plan(connection, scan.sql(&[], order)),
                "USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY",
            )
        });
        plans.into()
    })
    .await;
}

#[tokio::test]
async fn rollups_are_found_by_their_key_and_time() {
    check(|connection| {
        let grouping = Grouping::new(Kind::Event, Field::Named("endpoint"));
        let events = |filter, source, span| {
            let selection = selection(Kind::Event, filter);
            let part = (source, span, selection.range);
            let sql = rollup::sql(connection, &selection, part, Some(&grouping));
            plan(connection, sql.unwrap())
        };
        let metrics = |filter, by: Option<&Grouping>| {
            let query = MetricQuery {
                selection: selection(Kind::Metric, filter),
                metric: "response_time",
                stat: Stat::P95,
                by: by.map(|by| by.field.clone()),
            };
            let part = (HOUR, query.selection.range);
            let sql = super::metrics::rollup_sql(&query, part, by, 1, connection).unwrap();
            (sql.0.clone(), plan(connection, sql))
        };
        let counts = "SEARCH event_counts USING PRIMARY KEY (project=? AND span=? AND field=? AND start>? AND start<?)";
        let sums = "SEARCH metric_rollups USING PRIMARY KEY (project=? AND span=? AND type=? AND start>? AND start<?)";
        let of_method = Grouping::new(Kind::Metric, Field::Named("method"));
        let (grouped, grouped_plan) = metrics("-endpoint:*", Some(&of_method));
        assert!(grouped.contains("span = 3600 "), "{grouped}");
        let (total, total_plan) = metrics("", None);
        assert!(total.contains("span = -3600 "), "{total}");
        vec![
            (events("", Source::Counts(8), HOUR), counts),
            (events("", Source::Counts(20), DAY), counts),
            (
                events("", Source::Counts(8), MINUTE),
                "SEARCH event_minutes USING PRIMARY KEY (project=? AND start>? AND start<?)",
            ),
            (
                plan(connection, (rollup::OF_VALUE.to_owned(), vec![Value::Null; 5])),
                "SEARCH event_counts USING PRIMARY KEY (project=? AND span=? AND field=? AND start=? AND value=?)",
            ),
            (
                events("method:GET", Source::Groups, HOUR),
                "SEARCH event_hours USING PRIMARY KEY (project=? AND start>? AND start<?)",
            ),
            (
                events("method:GET", Source::Groups, QUARTER),
                "SEARCH event_quarters USING PRIMARY KEY (project=? AND start>? AND start<?)",
            ),
            (grouped_plan, sums),
            (total_plan, sums),
        ]
    })
    .await;
}

/// A store with batches of events: 400 of them, every fourth with `metadata.x` 1.
async fn filled() -> (TempDir, Sqlite) {
    let (directory, store) = store();
    for number in 0..40 {
        let events = (0..10).map(|n| {
            json!({
                "timestamp": Timestamp::from_second(number * 10 + n).unwrap().to_string(),
                "event_type": format!("type-{}", n % 2),
                "metadata": { "x": (n + number) % 4 },
            })
        });
        let body = json!({ "events": events.collect::<Vec<_>>() }).to_string();
        let intake = Intake::read(PROJECT, body.as_bytes(), None, 1000).unwrap();
        store.append(intake.batch, 1000).await.unwrap();
    }
    (directory, store)
}

#[tokio::test]
async fn a_page_far_from_the_ends_reads_only_its_own_rows() {
    let (_directory, store) = filled().await;
    let steps = move |connection: &Connection| {
        let place = Place {
            timestamp: 200_000_000,
            chunk: i64::MAX,
            position: 0,
        };
        let selection = selection(Kind::Event, "");
        let scan = Scan::new(connection, Kind::Event, &selection)?;
        let steps = |order| {
            let (sql, params) = scan.sql(&[], order);
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(params))?;
            assert!(rows.next()?.is_some());
            drop(rows);
            Ok::<_, rusqlite::Error>(statement.get_status(StatementStatus::VmStep))
        };
        Ok([
            steps(Order::NewestFirst(Some(place)))?,
            steps(Order::OldestFirst(Some(Place { chunk: 0, ..place })))?,
        ])
    };
    for steps in store.search(steps).await.unwrap() {
        // Half of the events would take thousands.
        assert!(steps < 500, "{steps}");
    }
}

/// The number of events that match a filter, and whether it is approximate.
async fn counted(store: &Sqlite, filter: &'static str, bodies: u32) -> (u64, bool) {
    let count = move |connection: &Connection| {
        let selection = selection(Kind::Event, filter);
        let by = vec![Field::Named("action_taken")];
        let top = super::counts::top(connection, &selection, by, 10, bodies)?;
        let buckets = Buckets::new(selection.range, Some("2678400"), None).unwrap();
        let series = super::counts::series(connection, &selection, None, &buckets, bodies)?;
        assert_eq!(series.total(), top.total());
        assert_eq!(series.is_approximate, top.is_approximate);
        Ok((top.total(), top.is_approximate))
    };
    store.search(count).await.unwrap()
}

#[tokio::test]
async fn counts_that_take_too_many_bodies_are_approximate() {
    let (_directory, store) = filled().await;
    assert_eq!(counted(&store, "metadata.x:1", 400).await, (100, false));
    let (found, is_approximate) = counted(&store, "metadata.x:1", 100).await;
    assert!(is_approximate);
    // Some of the 40 chunks stand for all.
    assert!((30..300).contains(&found), "{found}");
}

#[tokio::test]
async fn counts_that_take_few_bodies_are_exact_however_many_events_there_are() {
    let (_directory, store) = filled().await;
    assert_eq!(counted(&store, "event_type:type-1", 1).await, (200, false));
    assert_eq!(counted(&store, "rule_type:x", 1).await, (0, false));
    let narrow = "event_type:type-1 metadata.x:1 timestamp:<1970-01-01T00:01:00Z";
    let (_, is_approximate) = counted(&store, narrow, 50).await;
    assert!(!is_approximate);
}

/// A store with 600 events in six days: most addresses are rare, some are no addresses, and some
/// only the body tells.
async fn attacked() -> (TempDir, Sqlite) {
    let (directory, store) = store();
    let event = |n: i64| {
        let address = match n % 11 {
            0 => json!(null),
            1 => json!("system"),
            2 => json!("2001:DB8::5"),
            3 | 4 => json!("2001:db8::1"),
            _ => json!(format!("192.0.2.{}", n * n * n % 97)),
        };
        json!({
            "timestamp": Timestamp::from_second(500_000 + n * 863).unwrap().to_string(),
            "event_type": format!("type-{}", n % 2),
            "ip_address": address,
            "reason": format!("reason {}", (n * n) % 37),
            "user_agent": if n % 5 == 0 { "x".repeat(600) } else { format!("agent {}", n % 23) },
        })
    };
    let body = json!({ "events": (0..600).map(event).collect::<Vec<_>>() }).to_string();
    let intake = Intake::read(PROJECT, body.as_bytes(), None, 1000).unwrap();
    store.append(intake.batch, 1000).await.unwrap();
    (directory, store)
}

#[tokio::test]
async fn a_series_by_a_field_with_many_values_is_that_of_the_rows() {
    let (_directory, store) = attacked().await;
    let compare = |connection: &Connection| {
        let mut selection = selection(Kind::Event, "");
        selection.range = TimeRange {
            from: Timestamp::from_second(520_123).unwrap(),
            to: Timestamp::from_second(1_000_321).unwrap(),
        };
        for by in ["ip_address", "reason", "user_agent"].map(Field::Named) {
            for interval in ["3600", "21600", "86400", "900"] {
                let buckets = Buckets::new(selection.range, Some(interval), None).unwrap();
                let by = Some(by.clone());
                let found =
                    super::counts::series(connection, &selection, by.clone(), &buckets, 1000)?;
                let groupings = by.map(|by| Grouping::new(Kind::Event, by));
                let groupings = groupings.as_slice();
                let rows = Counting::new(connection, &selection, groupings, None);
                assert_eq!(found, rows.series(&buckets, 1000)?, "{interval}");
                assert_eq!(found.keys.len(), SERIES_KEYS);
                assert!(found.total() > 500);
            }
        }
        Ok(())
    };
    store.search(compare).await.unwrap();
}

#[tokio::test]
async fn a_search_for_an_address_reads_only_the_hours_in_which_it_may_occur() {
    let (_directory, store) = attacked().await;
    let hours = |connection: &Connection| {
        let mut found = Vec::new();
        for filter in [
            "ip_address:192.0.2.8 event_type:type-0",
            "ip_address:203.0.113.9",
            "ip_address:192.0.2.8 OR event_type:type-0",
            "-ip_address:192.0.2.8",
        ] {
            let selection = selection(Kind::Event, filter);
            let ranges = presence::ranges(connection, Kind::Event, &selection)?;
            let seconds = ranges
                .iter()
                .map(|range| range.to.duration_since(range.from).as_secs());
            found.push((ranges.len(), seconds.sum::<i64>() / 3600));
            let by = Grouping::new(Kind::Event, Field::Named("event_type"));
            let everywhere = Counting::new(connection, &selection, std::slice::from_ref(&by), None);
            let (top, _) = everywhere.top(10, u32::MAX)?;
            let matches = |n: &i64| {
                let is_it = n % 11 > 4 && n * n * n % 97 == 8;
                match filter {
                    "ip_address:192.0.2.8 event_type:type-0" => is_it && n % 2 == 0,
                    "ip_address:203.0.113.9" => false,
                    "-ip_address:192.0.2.8" => !is_it,
                    _ => is_it || n % 2 == 0,
                }
            };
            let expected = (0..600).filter(matches).count();
            assert_eq!(usize::try_from(top.total()).unwrap(), expected, "{filter}");
        }
        Ok(found)
    };
    let found = store.search(hours).await.unwrap();
    let [some, none, either, not] = found[..] else {
        panic!("{found:?}");
    };
    // Those with an address that only the body tells are always read.
    assert!(some.1 < 100 && none.1 < some.1 && none.1 > 0, "{found:?}");
    let all = (1, 4_000_000_000 / 3600);
    assert_eq!((either, not), (all, all));
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
