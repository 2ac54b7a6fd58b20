//! The rollups agree with the records, the file shrinks, and older files are moved.

use std::collections::BTreeMap;

use guard_wire::Kind;
use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;
use sketches_ddsketch::DDSketch;

use super::super::Speeds;
use super::prepare::Prepared;
use super::*;
use crate::store::{Columns, Expiry, KindCounts, NewRecord};

const PROJECT: ProjectId = ProjectId(1);
const HOW: Appending = Appending {
    types: 3,
    is_counted: true,
};

fn migrated() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    super::super::schema::migrate(&mut connection, &crate::store::Progress::default()).unwrap();
    connection
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record(kind: Kind, key: u8, second: i64, body: &serde_json::Value) -> NewRecord {
    let text = |name: &str| body.get(name).and_then(|it| it.as_str()).map(str::to_owned);
    NewRecord {
        idempotency_key: Some(key.to_string()),
        timestamp: at(second),
        type_name: text("type").unwrap(),
        ip: text("ip_address"),
        endpoint: text("endpoint"),
        value: body.get("value").and_then(serde_json::Value::as_f64),
        columns: Columns::of(kind, &body.to_string()),
        body: body.to_string(),
    }
}

fn batch(events: Vec<NewRecord>, metrics: Vec<NewRecord>) -> Prepared {
    let batch = Batch {
        project: PROJECT,
        received_at: at(0),
        install_id: Some("host-1".to_owned()),
        events,
        metrics,
        invalid: KindCounts::default(),
    };
    prepare(batch).unwrap()
}

/// A step of a test: records that are sent, perhaps again, or the time up to which they expire.
#[derive(Debug, Clone)]
enum Step {
    Send(Vec<(u8, i64, u8)>),
    Expire(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys and times, so that records are sent again and share minutes and hours.
    let records = prop::collection::vec((0..40_u8, -2..3_i64, any::<u8>()), 0..12);
    let step = prop_oneof![
        4 => records.prop_map(Step::Send),
        1 => (-8000..12_000_i64).prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 1..12)
}

fn event(key: u8, hour: i64, shape: u8) -> NewRecord {
    let address = ["192.0.2.7", "2001:db8::1", "system", "010.0.0.1"][usize::from(shape % 4)];
    let body = serde_json::json!({
        "type": format!("type-{}", shape % 5),
        "ip_address": address, "endpoint": format!("/{}", shape % 3),
        "action_taken": if shape.is_multiple_of(2) { "blocked".into() } else { serde_json::Value::Null },
        "status_code": if shape.is_multiple_of(7) { 0 } else { 400 + i64::from(shape % 3) },
        "reason": format!("reason {}", shape % 6),
        "user_agent": if shape.is_multiple_of(4) { "x".repeat(600) } else { "curl".into() },
        "method": "GET", "country": if shape.is_multiple_of(3) { serde_json::json!(7) } else { "DE".into() },
    });
    record(Kind::Event, key, hour * 3600 + i64::from(shape), &body)
}

fn metric(key: u8, hour: i64, shape: u8) -> NewRecord {
    let value = (!shape.is_multiple_of(5)).then(|| f64::from(shape) * 0.37 - 5.0);
    let body = serde_json::json!({
        "type": format!("type-{}", shape % 2), "value": value, "endpoint": format!("/{}", shape % 3),
        "tags": { "method": "GET", "status": if shape.is_multiple_of(2) { "200" } else { "x" } },
    });
    record(Kind::Metric, key, hour * 3600 + i64::from(shape), &body)
}

/// The rows of a query as text.
fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap()));
        Ok(cells.collect::<Vec<_>>().join(" "))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// The start of a span, as an expression. SQLite's division rounds towards zero, so it is kept from
/// negative numbers.
fn start_of(span: i64) -> String {
    // 42,000 days.
    format!("((timestamp + 3628800000000000) / {span}000000 * {span} - 3628800000)")
}

/// The rollups of events, as a query over the events counts them.
fn counted(field: u8, span: i64, column: &str) -> String {
    let start = start_of(span);
    format!(
        "SELECT 1, {span} AS span, {field} AS field, {start} AS start,
            coalesce({column}, -1) AS value, count(*) FROM events GROUP BY start, value"
    )
}

/// The counts of all minutes, as rows of one value each.
fn by_minute(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare("SELECT start, counts FROM event_minutes ORDER BY start")
        .unwrap();
    let mut found = statement.query([]).unwrap();
    let mut all = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let start: i64 = row.get(0).unwrap();
        for field in 0..=u8::MAX {
            for (value, n) in rollups::of_field(row, 1, field).unwrap() {
                let cells = [1, 60, field.into(), start, value, n];
                all.push(cells.map(|cell| format!("Integer({cell})")).join(" "));
            }
        }
    }
    all
}

