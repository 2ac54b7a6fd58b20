//! `guard-server series`: a chart of events, or of a metric, over time.

use std::iter::once;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;

use super::super::client::Client;
use super::super::table::print;
use super::super::{FAILED, Outcome, USAGE, failed_with, terminal};
use super::SeriesArgs;
use super::arguments::params;
use super::chart::{Chart, Line, columns, number};
use super::top::NO_VALUE;
use crate::query::TimeRange;
use crate::query::buckets::interval_within;
use crate::visible::{visible, visible_json};

/// The name of the line of all keys that have no line.
const OTHER: &str = "(other)";

/// A series of counts, or of values.
#[derive(Deserialize)]
struct Series {
    interval_s: i64,
    buckets: Vec<Timestamp>,
    partial: bool,
    series: Vec<KeySeries>,
    /// Counts only.
    #[serde(default)]
    other: Vec<f64>,
}

#[derive(Deserialize)]
struct KeySeries {
    key: Option<String>,
    #[serde(alias = "counts")]
    values: Vec<Option<f64>>,
}

/// Runs `guard-server series`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn series(args: &SeriesArgs) -> Outcome<()> {
    let client = Client::new(&args.server)?;
    let room = columns(terminal::width(), args.by.is_some());
    let zone = args.tz.iana_name().map(str::to_owned);
    let interval = args.interval.clone().or_else(|| fitting(args, room));
    let mut params = params([("by", &args.by), ("tz", &zone), ("interval", &interval)]);
    params.extend(args.selection.params());
    params.extend(args.metric.params());
    let request = client.in_project(Method::GET, &[args.metric.records(), "series"]);
    let text = client.text(request.query(&params)).await?;
    if args.json {
        return print(once(visible_json(&text).into_owned()));
    }
    let series: Series = serde_json::from_str(&text).map_err(failed_with(FAILED))?;
    let bars = series.buckets.len();
    if bars > room {
        let message = format!(
            "--interval: the terminal has room for {room} bars, not {bars}; give a longer one, or \
             --json"
        );
        return Err((USAGE, message));
    }
    let title = title(args, series.interval_s);
    let is_partial = series.partial;
    let chart = chart(series, args);
    if chart.is_empty() {
        eprintln!("no {} match in this range", args.metric.records());
        return Ok(());
    }
    print(once(title).chain(chart.draw(terminal::width(), terminal::has_colours())))?;
    if is_partial {
        eprintln!("the last bar is not complete: its time is not over");
    }
    Ok(())
}

/// The shortest usual interval that makes at most `room` bars. The server says what is wrong with a
/// range.
fn fitting(args: &SeriesArgs, room: usize) -> Option<String> {
    let [from, to] = [&args.selection.from, &args.selection.to].map(Option::as_deref);
    let range = TimeRange::parse(from, to, Timestamp::now()).ok()?;
    // Buckets begin at multiples of their length, so a range may touch one more.
    let most = i64::try_from(room).ok()? - 1;
    Some(interval_within(range, most).to_string())
}

fn title(args: &SeriesArgs, interval_s: i64) -> String {
    let what = match (&args.metric.metric, &args.metric.stat) {
        (Some(metric), Some(stat)) => format!("{stat} of {metric}"),
        _ => "events".to_owned(),
    };
    let by = args.by.as_ref().map(|by| format!(" by {by}"));
    let (interval, by) = (length(interval_s), by.unwrap_or_default());
    let title = format!("{what}{by}; a bar is {interval}");
    visible(&title).into_owned()
}

/// A length in words, such as `15 minutes`.
fn length(seconds: i64) -> String {
    let units = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let whole = units.into_iter().find(|(unit, _)| seconds % unit == 0);
    let (unit, name) = whole.unwrap_or((1, "second"));
    match seconds / unit {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

fn chart(series: Series, args: &SeriesArgs) -> Chart {
    // The sum of a p95 over endpoints says nothing; a sum of counts does.
    let is_additive = matches!(args.metric.stat.as_deref(), None | Some("count" | "sum"));
    let is_divided = args.by.is_some();
    let named = |name: String, values: Vec<Option<f64>>| {
        let present = values.iter().flatten().copied();
        let summary = if is_additive {
            present.sum()
        } else {
            present.fold(f64::NEG_INFINITY, f64::max)
        };
        let summary = if summary.is_finite() {
            number(summary)
        } else {
            "-".to_owned()
        };
        Line {
            name: visible(&name).into_owned(),
            values,
            summary,
        }
    };
    let keys = series.series.into_iter().map(|key| {
        let name = if is_divided {
            key.key.unwrap_or_else(|| NO_VALUE.to_owned())
        } else {
            String::new()
        };
        named(name, key.values)
    });
    let mut lines: Vec<_> = keys.collect();
    let other = series.other.into_iter().map(Some).collect::<Vec<_>>();
    if other.iter().flatten().any(|count| *count > 0.0) {
        let name = if is_divided { OTHER } else { "" };
        lines.push(named(name.to_owned(), other));
    }
    Chart {
        starts: series.buckets,
        zone: args.tz.clone(),
        lines,
        is_stacked: is_additive,
        summary: if is_additive { "TOTAL" } else { "MAX" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_told_in_its_largest_whole_unit() {
        for (seconds, expected) in [
            (1, "1 second"),
            (90, "90 seconds"),
            (900, "15 minutes"),
            (7200, "2 hours"),
            (86_400, "1 day"),
            (604_800, "7 days"),
        ] {
            assert_eq!(length(seconds), expected);
        }
    }
}
