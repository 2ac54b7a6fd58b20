//! The two kinds of record, and how they differ in the contract.

use std::fmt;

/// The kind of a record. Both kinds share one pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A security event: something the guard saw or did.
    Event,
    /// A metric: one measured number.
    Metric,
}

impl Kind {
    /// Both kinds, events first.
    pub const ALL: [Kind; 2] = [Kind::Event, Kind::Metric];

    /// `"event"` or `"metric"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Event => "event",
            Kind::Metric => "metric",
        }
    }

    /// The key for records of this kind in a batch.
    pub const fn key(self) -> &'static str {
        match self {
            Kind::Event => "events",
            Kind::Metric => "metrics",
        }
    }

    /// The path for unencrypted batches of this kind.
    pub const fn path(self) -> &'static str {
        match self {
            Kind::Event => "/api/v1/events",
            Kind::Metric => "/api/v1/metrics",
        }
    }

    /// An index for arrays with one entry for each kind.
    pub const fn index(self) -> usize {
        match self {
            Kind::Event => 0,
            Kind::Metric => 1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
