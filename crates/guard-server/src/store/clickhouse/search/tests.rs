//! How this engine searches: what only the body tells, copies on several nodes, time limits, and what
//! it reads for a page.

use std::sync::Arc;
use std::time::Duration;

use guard_wire::Kind;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::ClickHouse;
use super::super::tests::Database;
use super::condition::Compiler;
use super::params::Params;
use super::run::Searches;
use super::scan::Scan;
use crate::ingest::intake::Intake;
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::filter::{Field, Filter, Node, Pattern, Test};
use crate::query::metric::Stat;
use crate::query::reference::{self, Known};
use crate::store::conformance::search::Dice;
use crate::store::{
    EventQuery, MetricQuery, ProjectId, Search as _, Selection, StoreError, Telemetry as _,
};

const PROJECT: ProjectId = ProjectId(1);
/// When the first record happened.
const BEGIN: i64 = 1_795_000_000;

fn always() -> TimeRange {
    TimeRange {
        from: Timestamp::UNIX_EPOCH,
        to: Timestamp::MAX,
    }
}

fn selection(filter: Filter) -> Selection {
    Selection {
        project: PROJECT,
        range: always(),
        filter: Arc::new(filter),
    }
}

fn parsed(kind: Kind, text: &str) -> Selection {
    selection(Filter::parse(kind, text).unwrap())
}

fn all(selection: Selection) -> EventQuery {
    EventQuery {
        selection,
        after: None,
        is_oldest_first: false,
        limit: 1000,
        bytes: usize::MAX,
        compare: u32::MAX,
    }
}

async fn append(store: &ClickHouse, events: &[Value], metrics: &[Value]) {
    let body = json!({ "events": events, "metrics": metrics }).to_string();
    let intake = Intake::read(PROJECT, body.as_bytes(), None, 1000).unwrap();
    assert!(intake.left_out.is_empty(), "{:?}", intake.left_out);
    store.append(intake.batch, 1000).await.unwrap();
}

/// Text that is hard to tell from a value of another type, or to write as SQL or JSON.
const TEXTS: [&str; 24] = [
    "",
    "plain",
    "a%b",
    "a_b",
    "axb",
    "back\\slash",
    "quo\"te",
    "quo'te",
    "tab\tnew\nline",
    "Größe",
    "\u{1F600}",
    "null",
    "true",
    "5",
    "5.0",
    "1e1",
    "-0",
    "+5",
    ".5",
    "inf",
    "[1]",
    "{}",
    "{p1:String}",
    "10.0.0.1",
];

/// Values of every type.
fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.roll(if depth == 0 { 4 } else { 6 }) {
        0 | 1 => json!(dice.of(&TEXTS)),
        2 => dice.of(&[
            json!(5),
            json!(5.0),
            json!(-0.0),
            json!(0.1),
            json!(0.5),
            json!(70),
            json!(1e300),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(10),
        ]),
        3 => dice.of(&[json!(true), json!(false), Value::Null, json!([]), json!({})]),
        4 => (0..dice.roll(3)).map(|_| value(dice, depth - 1)).collect(),
        _ => (0..dice.roll(3))
            .map(|_| (dice.of(&KEYS).to_owned(), value(dice, depth - 1)))
            .collect(),
    }
}

/// Keys whose dots may be a part of the name.
const KEYS: [&str; 9] = [
    "a",
    "b",
    "a.b",
    "a.b.c",
    "b.c",
    "it's",
    "guard",
    "guard.rule.id",
    "guard.threat_score",
];
/// Fields whose values may have any type.
const FIELDS: [&str; 7] = [
    "country",
    "user_agent",
    "reason",
    "method",
    "status_code",
    "response_time",
    "rule_type",
];
const ADDRESSES: [&str; 9] = [
    "10.0.0.1",
    "010.0.0.1",
    "::ffff:10.0.0.1",
    "::1.2.3.4",
    "2001:DB8::1",
    "2001:db8:0::1",
    "::",
    "system",
    "10.0.0.1 ",
];

