//! The first page: what happened, and how it compares with the time before.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::agents::{self, AgentCounts};
use super::answer::{BucketsAnswer, RangeAnswer, SeriesAnswer, TopAnswer};
use super::filters::{BANNED, BLOCKED, WOULD_BLOCK, named};
use super::losses::{self, ReasonCount};
use crate::query::Utc;
use crate::query::buckets::Buckets;
use crate::query::filter::Filter;
use crate::query::metric::Stat;
use crate::query::top::Top;
use crate::rules::bans::{self, ActiveBan};
use crate::store::{MetricQuery, Search, Selection, StoreError, Stores};

/// How many keys each top list has.
const TOP: usize = 8;
/// How many bans are listed.
const BANS: usize = 10;

/// The first page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The range.
    #[serde(flatten)]
    pub range: RangeAnswer,
    /// The range that it is compared with.
    pub previous: RangeAnswer,
    /// The totals.
    pub totals: Totals,
    /// How long requests took, in seconds.
    pub response_time: ResponseTime,
    /// The events by action.
    pub series: SeriesAnswer,
    /// Small series in the same buckets.
    pub sparklines: Sparklines,
    /// The most frequent keys of each field.
    pub tops: Tops,
    /// The bans in force.
    pub bans: Bans,
    /// The agents.
    pub agents: AgentCounts,
    /// The records lost in the range.
    pub losses: Losses,
}

/// Totals of the range.
#[derive(Debug, Serialize, ToSchema)]
pub struct Totals {
    /// Events.
    pub events: Total,
    /// Refused requests.
    pub blocked: Total,
    /// Banned addresses.
    pub banned: Total,
    /// Requests that passive mode would have blocked.
    pub would_block: Total,
    /// Requests, according to metrics.
    pub requests: Total,
}

/// A total and the one of the range before.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Total {
    /// In the range.
    pub count: u64,
    /// In the range before.
    pub previous: u64,
    /// The change as a share of the one before; null if that is 0.
    #[schema(required = true)]
    pub change: Option<f64>,
}

impl Total {
    fn new(count: u64, previous: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let change = (count as f64 - previous as f64) / previous as f64;
        Self {
            count,
            previous,
            change: (previous > 0).then_some(change),
        }
    }
}

/// Quantiles of the response time.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ResponseTime {
    /// The median.
    #[schema(required = true)]
    pub p50: Option<f64>,
    /// 95 % are at most this.
    #[schema(required = true)]
    pub p95: Option<f64>,
    /// 99 % are at most this.
    #[schema(required = true)]
    pub p99: Option<f64>,
    /// `p95` of the range before.
    #[schema(required = true)]
    pub previous_p95: Option<f64>,
}

/// Values of metrics, one for each bucket of the series.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sparklines {
    /// Requests.
    pub requests: Vec<Option<f64>>,
    /// 95 % of the response times.
    pub response_time_p95: Vec<Option<f64>>,
}

/// The most frequent keys.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the names of the fields of events say it")]
pub struct Tops {
    pub ip_address: TopAnswer,
    pub endpoint: TopAnswer,
    pub reason: TopAnswer,
    pub event_type: TopAnswer,
    pub country: TopAnswer,
    pub user_agent: TopAnswer,
}

/// The bans in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bans {
    /// How many there are.
    pub active: usize,
    /// When the next one ends.
    #[schema(required = true)]
    pub next_ends_at: Option<Utc>,
    /// Those that end soonest.
    pub items: Vec<ActiveBan>,
}

/// Lost records.
#[derive(Debug, Serialize, ToSchema)]
pub struct Losses {
    /// How many.
    pub total: u64,
    /// By reason, most first.
    pub by_reason: Vec<ReasonCount>,
}

/// The first page for a selection of events.
///
/// # Errors
///
/// [`StoreError`] if a store fails.
pub async fn overview(
    stores: &Stores,
    selection: Selection,
    buckets: Buckets,
    now: Timestamp,
) -> Result<Overview, StoreError> {
    let range = selection.range;
    let search = &*stores.search;
    let previous = Selection {
        range: range.previous(),
        ..selection.clone()
    };
    let by_action = Some(named("action_taken"));
    // The store decides how many run at the same time.
    let (totals, response_time, sparklines, series, tops) = tokio::try_join!(
        totals(search, &selection, &previous),
        response_time(search, &selection, &previous),
        sparklines(search, &selection, &buckets),
        search.series(selection.clone(), by_action, buckets.clone()),
        tops(search, &selection),
    )?;
    let mut active = bans::active(&*stores.rules, selection.project, now).await?;
    active.sort_by_key(|ban| (ban.ends_at.is_none(), ban.ends_at));
    let lost = losses::by_reason(stores, selection.project, range).await?;
    Ok(Overview {
        range: range.into(),
        previous: previous.range.into(),
        totals,
        response_time,
        series: SeriesAnswer::new(series, BucketsAnswer::new(&buckets, range, now)),
        sparklines,
        tops,
        bans: Bans {
            active: active.len(),
            next_ends_at: active.first().and_then(|ban| ban.ends_at),
            items: active.into_iter().take(BANS).collect(),
        },
        agents: agents::counts(stores, selection.project, now).await?,
        losses: Losses {
            total: lost.iter().map(|reason| reason.count).sum(),
            by_reason: lost,
        },
    })
}

