//! Queries of people: engines answer as plain loops over the same records do.

use std::sync::Arc;

use guard_wire::Kind;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{newest, project};
use crate::ingest::intake::Intake;
use crate::query::buckets::Buckets;
use crate::query::filter::Filter;
use crate::query::metric::Stat;
use crate::query::reference::{self, Known};
use crate::query::{TimeRange, group};
use crate::store::{
    Cursor, EventQuery, Expiry, MetricQuery, ProjectId, Selection, StoreError, Stores,
};

/// The types that have a name; events of others have their type only in the body.
const TYPES: u32 = 5;
/// How many records a case stores.
const RECORDS: usize = 400;
/// How many queries a case asks.
const QUERIES: usize = 30;
/// When the first records happened.
const BEGIN: i64 = 1_795_000_000;
/// The largest relative error of a quantile.
const ERROR: f64 = 0.02;

/// Random choices that are the same in every run.
pub(in crate::store) struct Dice {
    state: u64,
    /// In how many hours records happen.
    hours: usize,
}

impl Dice {
    /// Records of some hours, or of days: longer spans of time have rollups of their own.
    pub(in crate::store) fn new(seed: u64) -> Self {
        let hours = if seed.is_multiple_of(2) { 75 } else { 3 };
        Self { state: seed, hours }
    }

    pub(in crate::store) fn roll(&mut self, sides: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % sides
    }

    pub(in crate::store) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len())].clone()
    }

    fn time(&mut self) -> Timestamp {
        let second = i64::try_from(self.roll(self.hours * 3600)).unwrap();
        let micros = i64::try_from(self.roll(1_000_000)).unwrap();
        Timestamp::from_microsecond((BEGIN + second) * 1_000_000 + micros).unwrap()
    }
}

fn event(dice: &mut Dice, number: usize) -> Value {
    let at = format!("{:.6}", dice.time());
    let mut event = json!({
        "idempotency_key": format!("event-{number}"),
        "timestamp": at,
        "event_type": dice.of(&["a", "b", "c", "d", "é", "f", "g"]),
    });
    let all: [(&str, Vec<Value>); 13] = [
        (
            "ip_address",
            vec![
                json!("10.0.0.1"),
                json!("10.0.0.2"),
                json!("10.9.9.9"),
                json!("2001:db8::1"),
                json!("2001:DB8::1"),
                json!("system"),
                json!(""),
            ],
        ),
        (
            "country",
            vec![json!("DE"), json!("FR"), Value::Null, json!(["DE", "FR"])],
        ),
        (
            "user_agent",
            vec![
                json!("SQLMap/1.7"),
                json!("Mozilla/5.0 \u{1F600}"),
                json!("x".repeat(700)),
            ],
        ),
        (
            "action_taken",
            vec![json!("blocked"), json!("logged_only"), json!("banned")],
        ),
        (
            "reason",
            vec![
                json!("rate limit"),
                json!("SQL injection: union"),
                json!("Größe"),
                json!(7),
            ],
        ),
        (
            "endpoint",
            vec![
                json!("/login"),
                json!("/api/items"),
                json!("/api/users"),
                json!("/*"),
            ],
        ),
        ("method", vec![json!("GET"), json!("POST"), json!(true)]),
        (
            "status_code",
            vec![
                json!(200),
                json!(403),
                json!("403"),
                json!(403.0),
                json!(-1),
                json!(null),
            ],
        ),
        (
            "response_time",
            vec![json!(0.25), json!(1), json!(-3.5), json!("0.5")],
        ),
        ("rule_type", vec![json!("ip"), json!("ua")]),
        (
            "pattern_matched",
            vec![json!("union.*select"), json!("sqlmap")],
        ),
        ("handler_name", vec![json!("h1"), json!("h2")]),
        (
            "metadata",
            vec![
                json!({"guard.threat_score": 70, "guard.rule.id": "r1", "list": [1, "a"]}),
                json!({"guard.threat_score": "70", "guard.rule.id": 5}),
                json!({"guard": {"rule": {"id": "nested"}, "threat_score": 10}}),
                json!({"guard.behavior.correlation_key": "k1", "traceparent": "00-1", "guard.rule.version": 0}),
                json!({"guard.service.name": "shop", "guard.deployment.environment": "prod", "other": "x"}),
            ],
        ),
    ];
    for (name, values) in all {
        if dice.roll(4) > 0 {
            event[name] = dice.of(&values);
        }
    }
    event
}

