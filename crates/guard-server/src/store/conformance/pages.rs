//! The answers that are put together from several queries: as plain loops over the same records
//! give them.

use std::sync::Arc;

use guard_wire::Kind;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::project;
use super::search::{Dice, fill, filter, is_close, range};
use crate::explore::answer::{BucketsAnswer, SeriesAnswer, TopAnswer};
use crate::explore::{address, agents, overview, passive};
use crate::query::buckets::Buckets;
use crate::query::filter::{Field, Filter};
use crate::query::metric::Stat;
use crate::query::reference::{self, Known};
use crate::query::{TimeRange, group};
use crate::store::{Room, Selection, StatusReport, Stores};

/// How many ranges and filters are asked about.
const ASKED: usize = 15;
/// The largest relative error of a quantile.
const ERROR: f64 = 0.02;

fn field(name: &str) -> Field {
    group::field(Kind::Event, name).unwrap()
}

fn same(found: &impl Serialize, expected: &impl Serialize, asked: &str) {
    assert_eq!(json!(found), json!(expected), "{asked}");
}

/// A random question: the selection, its buckets, and the events that it is about.
async fn question<'a>(
    stores: &Stores,
    dice: &mut Dice,
    events: &'a [Known],
) -> (Selection, Buckets, Vec<&'a Known>) {
    let (range, text) = (range(dice), filter(dice));
    let filter = Filter::parse(Kind::Event, &text).unwrap();
    let known = reference::selected(events, range, &filter);
    let selection = Selection {
        project: project(stores, "default").await,
        range,
        filter: Arc::new(filter),
    };
    (selection, Buckets::new(range, None, None).unwrap(), known)
}

fn series(
    known: &[&Known],
    by: &str,
    (buckets, range, now): (&Buckets, TimeRange, Timestamp),
) -> SeriesAnswer {
    let series = reference::series(known, Some(&field(by)), buckets);
    SeriesAnswer::new(series, BucketsAnswer::new(buckets, range, now))
}

fn top(known: &[&Known], by: &str, limit: usize) -> TopAnswer {
    reference::top(known, &[field(by)], limit).into()
}

/// The statistic of a metric over a range.
fn stat(metrics: &[Known], range: TimeRange, metric: &str, stat: Stat) -> Option<f64> {
    let of_type = Filter::parse(Kind::Metric, &format!("metric_type:{metric}")).unwrap();
    let known = reference::selected(metrics, range, &of_type);
    let top = reference::metric_top(&known, None, stat, 1);
    top.into_iter().next().and_then(|item| item.value)
}

pub(in crate::store) async fn the_overview_agrees_with_loops_over_records(stores: &Stores) {
    let id = project(stores, "default").await;
    let mut dice = Dice::new(21);
    let [events, metrics] = fill(stores, id, &mut dice).await;
    let now = Timestamp::MAX;
    for _ in 0..ASKED {
        let (selection, buckets, known) = question(stores, &mut dice, &events).await;
        let range = selection.range;
        let asked = format!("{} from {} to {}", selection.filter, range.from, range.to);
        let before = reference::selected(&events, range.previous(), &selection.filter);
        let page = overview::overview(stores, selection, buckets.clone(), now);
        let page = page.await.unwrap();

        let has = |records: &[&Known], actions: &[&str]| {
            let of =
                |it: &&&Known| actions.contains(&it.body["action_taken"].as_str().unwrap_or(""));
            let with = records
                .iter()
                .filter(|it| it.body.contains_key("action_taken"));
            with.filter(of).count() as u64
        };
        for (total, actions) in [
            (page.totals.blocked, &["blocked", "request_blocked"]),
            (page.totals.banned, &["banned", "ip_banned"]),
            (page.totals.would_block, &["logged_only", ""]),
        ] {
            let counts = (total.count, total.previous);
            assert_eq!(
                counts,
                (has(&known, actions), has(&before, actions)),
                "{asked}"
            );
        }
        let totals = (page.totals.events.count, page.totals.events.previous);
        assert_eq!(totals, (known.len() as u64, before.len() as u64), "{asked}");
        same(
            &page.series,
            &series(&known, "action_taken", (&buckets, range, now)),
            &asked,
        );
        for (found, by) in [
            (&page.tops.ip_address, "ip_address"),
            (&page.tops.endpoint, "endpoint"),
            (&page.tops.reason, "reason"),
            (&page.tops.event_type, "event_type"),
            (&page.tops.country, "country"),
            (&page.tops.user_agent, "user_agent"),
        ] {
            same(found, &top(&known, by, 8), &asked);
        }
        for (found, range, quantile) in [
            (page.response_time.p50, range, Stat::P50),
            (page.response_time.p95, range, Stat::P95),
            (page.response_time.p99, range, Stat::P99),
            (page.response_time.previous_p95, range.previous(), Stat::P95),
        ] {
            let exact = stat(&metrics, range, "response_time", quantile);
            assert!(
                is_close(found, exact, ERROR),
                "{asked}: {found:?} {exact:?}"
            );
        }
        let requests = stat(&metrics, range, "request_count", Stat::Sum).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let found = page.totals.requests.count as f64;
        assert!(
            (found - requests).abs() <= 0.5 + 1e-9,
            "{asked}: {found} {requests}"
        );
        let drawn: f64 = page.sparklines.requests.iter().flatten().sum();
        assert!(
            (drawn - requests).abs() < 1e-6,
            "{asked}: {drawn} {requests}"
        );
    }
}

