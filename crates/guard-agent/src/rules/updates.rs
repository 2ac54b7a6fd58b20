//! Being told of new rules.

use std::sync::Arc;

use tokio::sync::watch;

use super::Rules;

/// Tells of rules that come into force, from [`Agent::rules_updates`](crate::Agent::rules_updates).
///
/// Holds the newest only: whoever looks rarely misses those between. Belongs to
/// the process it was made in; after a fork the child asks for its own.
pub struct RulesUpdates {
    receiver: watch::Receiver<Option<Arc<Rules>>>,
}

impl RulesUpdates {
    pub(super) fn new(receiver: watch::Receiver<Option<Arc<Rules>>>) -> Self {
        Self { receiver }
    }

    /// The rules in force now, or nothing while there are none.
    pub fn current(&self) -> Option<Arc<Rules>> {
        self.receiver.borrow().clone()
    }

    /// Waits until other rules are in force than the last time this was called, and
    /// returns true; [`current`](Self::current) then has them. False once the agent
    /// is gone. Runs on any executor; nothing is missed when the future is dropped.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }
}