fn metric(dice: &mut Dice, number: usize) -> Value {
    let at = format!("{:.6}", dice.time());
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let value = 0.001 * 1.02_f64.powf(dice.roll(700) as f64);
    let mut metric = json!({
        "idempotency_key": format!("metric-{number}"),
        "timestamp": at,
        "metric_type": dice.of(&["response_time", "response_time", "request_count"]),
        "value": dice.of(&[json!(value), json!(value), json!(value), Value::Null]),
    });
    let tags = json!({
        "endpoint": dice.of(&["/login", "/api", "/a b"]),
        "method": dice.of(&["GET", "POST"]),
        "status": dice.of(&["200", "500"]),
    });
    let guard = json!({
        "guard.rule.id": dice.of(&[json!("r1"), json!("r2"), json!(7)]),
        "guard.threat_score": dice.of(&[json!(10), json!(70), json!("70")]),
        "guard": { "service": { "name": dice.of(&["shop", "blog"]) } },
        "guard.behavior.correlation_key": dice.of(&["k1", "k2"]),
        "region": dice.of(&["eu", "us"]),
    });
    match dice.roll(4) {
        0 => metric["endpoint"] = json!("/direct"),
        1 => metric["tags"] = tags,
        2 => metric["tags"] = guard,
        _ => {}
    }
    metric
}

/// Terms of filters on events.
const TERMS: [&str; 40] = [
    "event_type:a",
    "event_type:g",
    "event_type:*",
    "event_type:é",
    "ip_address:10.0.0.1",
    "ip_address:2001:db8::1",
    "ip_address:10.0.0.0/8",
    "ip_address:2001:db8::/32",
    "ip_address:10.*",
    "ip_address:system",
    "ip_address:\"\"",
    "country:DE",
    "country:*",
    "user_agent:Mozilla*",
    "sqlmap",
    "GRÖSSE",
    "union*",
    "action_taken:blocked",
    "action_taken:b*",
    "reason:\"rate limit\"",
    "reason:7",
    "endpoint:/api/*",
    "endpoint:/\\*",
    "method:GET",
    "method:true",
    "status_code:403",
    "status_code:>=400",
    "status_code:4*",
    "status_code:100..300",
    "response_time:>0.3",
    "response_time:-5..0.25",
    "rule_type:ip",
    "install_id:install-1",
    "metadata.guard.rule.id:r1",
    "metadata.guard.rule.id:nested",
    "metadata.guard.threat_score:>=70",
    "metadata.list:a",
    "metadata.guard.behavior.correlation_key:k1",
    "metadata.other:*",
    "timestamp:>2026-11-18T11:00:00.0000005Z",
];

/// Filters on fields that are counted while records are stored.
const COUNTED: [&str; 6] = [
    "",
    "",
    "event_type:a",
    "action_taken:blocked -country:DE",
    "endpoint:/api/* OR status_code:403",
    "-method:*",
];

pub(super) fn filter(dice: &mut Dice) -> String {
    if dice.roll(3) == 0 {
        return dice.of(&COUNTED).to_owned();
    }
    let terms = (0..=dice.roll(3)).map(|_| {
        let sign = dice.of(&["", "", "-"]);
        format!("{sign}{}", dice.of(&TERMS))
    });
    let terms: Vec<_> = terms.collect();
    terms.join(dice.of(&[" ", " OR "]))
}

/// Fields to group by.
const FIELDS: [&str; 16] = [
    "event_type",
    "action_taken",
    "ip_address",
    "endpoint",
    "status_code",
    "country",
    "method",
    "reason",
    "user_agent",
    "response_time",
    "install_id",
    "timestamp",
    "metadata.guard.rule.id",
    "metadata.guard.threat_score",
    "metadata.guard.behavior.correlation_key",
    "metadata.list",
];

pub(super) fn range(dice: &mut Dice) -> TimeRange {
    let minute = |n: usize| {
        let second = BEGIN / 3600 * 3600 + i64::try_from(n).unwrap() * 60;
        Timestamp::from_second(second).unwrap()
    };
    let all = dice.hours * 60;
    let (a, b) = match dice.roll(3) {
        0 => (minute(0), minute(all + 120)),
        1 => (
            minute(dice.roll(all / 3)),
            minute(all / 3 + 10 + dice.roll(all)),
        ),
        _ => (dice.time(), dice.time()),
    };
    TimeRange {
        from: a.min(b),
        to: a
            .max(b)
            .saturating_add(jiff::SignedDuration::from_micros(1))
            .unwrap(),
    }
}

