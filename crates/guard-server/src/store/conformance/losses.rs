//! Lost records.

use std::collections::BTreeMap;

use super::search::Dice;
use super::{at, project};
use crate::explore::losses;
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::store::{LossCount, LossReport, ProjectId, Stores};

/// A loss: its minute, its install, why, and how many records.
type Added = (i64, String, String, u64);

fn report(
    project: ProjectId,
    process: &str,
    second: i64,
    totals: &BTreeMap<String, u64>,
) -> LossReport {
    LossReport {
        project,
        install_id: format!("install-{}", &process[..1]),
        process: process.to_owned(),
        at: at(second),
        totals: totals.clone(),
    }
}

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange {
        from: at(from),
        to: at(to),
    }
}

fn totals(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let totals = all.iter().map(|(reason, n)| ((*reason).to_owned(), *n));
    totals.collect()
}

async fn total(stores: &Stores, project: ProjectId, range: TimeRange) -> u64 {
    let losses = stores.losses.losses(project, range).await.unwrap();
    losses.iter().map(|loss| loss.n).sum()
}

pub(in crate::store) async fn only_what_a_process_lost_since_its_last_report_is_added(
    stores: &Stores,
) {
    let project = project(stores, "default").await;
    for (second, process, n, expected) in [
        (60, "a", 3, 3),
        (61, "a", 3, 3),
        (62, "a", 5, 5),
        // Another process counts from nothing, and so does one that started again.
        (63, "b", 4, 9),
        (64, "a", 2, 11),
    ] {
        let report = report(project, process, second, &totals(&[("queue_full", n)]));
        stores.losses.report_losses(report).await.unwrap();
        assert_eq!(total(stores, project, range(0, 1000)).await, expected);
    }
}

pub(in crate::store) async fn losses_are_found_in_the_minute_of_their_report(stores: &Stores) {
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    let report = report(one, "a", 119, &totals(&[("stopped", 2)]));
    stores.losses.report_losses(report).await.unwrap();
    let lost = BTreeMap::from([("invalid_event", 7)]);
    stores
        .losses
        .count_losses(one, at(120), lost)
        .await
        .unwrap();
    let count = |minute, install_id: &str, reason: &str, n| LossCount {
        minute: at(minute),
        install_id: install_id.to_owned(),
        reason: reason.to_owned(),
        n,
    };
    let first = count(60, "install-a", "stopped", 2);
    let second = count(120, "", "invalid_event", 7);
    for (asked, expected) in [
        (range(0, 1000), vec![first.clone(), second.clone()]),
        (range(60, 120), vec![first.clone()]),
        // The minute in which a range begins or ends belongs to it.
        (range(119, 121), vec![first, second.clone()]),
        (range(120, 121), vec![second]),
        (range(180, 240), vec![]),
    ] {
        let mut found = stores.losses.losses(one, asked).await.unwrap();
        found.sort_by_key(|loss| loss.minute);
        assert_eq!(found, expected, "{asked:?}");
    }
    assert_eq!(total(stores, other, range(0, 1000)).await, 0);
}

pub(in crate::store) async fn sums_of_losses_agree_with_loops_over_reports(stores: &Stores) {
    let project = project(stores, "default").await;
    let mut dice = Dice::new(11);
    let mut known: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut added: Vec<Added> = Vec::new();
    for n in 0..300 {
        let second = 7200 + n * 11;
        if dice.roll(5) == 0 {
            let lost = BTreeMap::from([("invalid_metric", 3)]);
            stores
                .losses
                .count_losses(project, at(second), lost)
                .await
                .unwrap();
            added.push((
                second / 60 * 60,
                String::new(),
                "invalid_metric".to_owned(),
                3,
            ));
            continue;
        }
        let process = dice.of(&["a1", "a2", "b1"]);
        let mut reported = BTreeMap::new();
        for reason in ["queue_full", "rejected", "stopped"] {
            let before = known.get(&(process, reason)).copied().unwrap_or_default();
            let total = match dice.roll(8) {
                0 => dice.roll(4) as u64,
                _ => before + dice.roll(4) as u64,
            };
            let new = if total >= before {
                total - before
            } else {
                total
            };
            known.insert((process, reason), total);
            reported.insert(reason.to_owned(), total);
            let install = format!("install-{}", &process[..1]);
            added.push((second / 60 * 60, install, reason.to_owned(), new));
        }
        let report = report(project, process, second, &reported);
        stores.losses.report_losses(report).await.unwrap();
    }
    for asked in [range(7200, 10_800), range(7230, 9000), range(8000, 8001)] {
        let buckets = Buckets::new(asked, Some("60"), None).unwrap();
        let answer = losses::losses(stores, project, asked, &buckets, at(20_000));
        let answer = answer.await.unwrap();
        let minute = |second: i64| second / 60 * 60;
        let from = minute(asked.from.as_second());
        let in_range: Vec<_> = added
            .iter()
            .filter(|(at, ..)| from <= *at && *at < asked.to.as_second())
            .collect();
        let sum = |of: &dyn Fn(&Added) -> bool| -> u64 {
            let found = in_range.iter().filter(|it| of(it));
            found.map(|(.., n)| n).sum()
        };
        assert_eq!(answer.series.total, sum(&|_| true), "{asked:?}");
        for reason in &answer.by_reason {
            assert_eq!(reason.count, sum(&|it| it.2 == reason.reason), "{reason:?}");
        }
        let all: u64 = answer.by_reason.iter().map(|reason| reason.count).sum();
        assert_eq!(all, answer.series.total);
        for install in &answer.by_install {
            let expected = sum(&|it| it.1 == install.install_id);
            assert_eq!(install.total, expected, "{install:?}");
            assert_eq!(install.dropped.values().sum::<u64>(), expected);
        }
        for series in &answer.series.series {
            for (at, count) in buckets.starts.iter().zip(&series.counts) {
                let start = minute(at.as_second());
                let expected = sum(&|it| Some(&it.2) == series.key.as_ref() && it.0 == start);
                assert_eq!(*count, expected, "{:?} at {at}", series.key);
            }
        }
    }
}
