//! Compares what was moved with the file.

use std::collections::BTreeMap;

use guard_wire::{Kind, MetricType};
use jiff::{SignedDuration, Timestamp};

use super::MovingError;
use super::records::{everything, page};
use crate::query::TimeRange;
use crate::query::filter::Field;
use crate::query::metric::Stat;
use crate::store::{
    KindCounts, MetricQuery, Project, ProjectId, Selection, StoreError, StoredEvent, Stores,
};

/// How many events of a project are compared one by one.
const SAMPLE: i64 = 100;
/// The most types of events that are counted.
const TYPES: usize = 100_000;
/// The most events of one microsecond among which a sampled one is looked for.
const TOGETHER: u16 = 1000;

/// Compares the counts by type and a sample of events. Returns how large that was.
pub(super) async fn verify(
    from: &Stores,
    to: &Stores,
    project: &Project,
    moved: KindCounts,
) -> Result<u64, MovingError> {
    let differs = |what: String| MovingError::Differs {
        project: project.name.clone(),
        what,
    };
    let before = by_type(from, project.id)
        .await
        .map_err(MovingError::Source)?;
    let after = by_type(to, project.id).await.map_err(MovingError::Target)?;
    if let Some((name, n)) = before.iter().find(|(name, n)| after.get(*name) != Some(n)) {
        let found = after.get(name).copied().unwrap_or(0);
        return Err(differs(format!("{found} of {n} events of the type {name}")));
    }
    let found = counts(to, project.id).await.map_err(MovingError::Target)?;
    for kind in [Kind::Event, Kind::Metric] {
        let (n, found) = (moved.of(kind), found.of(kind));
        if n != found {
            return Err(differs(format!("{found} of {n} {}s", kind.as_str())));
        }
    }
    sample(from, to, project.id).await?.map_err(differs)
}

/// How many records of a project a store has.
pub(super) async fn counts(stores: &Stores, project: ProjectId) -> Result<KindCounts, StoreError> {
    let mut metrics = 0;
    for metric in MetricType::ALL {
        let query = MetricQuery {
            selection: everything(project),
            metric: metric.as_str(),
            stat: Stat::Count,
            by: None,
        };
        let top = stores.search.metric_top(query, 1).await?;
        metrics += top.iter().map(|it| it.count).sum::<u64>();
    }
    Ok(KindCounts {
        events: by_type(stores, project).await?.values().sum(),
        metrics,
    })
}

async fn by_type(stores: &Stores, project: ProjectId) -> Result<BTreeMap<String, u64>, StoreError> {
    let by = vec![Field::Named("event_type")];
    let top = stores.search.top(everything(project), by, TYPES).await?;
    let types = top.items.into_iter();
    Ok(types
        .map(|mut it| (it.key.pop().flatten().unwrap_or_default(), it.count))
        .collect())
}

/// Looks for events from the whole range of time. Returns how many were found, or the first that was
/// not.
async fn sample(
    from: &Stores,
    to: &Stores,
    project: ProjectId,
) -> Result<Result<u64, String>, MovingError> {
    let newest = |mut query: crate::store::EventQuery| {
        query.is_oldest_first = false;
        query
    };
    let first = one(from, page(everything(project), None, 1)).await?;
    let last = one(from, newest(page(everything(project), None, 1))).await?;
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(Ok(0));
    };
    let step = (last.timestamp.as_microsecond() - first.timestamp.as_microsecond()) / SAMPLE;
    let mut compared = 0;
    for n in 0..SAMPLE {
        let since = first.timestamp + SignedDuration::from_micros(n * step);
        let range = TimeRange {
            from: since,
            to: Timestamp::MAX,
        };
        let selection = Selection {
            range,
            ..everything(project)
        };
        if let Some(event) = one(from, page(selection, None, 1)).await? {
            if !has(to, project, &event).await? {
                return Ok(Err(format!("the event {} is missing", event.id)));
            }
            compared += 1;
        }
    }
    Ok(Ok(compared))
}

async fn one(
    from: &Stores,
    query: crate::store::EventQuery,
) -> Result<Option<StoredEvent>, MovingError> {
    let slice = from.search.events(query).await;
    Ok(slice.map_err(MovingError::Source)?.events.pop())
}

/// Whether the same event is stored.
async fn has(to: &Stores, project: ProjectId, event: &StoredEvent) -> Result<bool, MovingError> {
    let range = TimeRange {
        from: event.timestamp,
        to: event.timestamp + SignedDuration::from_micros(1),
    };
    let selection = Selection {
        range,
        ..everything(project)
    };
    let found = to.search.events(page(selection, None, TOGETHER)).await;
    let found = found.map_err(MovingError::Target)?.events;
    Ok(found.iter().any(|it| {
        it.body.get() == event.body.get()
            && it.received_at == event.received_at
            && it.install_id == event.install_id
    }))
}
