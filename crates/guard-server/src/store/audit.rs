//! The audit log.

use jiff::Timestamp;

use super::{AddOutcome, BoxFuture, Cursor, RulesOutcome};
use crate::people::{AuditEntry, PersonOutcome, Scope};

/// Which entries of the audit log to return.
#[derive(Debug, Clone)]
pub struct AuditFilter {
    /// By this author only.
    pub who: Option<String>,
    /// With this action only.
    pub action: Option<String>,
    /// In this project only.
    pub project: Option<String>,
    /// From this time on.
    pub from: Timestamp,
    /// Before this time.
    pub to: Timestamp,
    /// In these projects only. Entries without a project are for [`Scope::All`].
    pub scope: Scope,
}

/// A part of the audit log, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// The entries.
    pub items: Vec<AuditEntry>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// The audit log. Entries are added and, when they are old, removed. They never change.
///
/// The calls of other stores that change something take the `entry` for this log. They store it in the
/// commit of the change, and only if the change is made. So neither is ever there without the other.
/// It is `None` for what is no decision of anybody, such as the renewal of a lease.
pub trait Audit: Send + Sync {
    /// The entries that match, newest first, at most `limit`, from `cursor` on.
    fn audit(
        &self,
        filter: AuditFilter,
        cursor: Option<Cursor>,
        limit: u16,
    ) -> BoxFuture<'_, AuditPage>;

    /// Removes entries older than `before`, at most `limit`. Returns how many.
    fn expire_audit(&self, before: Timestamp, limit: u32) -> BoxFuture<'_, u64>;
}

/// What became of a change.
pub(super) trait Outcome {
    /// Whether it was made, so that the audit log has it.
    fn is_made(&self) -> bool;
}

impl Outcome for bool {
    fn is_made(&self) -> bool {
        *self
    }
}

/// What was removed or changed, if it was there.
impl<T> Outcome for Option<T> {
    fn is_made(&self) -> bool {
        self.is_some()
    }
}

/// A change that is always made.
impl Outcome for () {
    fn is_made(&self) -> bool {
        true
    }
}

/// How many were removed. The log has it even if there were none.
impl Outcome for u64 {
    fn is_made(&self) -> bool {
        true
    }
}

impl Outcome for AddOutcome {
    fn is_made(&self) -> bool {
        *self == Self::Added
    }
}

impl Outcome for PersonOutcome {
    fn is_made(&self) -> bool {
        *self == Self::Changed
    }
}

impl Outcome for RulesOutcome {
    fn is_made(&self) -> bool {
        *self == Self::Set
    }
}

/// The place of an entry in the log: entries of the same microsecond are ordered by id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) at: i64,
    pub(super) id: i64,
}

impl Position {
    pub(super) const NEWEST: Self = Self {
        at: i64::MAX,
        id: i64::MAX,
    };

    pub(super) fn to_bytes(self) -> [u8; 16] {
        let pair =
            (u128::from(self.at.cast_unsigned()) << 64) | u128::from(self.id.cast_unsigned());
        pair.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        let (mut at, mut id) = ([0; 8], [0; 8]);
        at.copy_from_slice(&bytes[..8]);
        id.copy_from_slice(&bytes[8..]);
        Self {
            at: i64::from_be_bytes(at),
            id: i64::from_be_bytes(id),
        }
    }
}