fn check_events(connection: &Connection) {
    let columns = ["type", "action", "method", "status", "country", "endpoint"];
    let fields = [1, 5, 6, 19, 7, 8];
    let mut queries = Vec::new();
    for (field, column) in fields.into_iter().zip(columns) {
        queries.push(counted(field, 3600, column));
    }
    for (field, column) in [(20, "address"), (9, "reason"), (10, "user_agent")] {
        queries.push(counted(field, 3600, column));
        queries.push(counted(field, 86_400, column));
    }
    let naive = format!(
        "SELECT * FROM (SELECT 1, span, field, start, value, n FROM
            (SELECT 1, 0 AS span, 0 AS field, 0 AS start, 0 AS value, 0 AS n WHERE 0 UNION ALL {}))
         ORDER BY span, field, start, value",
        queries.join(" UNION ALL ")
    );
    let stored = "SELECT * FROM event_counts ORDER BY span, field, start, value";
    assert_eq!(rows(connection, stored), rows(connection, &naive));

    let minutes = fields.into_iter().zip(columns);
    let minutes = minutes.map(|(field, column)| counted(field, 60, column));
    let naive = format!(
        "{} ORDER BY start, field, value",
        minutes.collect::<Vec<_>>().join(" UNION ALL ")
    );
    assert_eq!(by_minute(connection), rows(connection, &naive));

    let group = columns
        .map(|column| format!("coalesce({column}, -1)"))
        .join(", ");
    for (span, table) in [(3600, "event_hours"), (21_600, "event_quarters")] {
        let naive = format!(
            "SELECT 1, {} AS start, {group}, count(*)
             FROM events GROUP BY 2, 3, 4, 5, 6, 7, 8 ORDER BY 2, 3, 4, 5, 6, 7, 8",
            start_of(span)
        );
        let stored = format!("SELECT * FROM {table} ORDER BY 2, 3, 4, 5, 6, 7, 8");
        assert_eq!(rows(connection, &stored), rows(connection, &naive));
    }
}

/// The values of metrics by span, type, start, endpoint, method and status.
type Groups = BTreeMap<[i64; 6], Vec<Option<f64>>>;

fn check_metrics(connection: &Connection, expected: &Groups) {
    let mut statement = connection
        .prepare("SELECT span, type, start, endpoint, method, status, n, valued, total, least, greatest, sketch FROM metric_rollups")
        .unwrap();
    let mut found = statement.query([]).unwrap();
    let mut groups = 0;
    while let Some(row) = found.next().unwrap() {
        let key = std::array::from_fn(|at| row.get(at).unwrap());
        let all = &expected[&key];
        let values: Vec<_> = all.iter().copied().flatten().collect();
        assert_eq!(row.get::<_, u32>(6).unwrap() as usize, all.len());
        assert_eq!(row.get::<_, u32>(7).unwrap() as usize, values.len());
        assert!((row.get::<_, f64>(8).unwrap() - values.iter().sum::<f64>()).abs() < 1e-9);
        assert_eq!(
            row.get::<_, Option<f64>>(9).unwrap(),
            values.iter().copied().reduce(f64::min)
        );
        assert_eq!(
            row.get::<_, Option<f64>>(10).unwrap(),
            values.iter().copied().reduce(f64::max)
        );
        let sketch =
            DDSketch::from_java_bytes(row.get_ref(11).unwrap().as_blob().unwrap()).unwrap();
        check_quantiles(&sketch, values);
        groups += 1;
    }
    assert_eq!(groups, expected.len());
}

fn check_quantiles(sketch: &DDSketch, mut values: Vec<f64>) {
    assert_eq!(sketch.count(), values.len());
    values.sort_by(f64::total_cmp);
    for q in [0.5, 0.95, 0.99] {
        let Some(estimate) = sketch.quantile(q).unwrap() else {
            continue;
        };
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "a few values"
        )]
        let rank = (q * (values.len() - 1) as f64) as usize;
        let exact = values[rank];
        assert!(
            (estimate - exact).abs() <= exact.abs() * 0.02 + 1e-9,
            "{q}: {estimate}, {exact}"
        );
    }
}