async fn totals(
    search: &dyn Search,
    selection: &Selection,
    previous: &Selection,
) -> Result<Totals, StoreError> {
    let total = async |selection: &Selection| {
        let top = search.top(selection.clone(), vec![named("action_taken")], 1000);
        top.await
    };
    let requests = async |selection: &Selection| {
        let values = metric_top(search, selection, "request_count", Stat::Sum).await?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        Ok::<_, StoreError>(values.unwrap_or_default().round() as u64)
    };
    let (now, before, requests, requests_before) = tokio::try_join!(
        total(selection),
        total(previous),
        requests(selection),
        requests(previous),
    )?;
    let sum = |top: &Top, values: &[&str]| -> u64 {
        let items = top.items.iter().filter(|item| {
            let key = item.key.first().and_then(Option::as_deref);
            key.is_some_and(|key| values.contains(&key))
        });
        items.map(|item| item.count).sum()
    };
    let of = |values: &[&str]| Total::new(sum(&now, values), sum(&before, values));
    Ok(Totals {
        events: Total::new(now.total(), before.total()),
        blocked: of(BLOCKED),
        banned: of(BANNED),
        would_block: of(WOULD_BLOCK),
        requests: Total::new(requests, requests_before),
    })
}

async fn response_time(
    search: &dyn Search,
    selection: &Selection,
    previous: &Selection,
) -> Result<ResponseTime, StoreError> {
    let of = async |selection, stat| metric_top(search, selection, "response_time", stat).await;
    let (p50, p95, p99, previous_p95) = tokio::try_join!(
        of(selection, Stat::P50),
        of(selection, Stat::P95),
        of(selection, Stat::P99),
        of(previous, Stat::P95),
    )?;
    Ok(ResponseTime {
        p50,
        p95,
        p99,
        previous_p95,
    })
}

async fn sparklines(
    search: &dyn Search,
    selection: &Selection,
    buckets: &Buckets,
) -> Result<Sparklines, StoreError> {
    let of = async |metric, stat| {
        let query = metric_query(selection, metric, stat);
        let keys = search.metric_series(query, buckets.clone()).await?;
        let none = || vec![None; buckets.starts.len()];
        let values = keys.into_iter().next().map(|key| key.values);
        Ok::<_, StoreError>(values.unwrap_or_else(none))
    };
    let (requests, response_time_p95) = tokio::try_join!(
        of("request_count", Stat::Sum),
        of("response_time", Stat::P95),
    )?;
    Ok(Sparklines {
        requests,
        response_time_p95,
    })
}

async fn metric_top(
    search: &dyn Search,
    selection: &Selection,
    metric: &'static str,
    stat: Stat,
) -> Result<Option<f64>, StoreError> {
    let query = metric_query(selection, metric, stat);
    let items = search.metric_top(query, 1).await?;
    Ok(items.into_iter().next().and_then(|item| item.value))
}

/// Metrics have other fields than events, so the filter does not apply to them.
fn metric_query(selection: &Selection, metric: &'static str, stat: Stat) -> MetricQuery {
    MetricQuery {
        selection: Selection {
            filter: Arc::new(Filter::everything()),
            ..selection.clone()
        },
        metric,
        stat,
        by: None,
    }
}

async fn tops(search: &dyn Search, selection: &Selection) -> Result<Tops, StoreError> {
    let top = async |name| {
        let top = search.top(selection.clone(), vec![named(name)], TOP);
        top.await.map(TopAnswer::from)
    };
    let (ip_address, endpoint, reason, event_type, country, user_agent) = tokio::try_join!(
        top("ip_address"),
        top("endpoint"),
        top("reason"),
        top("event_type"),
        top("country"),
        top("user_agent"),
    )?;
    Ok(Tops {
        ip_address,
        endpoint,
        reason,
        event_type,
        country,
        user_agent,
    })
}
