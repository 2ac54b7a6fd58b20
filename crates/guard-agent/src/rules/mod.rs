//! Dynamic rules: followed from when somebody asks for them, known at once,
//! kept for as long as they say.
//!
//! ```text
//! pipeline/follow_rules.rs   the loop: asks, is held until the rules change, or asks again after a while
//!   -> response.rs   what an answer says; a document is checked as a whole or refused
//!   -> schedule.rs     when to ask again
//!   -> known.rs    what is in force: read by callers, announced to RulesUpdates
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

/// After a fetch that failed or brought no rules, callers make no other sooner.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How long a backend is asked to hold a request for rules until they change.
pub const RULES_HOLD: Duration = Duration::from_secs(30);
/// How long, at the start, the backend may take before rules kept on disk are used.
pub const RULES_PATIENCE: Duration = Duration::from_secs(1);

/// A rules document, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The fields, as the contract names them.
    pub document: DynamicRules,
    /// The document as the backend sent it: a JSON object.
    pub json: String,
}
