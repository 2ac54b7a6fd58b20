//! Statistics of metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use guard_wire::Kind;
use jiff::Timestamp;
use serde::Serialize;

use super::params::Params;
use crate::explore::answer::{BucketsAnswer, RangeAnswer};
use crate::http::error::ApiError;
use crate::http::principal::{In, Viewer};
use crate::http::state::AppState;
use crate::query::QueryError;
use crate::query::group::Key;
use crate::query::metric::{self, Stat};
use crate::store::{MetricQuery, ProjectId};

/// The fields by which metrics can be filtered.
const FILTERED: [&str; 4] = ["metric_type", "endpoint", "method", "status"];
/// How many keys a top list has by default.
const TOP: u16 = 10;

/// The values of a metric over time.
#[derive(Debug, Serialize)]
pub(crate) struct MetricSeries {
    #[serde(flatten)]
    range: RangeAnswer,
    #[serde(flatten)]
    buckets: BucketsAnswer,
    series: Vec<KeyValuesAnswer>,
}

#[derive(Debug, Serialize)]
struct KeyValuesAnswer {
    key: Key,
    values: Vec<Option<f64>>,
}

/// `GET P/metrics/series`.
pub(crate) async fn series(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<MetricSeries>, ApiError> {
    let params = params.only(&[
        "metric", "stat", "by", "filter", "from", "to", "tz", "interval",
    ])?;
    let now = state.clock.now();
    let query = query(&params, viewer.project.id, now)?;
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
#[derive(Debug, Serialize)]
pub(crate) struct MetricTop {
    #[serde(flatten)]
    range: RangeAnswer,
    items: Vec<MetricTopAnswer>,
}

#[derive(Debug, Serialize)]
struct MetricTopAnswer {
    key: Key,
    value: Option<f64>,
    count: u64,
}

/// `GET P/metrics/top`.
pub(crate) async fn top(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
    params: Params,
) -> Result<Json<MetricTop>, ApiError> {
    let params = params.only(&["metric", "stat", "by", "filter", "from", "to", "limit"])?;
    let query = query(&params, viewer.project.id, state.clock.now())?;
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

fn query(params: &Params, project: ProjectId, now: Timestamp) -> Result<MetricQuery, ApiError> {
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
    let by = params.get("by").map(metric::dimension).transpose()?;
    let selection = params.selection(project, Kind::Metric, now)?;
    if let Some(field) = selection.filter.other_field(&FILTERED) {
        let detail = format!(
            "filter: metrics are kept by endpoint, method and status, not by {field}; remove it"
        );
        return Err(QueryError::new("invalid_filter", "filter", detail).into());
    }
    Ok(MetricQuery {
        selection,
        metric: metric::metric_type(name)?.as_str(),
        stat: Stat::parse(stat)?,
        by,
    })
}
