//! What the server counts and measures about itself, in the text formats of Prometheus.
//! Every label has few values: routes, methods, status codes and fixed words.

mod alerts;
mod meters;
mod upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use self::alerts::AlertMeters;
pub(crate) use self::meters::TailMeters;
pub use self::meters::{ConnectionMeters, StoreMeters};
use self::upkeep::LossMeters;
pub use self::upkeep::{CertificateMeter, RetentionMeters};

/// The content type of OpenMetrics.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of the older text format of Prometheus.
pub(crate) const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What the names begin with.
const PREFIX: &str = "guard_server";
/// Upper bounds of the time buckets, in seconds. Requests for rules are held for up to a minute.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecordLabels {
    kind: &'static str,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// It is new, and stored.
    Stored,
    /// It is stored already.
    Duplicate,
    /// It was left out.
    Invalid,
}

/// The measurements of a server.
pub(crate) struct Monitor {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    records: Family<RecordLabels, Counter>,
    wrong_keys: Gauge,
    memory: Gauge,
    files: Gauge,
    sessions: Gauge,
    leads: Gauge,
    losses: LossMeters,
    store: StoreMeters,
    pub(crate) connections: ConnectionMeters,
    pub(crate) retention: RetentionMeters,
    pub(crate) alerts: AlertMeters,
    pub(crate) tails: TailMeters,
}

impl Monitor {
    /// Also shows the measurements of the store.
    pub(crate) fn new(store: StoreMeters) -> Self {
        let monitor = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            refusals: Family::default(),
            records: Family::default(),
            wrong_keys: Gauge::default(),
            memory: Gauge::default(),
            files: Gauge::default(),
            sessions: Gauge::default(),
            leads: Gauge::default(),
            losses: LossMeters::default(),
            store,
            connections: ConnectionMeters::default(),
            retention: RetentionMeters::default(),
            alerts: AlertMeters::default(),
            tails: TailMeters::default(),
        };
        monitor.registered()
    }

    fn registered(mut self) -> Self {
        let registry = self.registry.sub_registry_with_prefix(PREFIX);
        registry.register("requests", "Answered requests", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time to answer a request; those for rules are held until rules change",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register(
            "refusals",
            "Refused requests, by the code of the answer",
            self.refusals.clone(),
        );
        registry.register(
            "records",
            "Records received, by what became of them",
            self.records.clone(),
        );
        registry.register(
            "wrong_keys",
            "Wrong keys and passwords since the start",
            self.wrong_keys.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Memory of the process",
            Unit::Bytes,
            self.memory.clone(),
        );
        registry.register("open_files", "Open file descriptors", self.files.clone());
        registry.register(
            "sessions",
            "Sessions of people who signed in",
            self.sessions.clone(),
        );
        registry.register(
            "leader",
            "1 on the server that does the work that is done once for all, else 0",
            self.leads.clone(),
        );
        self.losses.register(registry);
        self.store.register(registry);
        self.connections.register(registry);
        self.alerts.register(registry);
        self.retention.register(registry);
        self.tails.register(registry);
        self
    }

    /// Also shows when the certificate expires.
    pub(crate) fn with_certificate(mut self, meter: &CertificateMeter) -> Self {
        meter.register(self.registry.sub_registry_with_prefix(PREFIX));
        self
    }

    /// Counts an answered request. `route` is `None` for a path that does not exist.
    pub(crate) fn answered(
        &self,
        route: Option<&str>,
        method: &'static str,
        status: u16,
        took: Duration,
    ) {
        let route = route.unwrap_or("none").to_owned();
        let labels = RouteLabels {
            route: route.clone(),
        };
        self.request_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        let labels = RequestLabels {
            route,
            method,
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a refused request.
    pub(crate) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { code }).inc();
    }

    /// Counts records of a kind.
    pub(crate) fn received(&self, kind: &'static str, outcome: Outcome, n: u64) {
        if n > 0 {
            let labels = RecordLabels { kind, outcome };
            self.records.get_or_create(&labels).inc_by(n);
        }
    }

    /// Counts records that an agent lost, by reason.
    pub(crate) fn lost(&self, by_reason: &BTreeMap<String, u64>) {
        for (reason, n) in by_reason {
            self.losses.lost(reason, *n);
        }
    }

    /// Sets how many people are signed in.
    pub(crate) fn set_sessions(&self, n: u64) {
        self.sessions.set(number(n));
    }

    /// Sets whether this server leads. What only the leading server measures is 0 on the others.
    pub(crate) fn set_leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
        if !leads {
            self.retention.runs_elsewhere();
            self.alerts.outbox(0, 0);
        }
    }

    /// All measurements as text.
    pub(crate) fn text(&self, wrong_keys: u64) -> Result<String, fmt::Error> {
        self.wrong_keys.set(number(wrong_keys));
        self.memory.set(number(resident_bytes()));
        self.files.set(number(open_files()));
        self.store.refresh();
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// OpenMetrics in the older text format: comments name a counter as its samples do, and there are no
/// units.
pub(crate) fn plain(open_metrics: &str) -> String {
    let mut lines = open_metrics.lines().peekable();
    let mut text = String::with_capacity(open_metrics.len());
    while let Some(line) = lines.next() {
        let of_counter = |line: &&str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let is_counter = of_counter(&line) || lines.peek().is_some_and(of_counter);
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", "UNIT" | "EOF", ..] => continue,
            ["#", what @ ("HELP" | "TYPE"), name, rest] if is_counter => {
                text.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_as_their_samples_do() {
        let open_metrics = "# HELP a A.\n# TYPE a counter\na_total 1\n# HELP b_bytes B.\n\
            # TYPE b_bytes gauge\n# UNIT b_bytes bytes\nb_bytes 2\n# EOF\n";
        let expected = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n# HELP b_bytes B.\n\
            # TYPE b_bytes gauge\nb_bytes 2\n";
        assert_eq!(plain(open_metrics), expected);
    }
}
