//! Metrics: lists and statistics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use guard_wire::Kind;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::listing;
use super::params::Params;
use crate::explore::answer::{BucketsAnswer, MetricItem, RangeAnswer};
use crate::http::error::ApiError;
use crate::http::listed::Listed;
use crate::http::openapi::params::{BucketParams, PageParams, RangeParams, TopParam};
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;
use crate::query::QueryError;
use crate::query::group::{self, Key};
use crate::query::metric::{self, METRIC_DIMENSIONS, Stat};
use crate::store::{MetricQuery, Project};

/// How many keys a top list has by default.
const TOP: u16 = 10;

/// Which metric, and which statistic of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the description is used")]
struct MetricParams {
    /// The type of the metric: `request_count`, `response_time`, `error_rate`, `bandwidth_usage`,
    /// `threat_level`, `block_rate` or `cache_hit_rate`.
    #[param(example = "response_time")]
    metric: String,
    /// `count`, `sum`, `avg`, `min`, `max`, `p50`, `p95` or `p99`.
    #[param(example = "p95")]
    stat: String,
    /// What the keys are: `endpoint`, `method` or `status`, or any other field, such as
    /// `tags.guard.rule.id`, as long as single metrics are kept. Without it, there is one key, null.
    #[param(example = "endpoint")]
    by: Option<String>,
    /// Only metrics that match this filter. One that names other fields than `endpoint`, `method` and
    /// `status` reaches back only as long as single metrics are kept.
    #[param(max_length = 4096, example = "endpoint:/api/*")]
    filter: Option<String>,
}

/// Lists the single metrics that are still kept, newest first.
///
/// A page may have fewer metrics than `limit`, or none, while `next` is not null: it ends after
/// 16 MiB, or after 50,000 metrics were compared with the filter. Relative times in later pages refer
/// to the first page.
#[utoipa::path(
    get, path = "/metrics", operation_id = "list_metrics", tag = "Metrics",
    security(("token" = ["viewer"])),
    params(RangeParams, PageParams,
        ("filter" = Option<String>, Query, max_length = 4096, example = "endpoint:/api/*",
            description = "Only metrics that match this filter.")),
    responses((status = OK, body = Listed<MetricItem>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Response, ApiError> {
    listing::page(state, viewer.project.id, Kind::Metric, params).await
}

/// The values of a metric over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricSeries {
    #[serde(flatten)]
    range: RangeAnswer,
    #[serde(flatten)]
    buckets: BucketsAnswer,
    series: Vec<KeyValuesAnswer>,
}

/// The values of one key.
#[derive(Debug, Serialize, ToSchema)]
struct KeyValuesAnswer {
    #[schema(value_type = Option<String>, required = true)]
    key: Key,
    values: Vec<Option<f64>>,
}

/// Returns a statistic of a metric over time.
///
/// The 12 keys with most records have a series each. Quantiles are within 2 % of the exact ones.
#[utoipa::path(
    get, path = "/metrics/series", operation_id = "get_metric_series", tag = "Metrics",
    security(("token" = ["viewer"])), params(MetricParams, RangeParams, BucketParams),
    responses((status = OK, body = MetricSeries))
)]
pub(crate) async fn series(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<MetricSeries>, ApiError> {
    let params = params.only(&[
        "metric", "stat", "by", "filter", "from", "to", "tz", "interval",
    ])?;
    let now = state.clock.now();
    let query = query(&params, &viewer.project, now)?;
    let range = query.selection.range;
    let buckets = params.buckets(range)?;
    let keys = state
        .stores
        .search
        .metric_series(query, buckets.clone())
        .await?;
    let series = keys.into_iter().map(|key| KeyValuesAnswer {
        key: key.key,
        values: key.values,
    });
    Ok(Json(MetricSeries {
        range: range.into(),
        buckets: BucketsAnswer::new(&buckets, range, now),
        series: series.collect(),
    }))
}

/// The keys with the largest values of a metric.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricTop {
    #[serde(flatten)]
    range: RangeAnswer,
    items: Vec<MetricTopAnswer>,
}

/// One of the keys with the largest values.
#[derive(Debug, Serialize, ToSchema)]
struct MetricTopAnswer {
    #[schema(value_type = Option<String>, required = true)]
    key: Key,
    #[schema(required = true)]
    value: Option<f64>,
    count: u64,
}

/// Returns the keys with the largest values of a metric.
#[utoipa::path(
    get, path = "/metrics/top", operation_id = "get_metric_top", tag = "Metrics",
    security(("token" = ["viewer"])), params(MetricParams, RangeParams, TopParam),
    responses((status = OK, body = MetricTop))
)]
pub(crate) async fn top(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<MetricTop>, ApiError> {
    let params = params.only(&["metric", "stat", "by", "filter", "from", "to", "limit"])?;
    let query = query(&params, &viewer.project, state.clock.now())?;
    let range = query.selection.range;
    let limit = params.limit(TOP)?.into();
    let items = state.stores.search.metric_top(query, limit).await?;
    let items = items.into_iter().map(|item| MetricTopAnswer {
        key: item.key,
        value: item.value,
        count: item.count,
    });
    Ok(Json(MetricTop {
        range: range.into(),
        items: items.collect(),
    }))
}

fn query(params: &Params, project: &Project, now: Timestamp) -> Result<MetricQuery, ApiError> {
    let missing = |code, field| {
        let detail = format!("{field} is missing");
        QueryError::new(code, field, detail)
    };
    let name = params
        .get("metric")
        .ok_or_else(|| missing("invalid_metric", "metric"))?;
    let stat = params
        .get("stat")
        .ok_or_else(|| missing("invalid_stat", "stat"))?;
    let by = params
        .get("by")
        .map(|name| group::field(Kind::Metric, name));
    let query = MetricQuery {
        selection: params.selection(project.id, Kind::Metric, now)?,
        metric: metric::metric_type(name)?.as_str(),
        stat: Stat::parse(stat)?,
        by: by.transpose()?,
    };
    check_range(&query, project, now)?;
    Ok(query)
}

/// Refuses a range whose metrics are not kept one by one any more, if the query needs them so.
fn check_range(query: &MetricQuery, project: &Project, now: Timestamp) -> Result<(), QueryError> {
    let hours = project.settings.raw_metrics_hours;
    let kept = now.saturating_sub(SignedDuration::from_hours(hours.into()));
    let kept = kept.unwrap_or(Timestamp::MIN);
    // A range has whole microseconds, so one that begins with the oldest metrics may begin before
    // `kept` by less than that.
    let is_beyond = query.selection.range.from.as_microsecond() < kept.as_microsecond();
    match query.single_field() {
        Some(field) if is_beyond => {
            let detail = format!(
                "from is {}, but only metrics of the last {hours} hours can be told apart \
                 by {field}; give -{hours}h or later, or filter and group by {} only",
                query.selection.range.from,
                METRIC_DIMENSIONS.join(", ")
            );
            Err(QueryError::new("beyond_single_metrics", "from", detail))
        }
        _ => Ok(()),
    }
}