/// Stores generated records in batches, with some of them sent again. Returns what is stored.
pub(super) async fn fill(stores: &Stores, project: ProjectId, dice: &mut Dice) -> [Vec<Known>; 2] {
    let make = [event, metric];
    let mut known = [Vec::new(), Vec::new()];
    let mut number = 0;
    while number < RECORDS {
        let install = dice.of(&[Some("install-1"), Some("install-2"), None]);
        let mut sent = [Vec::new(), Vec::new()];
        for _ in 0..=dice.roll(60) {
            let kind = dice.roll(2);
            let record = make[kind](dice, number);
            number += 1;
            let body = record.as_object().unwrap().clone();
            known[kind].push(Known::new(body, install.map(str::to_owned)));
            sent[kind].push(record);
        }
        for _ in 0..=dice.roll(2) {
            let body =
                json!({ "batch_id": number.to_string(), "events": sent[0], "metrics": sent[1] });
            let intake = Intake::read(project, body.to_string().as_bytes(), None, 1000).unwrap();
            assert!(intake.left_out.is_empty(), "{:?}", intake.left_out);
            let mut batch = intake.batch;
            batch.install_id = install.map(str::to_owned);
            stores.telemetry.append(batch, TYPES).await.unwrap();
        }
    }
    known
}

fn selection(project: ProjectId, range: TimeRange, kind: Kind, filter: &str) -> Selection {
    Selection {
        project,
        range,
        filter: Arc::new(Filter::parse(kind, filter).unwrap()),
    }
}

/// All events of a selection, over as many slices as needed.
async fn listed(
    stores: &Stores,
    selection: &Selection,
    is_oldest_first: bool,
    limit: u16,
) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = EventQuery {
            selection: selection.clone(),
            after,
            is_oldest_first,
            limit,
            bytes: 100_000,
            compare: 37,
        };
        let slice = stores.search.events(query).await.unwrap();
        assert!(slice.events.len() <= usize::from(limit));
        if let Some(event) = slice.events.first() {
            let same = stores.search.event(selection.project, event.id.clone());
            assert_eq!(same.await.unwrap().unwrap().body.get(), event.body.get());
        }
        for event in slice.events {
            found.push(serde_json::from_str(event.body.get()).unwrap());
        }
        // The cursor goes through text, as when a client sends it.
        match slice
            .next
            .map(|cursor| cursor.to_string().parse::<Cursor>().unwrap())
        {
            None => return found,
            next => after = next,
        }
    }
}

/// In an order that does not depend on which of several records of the same time comes first.
fn sorted(mut records: Vec<Value>) -> Vec<Value> {
    records.sort_by_key(|record| (record["timestamp"].to_string(), record.to_string()));
    records
}

fn times(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["timestamp"].as_str().unwrap())
        .collect()
}

