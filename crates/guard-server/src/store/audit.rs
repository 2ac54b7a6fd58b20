//! The audit log.

use jiff::Timestamp;

use super::{BoxFuture, Cursor};
use crate::people::{AuditEntry, Scope};

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