fn event(dice: &mut Dice, number: i64) -> Value {
    let at = Timestamp::from_microsecond((BEGIN + number) * 1_000_000 + number % 3 * 250_000);
    let metadata = (0..dice.roll(4)).map(|_| (dice.of(&KEYS).to_owned(), value(dice, 2)));
    let metadata: Value = metadata.collect();
    let mut event = json!({
        "idempotency_key": format!("{number}"),
        "timestamp": at.unwrap().to_string(),
        "event_type": "odd",
        "ip_address": dice.of(&ADDRESSES),
        "metadata": metadata,
    });
    for field in FIELDS {
        // A method is text, or longer than a name may be.
        if dice.roll(3) > 0 {
            event[field] = value(dice, 1);
        }
    }
    event
}

fn test(dice: &mut Dice) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match dice.roll(6) {
        0 => "*".to_owned(),
        1 => dice
            .of(&[
                "5*", "*b", "a\\%*", "*\\_*", "*.0", "t*e", "*\\\\*", "[*", "*:*",
            ])
            .to_owned(),
        2 => dice
            .of(&[">0", ">=5", "<0.5", "<=-0", "0..10", "5..5", "0.1..0.5"])
            .to_owned(),
        _ => quoted(dice.of(&TEXTS)),
    }
}

/// Filters about the fields and keys of these events, as far as the language allows.
fn filter(dice: &mut Dice) -> Filter {
    loop {
        let terms = (0..=dice.roll(2)).map(|_| {
            let sign = dice.of(&["", "", "-"]);
            let term = match dice.roll(5) {
                0 => format!("{}:{}", dice.of(&FIELDS), test(dice)),
                1 => {
                    let networks = [
                        "10.0.0.0/8",
                        "::/0",
                        "2001:db8::/32",
                        "::1.2.3.4/128",
                        "0.0.0.0/0",
                        "1*",
                        "*",
                        "10.0.0.1",
                        "2001:db8::1",
                        "\"::ffff:10.0.0.1\"",
                        "2001:DB8*",
                        "system",
                    ];
                    format!("ip_address:{}", dice.of(&networks))
                }
                2 => dice
                    .of(&["größe", "QUO*TE", "a\\%b", "%", "_", "\\\\S", "\"5\""])
                    .to_owned(),
                _ => format!(
                    "metadata.{}:{}",
                    dice.of(&KEYS).replace('\'', "\\'"),
                    test(dice)
                ),
            };
            format!("{sign}{term}")
        });
        let terms: Vec<_> = terms.collect();
        if let Ok(filter) = Filter::parse(Kind::Event, &terms.join(dice.of(&[" ", " OR "]))) {
            return filter;
        }
    }
}

#[tokio::test]
async fn values_of_every_type_are_found_and_counted_as_loops_do() {
    let store = Database::new().node(1).await;
    let mut dice = Dice::new(11);
    let events: Vec<_> = (0..300).map(|number| event(&mut dice, number)).collect();
    append(&store, &events, &[]).await;
    let known = events
        .iter()
        .map(|event| event.as_object().unwrap().clone());
    let known: Vec<_> = known.map(|body| Known::new(body, None)).collect();
    let mut found_some = 0;
    for _ in 0..40 {
        let filter = filter(&mut dice);
        let asked = filter.to_string();
        let expected = reference::selected(&known, always(), &filter);
        let selection = selection(filter);
        let found = store.events(all(selection.clone())).await.unwrap().events;
        let found = found.iter().map(|event| {
            let body: Value = serde_json::from_str(event.body.get()).unwrap();
            body["idempotency_key"].clone()
        });
        let [found, keys] = [
            found.collect::<Vec<_>>(),
            expected
                .iter()
                .map(|known| known.body["idempotency_key"].clone())
                .collect(),
        ];
        assert_eq!(found, keys, "{asked}");
        found_some += usize::from(!found.is_empty());

        let by = match dice.roll(2) {
            0 => Field::Named(dice.of(&FIELDS)),
            _ => Field::Key {
                object: "metadata",
                key: dice.of(&KEYS).to_owned(),
            },
        };
        let asked = format!("{asked} by {by}");
        let top = store.top(selection.clone(), vec![by.clone()], 5).await;
        let naive = reference::top(&expected, std::slice::from_ref(&by), 5);
        assert_eq!(top.unwrap(), naive, "{asked}");
        let last = Timestamp::from_second(BEGIN + 400).unwrap();
        let range = TimeRange {
            from: Timestamp::from_second(BEGIN).unwrap(),
            to: last,
        };
        let buckets = Buckets::new(range, Some("60"), None).unwrap();
        let selection = Selection { range, ..selection };
        let series = store.series(selection, Some(by.clone()), buckets.clone());
        let naive = reference::series(&expected, Some(&by), &buckets);
        assert_eq!(series.await.unwrap(), naive, "{asked}");
    }
    assert!(found_some > 12, "{found_some} filters matched something");
}

