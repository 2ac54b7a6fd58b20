//! The key-value operations that the store needs, and the names of its keys.

use guard_wire::Kind;
use std::time::Duration;

use crate::store::StoreError;

/// A key, within the namespace of its kind of record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The kind, which selects the namespace.
    pub kind: Kind,
    /// The name within the namespace.
    pub name: String,
}

impl Key {
    /// `agent_events` or `agent_metrics`.
    pub const fn namespace(kind: Kind) -> &'static str {
        match kind {
            Kind::Event => "agent_events",
            Kind::Metric => "agent_metrics",
        }
    }
}

/// A key-value store that others may share, such as the Redis behind the handler
/// of a guard. Each call carries several operations and ends within a bounded time.
/// After an error, some of the operations may have been done.
pub trait KeyValue: Send {
    /// Returns the values of keys, in order; `None` for a key that does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when any operation failed.
    fn get(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError>;

    /// Sets keys. They expire after `life`, or never if it is `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when any operation failed.
    fn set(
        &mut self,
        entries: Vec<(Key, String)>,
        life: Option<Duration>,
    ) -> Result<(), StoreError>;

    /// Deletes keys. Returns for each key, in order, whether it existed as far as the
    /// store can tell. If two processes delete one key, only one is told that it existed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when any operation failed.
    fn delete(&mut self, keys: &[Key]) -> Result<Vec<bool>, StoreError>;

    /// Returns the names of all keys in the namespace of a kind.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    fn names(&mut self, kind: Kind) -> Result<Vec<String>, StoreError>;
}