/// What the metrics of a batch add to the rollups, computed from the stored rows.
fn naive_groups(connection: &Connection) -> Groups {
    let mut groups = Groups::new();
    let dimensions = "coalesce(endpoint, -1), coalesce(method, -1), coalesce(status, -1)";
    for (span, dimensions) in [
        (60_i64, dimensions),
        (3600, dimensions),
        (-60, "-1, -1, -1"),
        (-3600, "-1, -1, -1"),
    ] {
        let mut statement = connection
            .prepare(&format!(
                "SELECT {span}, type, {}, {dimensions}, value FROM metrics",
                start_of(span.abs())
            ))
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let key = std::array::from_fn(|at| row.get(at).unwrap());
            groups.entry(key).or_default().push(row.get(6).unwrap());
        }
    }
    groups
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rollups_agree_with_a_naive_count_of_what_is_stored(steps in steps()) {
        let connection = migrated();
        let mut names = Names::default();
        for step in steps {
            match step {
                Step::Send(records) => {
                    let of = |make: fn(u8, i64, u8) -> NewRecord| {
                        // A record's content follows from its key, as when it is sent again.
                        let make = |&(key, hour, shape): &_| make(key, hour + i64::from(key % 2), shape);
                        records.iter().map(make).collect()
                    };
                    append(&connection, &mut names, &batch(of(event), of(metric)), HOW).unwrap();
                    check_metrics(&connection, &naive_groups(&connection));
                }
                Step::Expire(second) => {
                    let expiry = Expiry {
                        events_before: at(second),
                        metrics_before: Timestamp::MIN,
                        rollups_before: Timestamp::MIN,
                    };
                    Removing::new(&connection, &mut names, &Speeds::default()).expired(PROJECT, expiry).unwrap();
                }
            }
            check_events(&connection);
            check_tallies(&connection);
            check_chunks(&connection);
        }
    }
}

fn check_tallies(connection: &Connection) {
    let counts = tallies::counts(connection, PROJECT).unwrap();
    let query = "SELECT coalesce(names.text, ''), count(*) FROM events LEFT JOIN names
        ON names.project = events.project AND names.field = 1 AND names.id = events.type GROUP BY 1";
    let mut statement = connection.prepare(query).unwrap();
    let naive = statement
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?.into())))
        .unwrap();
    let mut naive: BTreeMap<String, u64> = naive.map(Result::unwrap).collect();
    assert_eq!(counts.events.other, naive.remove("").unwrap_or(0));
    assert_eq!(counts.events.by_type, naive);
}

fn check_chunks(connection: &Connection) {
    let wrong = "SELECT id FROM chunks WHERE live IS NOT
            (SELECT count(*) FROM (SELECT chunk FROM events WHERE chunk = chunks.id
             UNION ALL SELECT chunk FROM metrics WHERE chunk = chunks.id))
        UNION ALL SELECT id FROM bodies WHERE id NOT IN (SELECT id FROM chunks)
        UNION ALL SELECT id FROM chunks WHERE id NOT IN (SELECT id FROM bodies)";
    assert_eq!(rows(connection, wrong), [""; 0]);
}

#[test]
fn metrics_and_their_sums_expire_separately() {
    let connection = migrated();
    let mut names = Names::default();
    let metrics = (0..3).map(|hour| metric(1, hour, 7)).collect();
    append(&connection, &mut names, &batch(Vec::new(), metrics), HOW).unwrap();
    let mut expire = |metrics: i64, rollups: i64| {
        let expiry = Expiry {
            events_before: Timestamp::MIN,
            metrics_before: at(metrics),
            rollups_before: at(rollups),
        };
        let mut sum = (0, 0);
        loop {
            let step =
                Removing::new(&connection, &mut names, &Speeds::default()).expired(PROJECT, expiry);
            let step = step.unwrap();
            sum = (sum.0 + step.metrics, sum.1 + step.rollups);
            if !step.has_more {
                return sum;
            }
        }
    };
    assert_eq!(expire(5000, 0), (2, 0));
    // By whole hours, so that minutes and hours have the same sums.
    assert_eq!(expire(5000, 3599), (0, 0));
    // Minute and hour, each for the group and for all of the type.
    assert_eq!(expire(5000, 7199), (0, 4));
    assert_eq!(
        rows(
            &connection,
            "SELECT DISTINCT start / 3600 FROM metric_rollups"
        )
        .len(),
        2
    );
}

#[test]
fn names_that_nothing_uses_are_removed_and_ids_never_used_again() {
    let connection = migrated();
    let mut names = Names::default();
    let of_day = |key: u8, day: i64, shape| {
        let mut event = event(key, 24 * day, shape);
        event.endpoint = Some(format!("/{key}"));
        batch(vec![event], Vec::new())
    };
    for day in 0..5_u8 {
        append(&connection, &mut names, &of_day(day, day.into(), 1), HOW).unwrap();
    }
    let expiry = Expiry {
        events_before: at(3 * 86_400),
        metrics_before: at(3 * 86_400),
        rollups_before: at(3 * 86_400),
    };
    let mut expire =
        || Removing::new(&connection, &mut names, &Speeds::default()).expired(PROJECT, expiry);
    while expire().unwrap().has_more {}
    let endpoints = "SELECT text FROM names WHERE field = 8 ORDER BY id";
    assert_eq!(rows(&connection, endpoints).len(), 3);
    append(&connection, &mut names, &of_day(9, 5, 1), HOW).unwrap();
    let newest = "SELECT max(id) FROM names WHERE field = 8";
    assert_eq!(rows(&connection, newest), ["Integer(6)"]);
    check_events(&connection);
}