#[tokio::test]
async fn a_record_that_two_nodes_took_counts_once_in_every_answer() {
    let database = Database::new();
    let (store, other) = (database.node(1).await, database.node(2).await);
    let mut dice = Dice::new(13);
    let events: Vec<_> = (0..50).map(|number| event(&mut dice, number)).collect();
    let metrics = (0..50).map(|number| {
        json!({
            "idempotency_key": format!("m{number}"),
            "timestamp": Timestamp::from_second(BEGIN + number).unwrap().to_string(),
            "metric_type": "response_time",
            "value": 0.1 * f64::from(i32::try_from(number).unwrap()),
            "endpoint": dice.of(&["/a", "/b"]),
        })
    });
    let metrics: Vec<_> = metrics.collect();
    for node in [&store, &other, &store] {
        append(node, &events, &metrics).await;
    }
    let buckets = Buckets::new(
        TimeRange {
            from: Timestamp::from_second(BEGIN).unwrap(),
            to: Timestamp::from_second(BEGIN + 60).unwrap(),
        },
        Some("10"),
        None,
    )
    .unwrap();
    for node in [&store, &other] {
        let everything = || parsed(Kind::Event, "");
        for limit in [1000, 7] {
            for is_oldest_first in [false, true] {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let query = EventQuery {
                        limit,
                        after,
                        is_oldest_first,
                        ..all(everything())
                    };
                    let slice = node.events(query).await.unwrap();
                    found.extend(slice.events.into_iter().map(|event| event.id.to_string()));
                    after = slice.next;
                    if after.is_none() {
                        break;
                    }
                }
                let n = found.len();
                found.sort();
                found.dedup();
                assert_eq!((n, found.len()), (50, 50), "pages of {limit}");
            }
        }
        let by = Field::Named("ip_address");
        let top = node.top(everything(), vec![by.clone()], 3).await.unwrap();
        assert_eq!(top.total(), 50);
        let series = node.series(everything(), Some(by), buckets.clone());
        assert_eq!(series.await.unwrap().total(), 50);
        let query = MetricQuery {
            selection: parsed(Kind::Metric, ""),
            metric: "response_time",
            stat: Stat::Sum,
            by: Some(Field::Named("endpoint")),
        };
        let slice = node.metrics(all(query.selection.clone())).await.unwrap();
        assert_eq!(slice.events.len(), 50);
        let top = node.metric_top(query.clone(), 10).await.unwrap();
        assert_eq!(top.iter().map(|item| item.count).sum::<u64>(), 50);
        let sum: f64 = top.iter().filter_map(|item| item.value).sum();
        assert!((sum - 122.5).abs() < 1e-9, "{sum}");
        let series = node.metric_series(query, buckets.clone()).await.unwrap();
        assert_eq!(series.iter().map(|key| key.count).sum::<u64>(), 50);
    }
}

