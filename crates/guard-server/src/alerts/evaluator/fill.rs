//! Reads what happened before the evaluator began to follow events: after a start, and for an alert
//! that is new or was changed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::counter::Counter;
use super::seen::{MAX_SEEN, SeenValues};
use super::watch::{EventCounts, EventValues, Source, Watch};
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::filter::Filter;
use crate::query::top::TopItem;
use crate::store::{ProjectId, Selection, StoreError, Stores};

/// How far back values are learned for a new alert on new values.
const LEARNED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most groups that are read.
const GROUPS: usize = 1000;

/// Reads what a watch has to know before it is evaluated. Does nothing if it knows it.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub(super) async fn fill(
    watch: &mut Watch,
    stores: &Stores,
    project: ProjectId,
    now: Timestamp,
    limit: usize,
) -> Result<(), StoreError> {
    match &mut watch.source {
        Source::Events(counts) if counts.filled_at.is_none() => {
            count(counts, stores, project, now, limit).await?;
            counts.filled_at = Some(now);
        }
        Source::Values(values) if !values.seen.as_ref().is_some_and(SeenValues::is_learned) => {
            let stored = stores.alerts.seen(project, &watch.stored.id).await?;
            let mut seen = SeenValues::stored(stored);
            if !seen.is_learned() {
                seen.learn(learn(values, stores, project, now).await?);
            }
            values.seen = Some(seen);
        }
        _ => {}
    }
    Ok(())
}

async fn count(
    counts: &mut EventCounts,
    stores: &Stores,
    project: ProjectId,
    now: Timestamp,
    limit: usize,
) -> Result<(), StoreError> {
    let mut counter = Counter::new(counts.window);
    let range = until_now(counts.window.horizon(now), now);
    let step = counts.window.step.to_string();
    let Ok(buckets) = Buckets::new(range, Some(&step), None) else {
        return Err(StoreError::Unavailable);
    };
    let starts = buckets.starts.clone();
    let select = |range| selection(project, range, &counts.filter);
    let series = stores
        .search
        .series(select(range), counts.group.clone(), buckets)
        .await?;
    for key in &series.keys {
        for (start, n) in starts.iter().zip(&key.counts) {
            counter.fill(key.key.clone(), *start, *n, now, limit);
        }
    }
    match &counts.group {
        // Without a group, everything is one key or `other`.
        None => {
            for (start, n) in starts.iter().zip(&series.other) {
                counter.fill(None, *start, *n, now, limit);
            }
        }
        Some(field) => {
            let range = until_now(counts.window.begin(now), now);
            let top = stores
                .search
                .top(select(range), vec![field.clone()], GROUPS)
                .await?;
            let is_known =
                |item: &TopItem| series.keys.iter().any(|it| item.key == [it.key.clone()]);
            for item in top.items.iter().filter(|item| !is_known(item)) {
                spread(&mut counter, item, counts.window.step, now, limit);
            }
        }
    }
    counts.counter = counter;
    Ok(())
}

/// Counts the events of a group of which only the first and the last time are known: evenly between
/// them.
fn spread(counter: &mut Counter, item: &TopItem, step: i64, now: Timestamp, limit: usize) {
    let length = item.last.duration_since(item.first).as_secs();
    let parts = u64::try_from(length / step + 1)
        .unwrap_or(1)
        .min(item.count);
    let key = item.key.first().cloned().flatten();
    for part in 0..parts {
        let after = if parts == 1 {
            length
        } else {
            let part = i64::try_from(part).unwrap_or(0);
            length * part / i64::try_from(parts - 1).unwrap_or(1)
        };
        let at = item.first.saturating_add(SignedDuration::from_secs(after));
        let n = item.count / parts + u64::from(part < item.count % parts);
        counter.fill(key.clone(), at.unwrap_or(item.last), n, now, limit);
    }
}

/// The values of the last days.
async fn learn(
    values: &EventValues,
    stores: &Stores,
    project: ProjectId,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let range = until_now(now.saturating_sub(LEARNED).unwrap_or(now), now);
    let selection = selection(project, range, &values.filter);
    let by = vec![values.field.clone()];
    let top = stores.search.top(selection, by, MAX_SEEN / 2).await?;
    let values = top.items.into_iter().rev();
    Ok(values
        .filter_map(|item| item.key.into_iter().next()?)
        .collect())
}

pub(super) fn selection(project: ProjectId, range: TimeRange, filter: &Arc<Filter>) -> Selection {
    Selection {
        project,
        range,
        filter: Arc::clone(filter),
    }
}

/// From `from` to `now`, which is included.
pub(super) fn until_now(from: Timestamp, now: Timestamp) -> TimeRange {
    let next = now.saturating_add(SignedDuration::from_micros(1));
    TimeRange {
        from,
        to: next.unwrap_or(now),
    }
}
