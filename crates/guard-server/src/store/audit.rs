//! The audit log.

use jiff::Timestamp;

use super::{BoxFuture, Cursor};
use crate::people::{AuditEntry, AuditFilter, AuditPage};

/// The audit log. Entries are added and, when they are old, removed. They never change.
pub trait Audit: Send + Sync {
    /// Adds an entry.
    fn record(&self, entry: AuditEntry) -> BoxFuture<'_, ()>;

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
