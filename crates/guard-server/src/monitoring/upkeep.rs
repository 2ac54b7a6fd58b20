//! What is measured about retention, the certificate, and what agents lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::number;

/// The most reasons of losses with a name. Agents may invent reasons; the rest is `other`.
const MAX_REASONS: usize = 50;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

/// The measurements of retention.
#[derive(Debug, Clone, Default)]
pub struct RetentionMeters {
    expired: Family<KindLabels, Counter>,
    expired_bytes: Counter,
    last_run: Gauge,
    used: Gauge,
    reusable: Gauge,
    is_full: Gauge,
}

impl RetentionMeters {
    /// Counts what retention removed: events, metrics, and sums of metrics; and roughly the bytes of
    /// the events and metrics.
    pub(crate) fn removed(&self, events: u64, metrics: u64, rollups: u64, bytes: u64) {
        self.expired_bytes.inc_by(bytes);
        for (kind, n) in [("event", events), ("metric", metrics), ("rollup", rollups)] {
            self.expired.get_or_create(&KindLabels { kind }).inc_by(n);
        }
    }

    /// Retention ran to its end.
    pub(crate) fn ran(&self, now: Timestamp) {
        self.last_run.set(now.as_second());
    }

    /// Another server does the retention.
    pub(super) fn runs_elsewhere(&self) {
        self.last_run.set(0);
    }

    /// What the data takes, what the store can reuse, in bytes, and whether records are refused
    /// because there is too little room.
    pub(crate) fn found(&self, used: u64, reusable: u64, is_full: bool) {
        self.used.set(number(used));
        self.reusable.set(number(reusable));
        self.is_full.set(i64::from(is_full));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "expired_records",
            "Records and hourly sums that retention removed",
            self.expired.clone(),
        );
        registry.register_with_unit(
            "expired",
            "Bytes of the events and metrics that retention removed, roughly",
            Unit::Bytes,
            self.expired_bytes.clone(),
        );
        registry.register_with_unit(
            "retention_last_run_timestamp",
            "When retention last ran to its end here, in seconds since 1970",
            Unit::Seconds,
            self.last_run.clone(),
        );
        registry.register_with_unit(
            "store_used",
            "What the data takes within the store",
            Unit::Bytes,
            self.used.clone(),
        );
        registry.register_with_unit(
            "store_reusable",
            "What the store reuses before it takes more of the disk",
            Unit::Bytes,
            self.reusable.clone(),
        );
        registry.register(
            "storage_full",
            "1 while records are refused because the disk is nearly full, else 0",
            self.is_full.clone(),
        );
    }
}

/// When the certificate in use expires.
#[derive(Debug, Clone, Default)]
pub struct CertificateMeter(Gauge);

impl CertificateMeter {
    /// The certificate in use expires then.
    pub(crate) fn set(&self, expiry: Timestamp) {
        self.0.set(expiry.as_second());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the TLS certificate expires, in seconds since 1970",
            Unit::Seconds,
            self.0.clone(),
        );
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

/// What agents report as lost.
#[derive(Debug, Clone, Default)]
pub(super) struct LossMeters {
    lost: Family<ReasonLabels, Counter>,
    named: Arc<Mutex<BTreeSet<String>>>,
}

impl LossMeters {
    pub(super) fn lost(&self, reason: &str, n: u64) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = named.contains(reason)
            || (named.len() < MAX_REASONS && named.insert(reason.to_owned()));
        drop(named);
        let reason = if is_named { reason } else { "other" }.to_owned();
        self.lost.get_or_create(&ReasonLabels { reason }).inc_by(n);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "agent_losses",
            "Records that agents report as lost, by reason",
            self.lost.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn reasons_beyond_the_limit_are_counted_together() {
        let (meters, mut registry) = (LossMeters::default(), Registry::default());
        meters.register(&mut registry);
        for n in 0..MAX_REASONS + 7 {
            meters.lost(&format!("reason {n}"), 2);
        }
        meters.lost("reason 0", 1);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert_eq!(text.matches("agent_losses_total{").count(), MAX_REASONS + 1);
        assert!(
            text.contains(r#"agent_losses_total{reason="other"} 14"#),
            "{text}"
        );
        assert!(
            text.contains(r#"agent_losses_total{reason="reason 0"} 3"#),
            "{text}"
        );
    }
}
