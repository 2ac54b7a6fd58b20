//! What the alerts measure.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::number;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvaluationLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    r#type: &'static str,
    outcome: &'static str,
}

/// The measurements of alerts.
#[derive(Debug, Clone, Default)]
pub struct AlertMeters {
    evaluations: Family<EvaluationLabels, Counter>,
    notifications: Family<StateLabels, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    left_out: Counter,
    outbox: Gauge,
    outbox_age: Gauge,
}

impl AlertMeters {
    /// Counts alerts that were evaluated, or could not be.
    pub(crate) fn evaluated(&self, outcome: &'static str, n: u64) {
        let labels = EvaluationLabels { outcome };
        self.evaluations.get_or_create(&labels).inc_by(n);
    }

    /// Counts notifications that were made.
    pub(crate) fn told(&self, state: &'static str, n: u64) {
        if n > 0 {
            self.notifications
                .get_or_create(&StateLabels { state })
                .inc_by(n);
        }
    }

    /// Counts notifications that were left out because the outbox is full.
    pub(crate) fn left_out(&self, n: u64) {
        self.left_out.inc_by(n);
    }

    /// Counts an attempt to deliver: `delivered`, `failed` or `given_up`.
    pub(crate) fn attempted(&self, r#type: &'static str, outcome: &'static str) {
        let labels = DeliveryLabels { r#type, outcome };
        self.deliveries.get_or_create(&labels).inc();
    }

    /// Shows how many notifications wait, and for how many seconds the oldest does.
    pub(crate) fn outbox(&self, waiting: u64, age_s: u64) {
        self.outbox.set(number(waiting));
        self.outbox_age.set(number(age_s));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "alert_evaluations",
            "Evaluations of single alerts, by outcome",
            self.evaluations.clone(),
        );
        registry.register(
            "alert_notifications",
            "Changes of alerts that were told, by state; each may go to several channels",
            self.notifications.clone(),
        );
        registry.register(
            "alert_deliveries",
            "Attempts to deliver notifications, by type of channel and outcome",
            self.deliveries.clone(),
        );
        registry.register(
            "alert_left_out",
            "Notifications left out because too many wait",
            self.left_out.clone(),
        );
        registry.register(
            "alert_outbox",
            "Notifications that wait to be delivered",
            self.outbox.clone(),
        );
        registry.register_with_unit(
            "alert_outbox_age",
            "Age of the oldest notification that waits",
            Unit::Seconds,
            self.outbox_age.clone(),
        );
    }
}