pub(in crate::store) async fn an_address_agrees_with_loops_over_records(stores: &Stores) {
    let id = project(stores, "default").await;
    let mut dice = Dice::new(25);
    let [events, _] = fill(stores, id, &mut dice).await;
    let now = Timestamp::MAX;
    for _ in 0..ASKED {
        let (selection, buckets, known) = question(stores, &mut dice, &events).await;
        let range = selection.range;
        // One is written in two ways by the senders.
        let ip = dice.of(&["10.0.0.1", "10.9.9.9", "2001:db8::1", "192.0.2.1"]);
        let asked = format!(
            "{ip}: {} from {} to {}",
            selection.filter, range.from, range.to
        );
        let page = address::address(stores, ip.parse().unwrap(), selection, &buckets, now);
        let page = page.await.unwrap();

        let is_its = |it: &&&Known| {
            let written = it.body.get("ip_address").and_then(Value::as_str);
            written.is_some_and(|written| written.eq_ignore_ascii_case(ip))
        };
        let known: Vec<_> = known.iter().filter(is_its).copied().collect();
        assert_eq!(page.total, known.len() as u64, "{asked}");
        let seen = |it: Option<&Known>| it.map(|it| it.at);
        let [first, last] = [known.last(), known.first()].map(|it| seen(it.copied()));
        let found = [page.first_seen, page.last_seen].map(|at| at.map(|at| at.0));
        assert_eq!(found, [first, last], "{asked}");
        same(
            &page.series,
            &series(&known, "action_taken", (&buckets, range, now)),
            &asked,
        );
        for (found, by) in [
            (&page.event_types, "event_type"),
            (&page.actions, "action_taken"),
            (&page.endpoints, "endpoint"),
            (&page.user_agents, "user_agent"),
            (&page.reasons, "reason"),
            (&page.installs, "install_id"),
        ] {
            same(found, &top(&known, by, 10), &asked);
        }
    }
}

pub(in crate::store) async fn passive_mode_agrees_with_loops_over_records(stores: &Stores) {
    let id = project(stores, "default").await;
    let mut dice = Dice::new(23);
    let [events, _] = fill(stores, id, &mut dice).await;
    let mut groups = 0;
    for _ in 0..ASKED {
        let (selection, _, known) = question(stores, &mut dice, &events).await;
        let asked = format!("{} in {:?}", selection.filter, selection.range);
        let page = passive::passive(&*stores.search, selection).await.unwrap();

        let is_logged = |it: &&&Known| it.body.get("action_taken") == Some(&json!("logged_only"));
        let known: Vec<_> = known.iter().filter(is_logged).copied().collect();
        let identity = ["reason", "metadata.guard.rule.id", "rule_type"].map(field);
        let with = |name| [&identity[..], &[field(name)]].concat();
        let all = reference::top(&known, &identity, usize::MAX);
        let [addresses, endpoints] = ["ip_address", "endpoint"]
            .map(|name| reference::top(&known, &with(name), usize::MAX).items);
        assert_eq!(page.total, known.len() as u64, "{asked}");
        assert_eq!(page.items.len(), all.items.len().min(50), "{asked}");
        for (found, expected) in page.items.iter().zip(&all.items) {
            let key = [&found.reason, &found.rule_id, &found.rule_type].map(Clone::clone);
            assert_eq!(key[..], expected.key[..], "{asked}");
            let distinct = |items: &[crate::query::top::TopItem]| {
                items.iter().filter(|it| it.key[..3] == key[..]).count()
            };
            assert_eq!(
                (found.count, found.addresses, found.endpoints),
                (expected.count, distinct(&addresses), distinct(&endpoints)),
                "{asked}"
            );
            assert_eq!(
                (found.first.0, found.last.0),
                (expected.first, expected.last),
                "{asked}"
            );
            let newest: Value = serde_json::from_str(found.samples[0].event.get()).unwrap();
            let newest: Timestamp = newest["timestamp"].as_str().unwrap().parse().unwrap();
            assert_eq!(newest, expected.last, "{asked}");
            groups += 1;
        }
    }
    assert!(groups > 20, "there was something to compare");
}

pub(in crate::store) async fn agents_are_counted_as_loops_over_their_reports_do(stores: &Stores) {
    let id = project(stores, "default").await;
    let mut dice = Dice::new(24);
    let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
    let mut known = Vec::new();
    for n in 0..60 {
        let status = dice.of(&["healthy", "degraded", "failed", "odd"]);
        let minutes = i64::try_from(dice.roll(30)).unwrap();
        let received_at = now - SignedDuration::from_mins(minutes);
        let report = StatusReport {
            project: id,
            install_id: format!("install-{n}"),
            received_at,
            body: json!({ "status": status, "pid": n }).to_string(),
        };
        let room = Room {
            installs: 1000,
            silent_for: SignedDuration::from_hours(1),
        };
        stores.fleet.save_report(report, room).await.unwrap();
        known.push((status, minutes > 15));
    }
    let found = agents::agents(stores, id, now).await.unwrap();
    let count = |of: &dyn Fn(&str, bool) -> bool| {
        let matching = known
            .iter()
            .filter(|(status, is_silent)| of(status, *is_silent));
        matching.count() as u64
    };
    assert_eq!(found.counts.total, 60);
    assert_eq!(found.counts.silent, count(&|_, is_silent| is_silent));
    assert_eq!(found.counts.reporting, count(&|_, is_silent| !is_silent));
    let of = |wanted: &'static str| count(&move |status, is_silent| !is_silent && status == wanted);
    assert_eq!(found.counts.degraded, of("degraded"));
    assert_eq!(found.counts.failed, of("failed"));
    assert_eq!(found.items.len(), 60);
    let failed = usize::try_from(of("failed")).unwrap();
    assert!(
        found.items[..failed]
            .iter()
            .all(|agent| agent.status == "failed" && !agent.silent)
    );
    assert_eq!(agents::counts(stores, id, now).await.unwrap(), found.counts);
}