#[tokio::test]
async fn a_page_of_few_matches_is_filled_within_one_call() {
    let store = Database::new().node(1).await;
    let events = (0..500).map(|number| {
        json!({
            "timestamp": Timestamp::from_second(BEGIN + number).unwrap().to_string(),
            "event_type": "x",
            // Only the body tells whether an element of a list matches.
            "metadata": { "list": [["no"], if number % 100 == 0 { "yes" } else { "yes?" }] },
        })
    });
    append(&store, &events.collect::<Vec<_>>(), &[]).await;
    let query = |compare| EventQuery {
        limit: 3,
        compare,
        ..all(parsed(Kind::Event, "metadata.list:yes"))
    };
    let slice = store.events(query(u32::MAX)).await.unwrap();
    assert_eq!(slice.events.len(), 3);
    // A page ends when it has compared enough, and the next one goes on there.
    let (mut found, mut pages, mut after) = (0, 0, None);
    loop {
        let slice = store
            .events(EventQuery {
                after,
                ..query(150)
            })
            .await
            .unwrap();
        found += slice.events.len();
        pages += 1;
        after = slice.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (5, 4));
}

#[test]
fn no_text_of_a_filter_becomes_sql() {
    let marker = "x' OR '1'='1";
    let field = |name: &'static str, test: Test| Node::Field(Field::Named(name), test);
    let stars = || Pattern::new(vec![marker.to_owned(), marker.to_owned()]);
    let key = Field::Key {
        object: "metadata",
        key: format!("a.{marker}"),
    };
    let mut nodes = vec![Node::Word(stars())];
    for name in Field::names(Kind::Event) {
        nodes.push(field(name, Test::Equals(marker.to_owned())));
        nodes.push(field(name, Test::Matches(stars())));
    }
    nodes.push(Node::Field(key.clone(), Test::Equals(marker.to_owned())));
    nodes.push(Node::Not(Box::new(Node::Field(
        key.clone(),
        Test::Matches(stars()),
    ))));
    nodes.push(Node::Field(key.clone(), Test::Present));
    let mut params = Params::default();
    let mut compiler = Compiler {
        kind: Kind::Event,
        params: &mut params,
    };
    let filter = Filter {
        root: Node::Any(nodes),
    };
    let condition = compiler.filter(&filter);
    let selection = selection(filter);
    let scan = Scan::new(Kind::Event, &selection, [key]);
    for sql in [
        condition.maybe,
        condition.surely,
        scan.once(),
        scan.by[0].key.clone(),
    ] {
        assert!(!sql.contains("1'='1"), "{sql}");
    }
}

#[tokio::test]
async fn a_question_ends_when_its_time_is_over_and_the_next_one_works() {
    let store = Database::new().node(1).await;
    let mut store = Arc::into_inner(store).unwrap();
    store.searches = Searches::within(Duration::from_millis(300));
    let run = store.run(PROJECT);
    let none = Params::default();
    let endless = run.all::<u8>("SELECT toUInt8(sleep(2))", &none);
    let error = store.search(endless).await.unwrap_err();
    assert_eq!(error, StoreError::TimedOut);
    store.searches = Searches::default();
    assert!(store.events(all(parsed(Kind::Event, ""))).await.is_ok());
}

#[tokio::test]
async fn rows_are_found_by_project_and_time_and_pages_in_the_order_of_the_table() {
    let store = Database::new().node(1).await;
    append(&store, &[event(&mut Dice::new(1), 1)], &[]).await;
    let selection = Selection {
        range: TimeRange {
            from: Timestamp::from_second(BEGIN).unwrap(),
            to: Timestamp::from_second(BEGIN + 60).unwrap(),
        },
        ..parsed(Kind::Event, "method:GET metadata.a:b")
    };
    let scan = Scan::new(Kind::Event, &selection, None);
    let run = store.run(PROJECT);
    for (sql, expected) in [
        (
            format!("SELECT count() FROM {}", scan.once()),
            ["project", "timestamp"],
        ),
        (
            format!(
                "SELECT timestamp FROM {} ORDER BY timestamp DESC LIMIT 1",
                scan.each()
            ),
            ["timestamp", "Read type: InReverseOrder"],
        ),
    ] {
        let explain = format!("EXPLAIN indexes = 1 {sql}");
        let plan = run
            .all::<String>(&explain, &scan.params)
            .await
            .unwrap()
            .join("\n");
        assert!(plan.contains("PrimaryKey"), "{plan}");
        for expected in expected {
            assert!(plan.contains(expected), "{plan}");
        }
    }
}
