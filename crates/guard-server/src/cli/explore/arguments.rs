//! The command-line arguments.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::super::client::ServerArgs;
use crate::query::filter::MAX_FILTER_BYTES;

/// Which records.
#[derive(Debug, Args)]
pub struct SelectionArgs {
    /// Only records that match, such as 'status_code:>=400 -country:DE endpoint:/api/*'
    #[arg(
        long,
        value_name = "FILTER",
        allow_hyphen_values = true,
        value_parser = short_enough
    )]
    pub filter: Option<String>,
    /// The first moment: -15m, -24h, -7d, or such as 2026-01-31T12:00:00Z; by default a day before
    /// the end
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// The end, which is not included; by default now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
}

impl SelectionArgs {
    /// The parameters of a call.
    pub(super) fn params(&self) -> Vec<(&'static str, String)> {
        params([
            ("filter", &self.filter),
            ("from", &self.from),
            ("to", &self.to),
        ])
    }
}

/// The parameters that are given.
pub(super) fn params<const N: usize>(
    all: [(&'static str, &Option<String>); N],
) -> Vec<(&'static str, String)> {
    let given = |(name, value): (_, &Option<String>)| Some((name, value.clone()?));
    all.into_iter().filter_map(given).collect()
}

/// A statistic of metrics, in place of the number of events.
#[derive(Debug, Args)]
pub struct MetricArgs {
    /// Show this metric instead of events, such as response_time
    #[arg(long, value_name = "METRIC", requires = "stat")]
    pub metric: Option<String>,
    /// What of it: count, sum, avg, min, max, p50, p95 or p99
    #[arg(long, value_name = "STAT", requires = "metric")]
    pub stat: Option<String>,
}

impl MetricArgs {
    /// The records that the call is about, as in its path.
    pub(super) const fn records(&self) -> &'static str {
        if self.metric.is_some() {
            "metrics"
        } else {
            "events"
        }
    }

    /// The parameters of a call.
    pub(super) fn params(&self) -> Vec<(&'static str, String)> {
        params([("metric", &self.metric), ("stat", &self.stat)])
    }
}

/// List events, newest first
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The events.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The most events
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub limit: u32,
    /// The zone in which times are shown, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub tz: TimeZone,
    /// Print each event as the API returns it, one a line
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Show the most frequent values of a field, or the largest values of a metric
#[derive(Debug, Args)]
pub struct TopArgs {
    /// The field, such as ip_address or metadata.guard.rule.id
    #[arg(long, value_name = "FIELD")]
    pub by: Option<String>,
    /// The records.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The metric.
    #[command(flatten)]
    pub metric: MetricArgs,
    /// The most values, up to 1000
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub limit: u32,
    /// The zone in which times are shown, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub tz: TimeZone,
    /// Print the answer of the API
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Draw a chart of events, or of a metric, over time
#[derive(Debug, Args)]
pub struct SeriesArgs {
    /// Divide the records by a field, such as event_type; the 12 most frequent values are shown
    #[arg(long, value_name = "FIELD")]
    pub by: Option<String>,
    /// The records.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The metric.
    #[command(flatten)]
    pub metric: MetricArgs,
    /// Seconds in a bar; by default as many as fit the terminal
    #[arg(long, value_name = "SECONDS")]
    pub interval: Option<String>,
    /// The zone in which days begin and times are shown, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub tz: TimeZone,
    /// Print the answer of the API
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Save all events that match, newest first
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The events.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// How they are written
    #[arg(long, value_name = "FORMAT", default_value = "ndjson")]
    pub format: Format,
    /// Begin CSV with a byte order mark, which some spreadsheets need
    #[arg(long)]
    pub bom: bool,
    /// The file; by default standard output. It has this name once it is complete, before that
    /// NAME.partial
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Print events as they arrive, until you stop it
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only events that match, such as 'status_code:>=400 -country:DE endpoint:/api/*'
    #[arg(
        long,
        value_name = "FILTER",
        allow_hyphen_values = true,
        value_parser = short_enough
    )]
    pub filter: Option<String>,
    /// The zone in which times are shown, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub tz: TimeZone,
    /// Print each event as the API returns it, one a line, and {"missed": N} where N are missing
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line
    Ndjson,
    /// Comma-separated values
    Csv,
}

impl Format {
    /// Its name in the API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// The server knows what is a filter. A much longer one would not even reach it.
fn short_enough(filter: &str) -> Result<String, String> {
    if filter.len() > MAX_FILTER_BYTES {
        return Err(format!("give at most {MAX_FILTER_BYTES} bytes"));
    }
    Ok(filter.to_owned())
}

fn zone(name: &str) -> Result<TimeZone, String> {
    let zone = TimeZone::get(name);
    zone.map_err(|_| "give an IANA zone such as Europe/Berlin, or UTC".to_owned())
}