pub(in crate::store) async fn lists_series_and_tops_agree_with_loops_over_records(stores: &Stores) {
    for seed in 1..=4 {
        let project = project(stores, &format!("seed-{seed}")).await;
        let mut dice = Dice::new(seed);
        let [events, _] = fill(stores, project, &mut dice).await;
        for _ in 0..QUERIES {
            let (range, text) = (range(&mut dice), filter(&mut dice));
            let selection = selection(project, range, Kind::Event, &text);
            let known = reference::selected(&events, range, &selection.filter);
            let asked = format!("seed {seed}: {text:?} from {} to {}", range.from, range.to);

            let is_oldest_first = dice.roll(2) == 0;
            let limit = dice
                .of(&[3, 50, 1000])
                .max(u16::try_from(known.len() / 5).unwrap());
            let mut found = listed(stores, &selection, is_oldest_first, limit).await;
            if is_oldest_first {
                found.reverse();
            }
            let expected: Vec<_> = known
                .iter()
                .map(|it| Value::Object(it.body.clone()))
                .collect();
            assert_eq!(times(&found), times(&expected), "{asked}");
            assert_eq!(sorted(found), sorted(expected), "{asked}");

            let by = dice.of(&FIELDS);
            let field = group::field(Kind::Event, by).unwrap();
            let interval = dice.of(&["auto", "60", "900", "3600", "21600", "7", "86400"]);
            let buckets = Buckets::new(range, Some(interval), Some("Asia/Kolkata"));
            let Ok(buckets) = buckets else { continue };
            for by in [Some(field.clone()), None] {
                let series = stores
                    .search
                    .series(selection.clone(), by.clone(), buckets.clone());
                let expected = reference::series(&known, by.as_ref(), &buckets);
                assert_eq!(
                    series.await.unwrap(),
                    expected,
                    "{asked} by {by:?} each {interval}"
                );
            }
            let second = group::field(Kind::Event, dice.of(&FIELDS)).unwrap();
            for by in [vec![field.clone()], vec![field, second]] {
                let limit = dice.of(&[1, 5, 200]);
                let top = stores
                    .search
                    .top(selection.clone(), by.clone(), limit)
                    .await
                    .unwrap();
                assert_eq!(top.total(), known.len() as u64, "{asked} by {by:?}");
                assert_eq!(top, reference::top(&known, &by, limit), "{asked} by {by:?}");
            }
        }
    }
}

/// Filters on metrics.
const METRIC_FILTERS: [&str; 11] = [
    "",
    "tags.guard.rule.id:r1",
    "tags.guard.threat_score:>=70 -tags.guard.service.name:shop",
    "tags.region:eu OR tags.guard.behavior.correlation_key:k1",
    "install_id:install-1 endpoint:*",
    "value:>0.01",
    "endpoint:/login",
    "-endpoint:*",
    "method:GET status:>=400",
    "status:500 OR endpoint:/direct",
    "endpoint:/a*",
];

/// Fields to group metrics by.
const METRIC_FIELDS: [Option<&str>; 10] = [
    None,
    None,
    Some("endpoint"),
    Some("method"),
    Some("status"),
    Some("install_id"),
    Some("tags.guard.rule.id"),
    Some("tags.guard.threat_score"),
    Some("tags.guard.service.name"),
    Some("tags.region"),
];

pub(super) fn is_close(found: Option<f64>, exact: Option<f64>, error: f64) -> bool {
    match (found, exact) {
        (Some(found), Some(exact)) => (found - exact).abs() <= error * exact.abs() + 1e-12,
        (found, exact) => found == exact,
    }
}

pub(in crate::store) async fn metrics_agree_with_loops_over_records(stores: &Stores) {
    let project = project(stores, "default").await;
    let mut dice = Dice::new(7);
    let [_, metrics] = fill(stores, project, &mut dice).await;
    for _ in 0..QUERIES {
        let (range, text) = (range(&mut dice), dice.of(&METRIC_FILTERS));
        let stat = dice.of(&["count", "sum", "avg", "min", "max", "p50", "p95", "p99"]);
        let stat = Stat::parse(stat).unwrap();
        let error = if stat.quantile().is_some() {
            ERROR
        } else {
            1e-9
        };
        let by = dice.of(&METRIC_FIELDS);
        let query = MetricQuery {
            selection: selection(project, range, Kind::Metric, text),
            metric: dice.of(&["response_time", "request_count", "block_rate"]),
            stat,
            by: by.map(|by| group::field(Kind::Metric, by).unwrap()),
        };
        let of_type = Filter::parse(
            Kind::Metric,
            &format!(
                "metric_type:{} ({})",
                query.metric,
                if text.is_empty() {
                    "metric_type:*"
                } else {
                    text
                }
            ),
        );
        let known = reference::selected(&metrics, range, &of_type.unwrap());
        let asked = format!(
            "{stat:?} of {} by {by:?}: {text:?} from {} to {}",
            query.metric, range.from, range.to
        );

        let interval = dice.of(&["auto", "60", "900", "3600"]);
        let Ok(buckets) = Buckets::new(range, Some(interval), None) else {
            continue;
        };
        let found = stores
            .search
            .metric_series(query.clone(), buckets.clone())
            .await
            .unwrap();
        let exact = reference::metric_series(&known, query.by.as_ref(), &buckets, stat);
        assert_eq!(found.len(), exact.len(), "{asked}");
        for (found, exact) in found.iter().zip(&exact) {
            assert_eq!(
                (&found.key, found.count),
                (&exact.key, exact.count),
                "{asked}"
            );
            let all = found.values.iter().zip(&exact.values).enumerate();
            for (at, (found, exact)) in all {
                assert!(
                    is_close(*found, *exact, error),
                    "{asked} at {at}: {found:?} {exact:?}"
                );
            }
        }
        let found = stores.search.metric_top(query.clone(), 10).await.unwrap();
        let exact = reference::metric_top(&known, query.by.as_ref(), stat, 10);
        assert_eq!(found.len(), exact.len(), "{asked}");
        for exact in &exact {
            let found = found.iter().find(|found| found.key == exact.key).unwrap();
            assert_eq!(found.count, exact.count, "{asked}");
            assert!(
                is_close(found.value, exact.value, error),
                "{asked}: {found:?} {exact:?}"
            );
        }
    }
}

