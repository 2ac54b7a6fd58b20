//! The two kinds of record, and what differs between them on the wire.

use std::fmt;

/// What a record is. Everything else about the two kinds is one pipeline.
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

    /// The key under which records of this kind stand in a batch.
    pub const fn key(self) -> &'static str {
        match self {
            Kind::Event => "events",
            Kind::Metric => "metrics",
        }
    }

    /// Where batches of this kind are posted in the clear.
    pub const fn path(self) -> &'static str {
        match self {
            Kind::Event => "/api/v1/events",
            Kind::Metric => "/api/v1/metrics",
        }
    }

    /// A small number for arrays with one entry for each kind.
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
