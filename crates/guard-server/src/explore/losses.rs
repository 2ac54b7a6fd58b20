//! What agents and the server lost, by reason, over time.

use std::collections::BTreeMap;
use std::convert::Infallible;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{BucketsAnswer, RangeAnswer, SeriesAnswer};
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::series::SeriesCounter;
use crate::store::{LossCount, ProjectId, StoreError, Stores};

/// Lost records.
#[derive(Debug, Serialize, ToSchema)]
pub struct LossesAnswer {
    /// The range.
    #[serde(flatten)]
    pub range: RangeAnswer,
    /// By reason, over time.
    #[serde(flatten)]
    pub series: SeriesAnswer,
    /// By reason, most first.
    pub by_reason: Vec<ReasonCount>,
    /// By installation, most first.
    pub by_install: Vec<InstallLosses>,
}

/// How many records were lost for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasonCount {
    /// Why.
    pub reason: String,
    /// `agent` or `server`.
    pub source: &'static str,
    /// How many.
    pub count: u64,
}

/// What one installation lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InstallLosses {
    /// The installation.
    pub install_id: String,
    /// How many records.
    pub total: u64,
    /// By reason.
    pub dropped: BTreeMap<String, u64>,
}

/// The losses of a range.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn losses(
    stores: &Stores,
    project: ProjectId,
    range: TimeRange,
    buckets: &Buckets,
    now: Timestamp,
) -> Result<LossesAnswer, StoreError> {
    let lost = stores.losses.losses(project, range).await?;
    let mut counter = SeriesCounter::new(buckets.starts.len());
    let mut installs = BTreeMap::<&str, BTreeMap<String, u64>>::new();
    for count in &lost {
        // The first minute may begin before the range.
        let at = count.minute.max(range.from);
        if let Some(bucket) = buckets.index(at) {
            counter.add(count.reason.as_str(), bucket, count.n);
        }
        if !count.install_id.is_empty() {
            let dropped = installs.entry(&count.install_id).or_default();
            *dropped.entry(count.reason.clone()).or_default() += count.n;
        }
    }
    let series = counter.finish(|reason| Ok::<_, Infallible>(Some(reason.to_owned())));
    let Ok(series) = series;
    let mut by_install: Vec<_> = installs
        .into_iter()
        .map(|(install_id, dropped)| InstallLosses {
            install_id: install_id.to_owned(),
            total: dropped.values().sum(),
            dropped,
        })
        .collect();
    by_install.sort_by_key(|install| std::cmp::Reverse(install.total));
    Ok(LossesAnswer {
        range: range.into(),
        series: SeriesAnswer::new(series, BucketsAnswer::new(buckets, range, now)),
        by_reason: reasons(&lost),
        by_install,
    })
}

/// The losses of a range by reason.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn by_reason(
    stores: &Stores,
    project: ProjectId,
    range: TimeRange,
) -> Result<Vec<ReasonCount>, StoreError> {
    Ok(reasons(&stores.losses.losses(project, range).await?))
}

fn reasons(lost: &[LossCount]) -> Vec<ReasonCount> {
    let mut counts = BTreeMap::<(&str, &'static str), u64>::new();
    for count in lost {
        let source = if count.install_id.is_empty() {
            "server"
        } else {
            "agent"
        };
        *counts.entry((&count.reason, source)).or_default() += count.n;
    }
    let counts = counts
        .into_iter()
        .map(|((reason, source), count)| ReasonCount {
            reason: reason.to_owned(),
            source,
            count,
        });
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    counts
}