pub(in crate::store) async fn projects_do_not_find_the_events_of_each_other(stores: &Stores) {
    let (one, other) = (project(stores, "one").await, project(stores, "other").await);
    fill(stores, one, &mut Dice::new(1)).await;
    let always = TimeRange {
        from: Timestamp::UNIX_EPOCH,
        to: Timestamp::MAX,
    };
    let everything = |project| selection(project, always, Kind::Event, "");
    let mine = listed(stores, &everything(one), false, 1000).await;
    assert!(!mine.is_empty());
    assert!(
        listed(stores, &everything(other), false, 1000)
            .await
            .is_empty()
    );
    let query = EventQuery {
        selection: everything(one),
        after: None,
        is_oldest_first: false,
        limit: 1,
        bytes: 1,
        compare: 1,
    };
    let slice = stores.search.events(query).await.unwrap();
    let id = slice.events[0].id.clone();
    assert!(
        stores
            .search
            .event(one, id.clone())
            .await
            .unwrap()
            .is_some()
    );
    assert!(stores.search.event(other, id).await.unwrap().is_none());
}

pub(in crate::store) async fn an_id_that_the_engine_did_not_make_finds_nothing(stores: &Stores) {
    let project = project(stores, "default").await;
    let id: Cursor = "AAAA".parse().unwrap();
    let found = stores.search.event(project, id).await;
    assert_eq!(found.unwrap_err(), StoreError::InvalidCursor);
}

pub(in crate::store) async fn answers_agree_after_records_expired(stores: &Stores) {
    let project = project(stores, "default").await;
    let mut dice = Dice::new(9);
    let [events, metrics] = fill(stores, project, &mut dice).await;
    let middle = Timestamp::from_second(BEGIN + 5000).unwrap();
    let expiry = Expiry {
        events_before: middle,
        metrics_before: middle,
        rollups_before: Timestamp::UNIX_EPOCH,
    };
    while stores
        .telemetry
        .expire(project, expiry)
        .await
        .unwrap()
        .has_more
    {}
    let [events, metrics] = [events, metrics].map(|records| {
        let kept = records.into_iter().filter(|record| record.at >= middle);
        kept.collect::<Vec<_>>()
    });
    let always = TimeRange {
        from: Timestamp::from_second(BEGIN - 7200).unwrap(),
        to: Timestamp::from_second(BEGIN + 36_000).unwrap(),
    };
    for text in COUNTED {
        let selection = selection(project, always, Kind::Event, text);
        let known = reference::selected(&events, always, &selection.filter);
        let found = listed(stores, &selection, false, 1000).await;
        assert_eq!(found.len(), known.len(), "{text}");
        let by = group::field(Kind::Event, "event_type").unwrap();
        let buckets = Buckets::new(always, Some("3600"), None).unwrap();
        let series = stores
            .search
            .series(selection.clone(), Some(by.clone()), buckets.clone());
        let expected = reference::series(&known, Some(&by), &buckets);
        assert_eq!(series.await.unwrap(), expected, "{text}");
        let top = stores
            .search
            .top(selection, vec![by.clone()], 10)
            .await
            .unwrap();
        assert_eq!(top, reference::top(&known, &[by], 10), "{text}");
    }
    let kept = newest(
        &*stores.search,
        project,
        Kind::Metric,
        None,
        (1000, usize::MAX),
    )
    .await;
    assert_eq!(kept.unwrap().events.len(), metrics.len());
}
