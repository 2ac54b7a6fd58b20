//! Dynamic rules. They are fetched once a caller asks for them, updated as soon as the
//! backend changes them, and kept until they expire.
//!
//! ```text
//! pipeline/follow_rules.rs   the loop: its request is held until the rules change, or it polls
//!   -> response.rs   parses an answer; a document is accepted as a whole or refused
//!   -> schedule.rs     decides when to ask again
//!   -> known.rs    the rules in force: read by callers, announced to RulesUpdates
//!   -> cache.rs     the last good document on disk, for a start without a backend
//! ```

pub(crate) mod cache;
pub(crate) mod known;
pub(crate) mod response;
pub(crate) mod schedule;
mod updates;

use std::time::Duration;

use guard_wire::rules::DynamicRules;

pub(crate) use known::Known;
pub use updates::RulesUpdates;

/// Minimum time between fetches by callers after one that failed or brought no rules.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How long a backend is asked to hold a request for rules until they change.
pub const RULES_HOLD: Duration = Duration::from_secs(30);
/// At the start, rules stored on disk are used if the backend takes longer than this.
pub const RULES_PATIENCE: Duration = Duration::from_secs(1);

/// A validated rules document.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The fields, named as in the contract.
    pub document: DynamicRules,
    /// The unchanged document from the backend: a JSON object.
    pub json: String,
}
