//! What the store needs of a key-value store, and how its keys are called.

use guard_wire::Kind;
use std::time::Duration;

use crate::store::StoreError;

/// A key, within the namespace of its kind of record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Says the namespace.
    pub kind: Kind,
    /// The rest.
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

/// A key-value store that others may share, such as Redis behind the handler
/// that a guard brings along. Each call carries several operations and ends
/// within a bounded time. After an error some of them may have been done.
pub trait KeyValue: Send {
    /// The values of keys, in order; nothing for a key that does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when any operation failed.
    fn get(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError>;

    /// Sets keys, for `life` if given, else for good.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when any operation failed.
    fn set(
        &mut self,
        entries: Vec<(Key, String)>,
        life: Option<Duration>,
    ) -> Result<(), StoreError>;

    /// Deletes keys; for each, in order, whether it existed as far as the store
    /// can tell. Of two that delete one key, only one is told that it existed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when any operation failed.
    fn delete(&mut self, keys: &[Key]) -> Result<Vec<bool>, StoreError>;

    /// The names of all keys in the namespace of a kind.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    fn names(&mut self, kind: Kind) -> Result<Vec<String>, StoreError>;
}
