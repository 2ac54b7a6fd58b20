//! `guard-server top`: the most frequent values of a field, or the largest values of a metric.

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;

use super::super::client::Client;
use super::super::table::{Table, print, time_in};
use super::super::{FAILED, Outcome, failed_with};
use super::TopArgs;
use super::arguments::params;
use super::chart::number;
use crate::visible::visible_json;

/// How the key of records without a value is shown.
pub(super) const NO_VALUE: &str = "(none)";

#[derive(Deserialize)]
struct Top {
    items: Vec<TopItem>,
    distinct: u64,
    other: u64,
    total: u64,
    #[serde(default)]
    approximate: bool,
}

#[derive(Deserialize)]
struct TopItem {
    key: Option<String>,
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Deserialize)]
struct MetricTop {
    items: Vec<MetricItem>,
}

#[derive(Deserialize)]
struct MetricItem {
    key: Option<String>,
    value: Option<f64>,
    count: u64,
}

/// Runs `guard-server top`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn top(args: &TopArgs) -> Outcome<()> {
    let client = Client::new(&args.server)?;
    let mut params = params([("by", &args.by)]);
    params.extend(args.selection.params());
    params.extend(args.metric.params());
    params.push(("limit", args.limit.to_string()));
    let request = client.in_project(Method::GET, &[args.metric.records(), "top"]);
    let text = client.text(request.query(&params)).await?;
    if args.json {
        return print(std::iter::once(visible_json(&text).into_owned()));
    }
    if args.metric.metric.is_some() {
        let top = serde_json::from_str(&text).map_err(failed_with(FAILED))?;
        return show_metric(top, args);
    }
    show(
        serde_json::from_str(&text).map_err(failed_with(FAILED))?,
        args,
    )
}

fn show(top: Top, args: &TopArgs) -> Outcome<()> {
    let Top {
        distinct,
        other,
        total,
        approximate,
        ..
    } = top;
    let listed = top.items.len() as u64;
    let rows = top.items.into_iter().map(|item| {
        [
            key(item.key),
            item.count.to_string(),
            share(item.count, total),
            time_in(item.first, &args.tz),
            time_in(item.last, &args.tz),
        ]
    });
    let heading = args.by.as_deref().unwrap_or_default().to_uppercase();
    Table::new([&heading, "COUNT", "SHARE", "FIRST", "LAST"])
        .with(rows)
        .right([1, 2])
        .cutting([0])
        .print("no events match in this range")?;
    let rest = distinct.saturating_sub(listed);
    if rest > 0 {
        let about = if approximate { "about " } else { "" };
        eprintln!(
            "{rest} of {about}{distinct} values are not shown; they have {other} of {total} events"
        );
    }
    Ok(())
}

fn show_metric(top: MetricTop, args: &TopArgs) -> Outcome<()> {
    let rows = top.items.into_iter().map(|item| {
        let value = item.value.map_or_else(|| "-".to_owned(), number);
        [key(item.key), value, item.count.to_string()]
    });
    let by = args.by.as_deref().unwrap_or("metric").to_uppercase();
    let stat = args
        .metric
        .stat
        .as_deref()
        .unwrap_or_default()
        .to_uppercase();
    Table::new([&by, &stat, "RECORDS"])
        .with(rows)
        .right([1, 2])
        .cutting([0])
        .print("no metrics match in this range")
}

fn key(key: Option<String>) -> String {
    key.unwrap_or_else(|| NO_VALUE.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "one decimal place is shown")]
fn share(count: u64, total: u64) -> String {
    format!("{:.1} %", 100.0 * count as f64 / total.max(1) as f64)
}
