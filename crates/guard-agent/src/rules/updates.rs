//! Notification of new rules.

use std::sync::Arc;

use tokio::sync::watch;

use super::Rules;

/// Notifies about rules that come into force, from [`Agent::rules_updates`](crate::Agent::rules_updates).
///
/// It keeps only the newest rules, so a caller that checks rarely misses the ones between.
/// It belongs to one process: after a fork, the child must create another.
pub struct RulesUpdates {
    receiver: watch::Receiver<Option<Arc<Rules>>>,
}

impl RulesUpdates {
    pub(super) fn new(receiver: watch::Receiver<Option<Arc<Rules>>>) -> Self {
        Self { receiver }
    }

    /// The rules in force now; `None` if there are none.
    pub fn current(&self) -> Option<Arc<Rules>> {
        self.receiver.borrow().clone()
    }

    /// Waits until the rules in force differ from those at the last call, and returns true.
    /// [`current`](Self::current) then returns them. Returns false once the agent is gone.
    /// Works on any executor. Dropping the future loses no change.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }
}
