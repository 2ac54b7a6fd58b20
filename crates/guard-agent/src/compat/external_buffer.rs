//! Records that leave the agent for the program's hands: taken out of its queue,
//! or held by a buffer of the program's own, which then counts like the queue.

use guard_wire::Kind;
use guard_wire::fields::Fields;

use crate::agent::Agent;
use crate::batching;
use crate::intake;
use crate::report::Level;

impl Agent {
    /// Takes everything that waits of a kind out of the queue, oldest first, each
    /// record as JSON. It is the caller's from then on, and counted as
    /// [`LossReason::Withdrawn`](crate::stats::LossReason::Withdrawn). What is in flight goes on.
    pub fn withdraw(&self, kind: Kind) -> Vec<Vec<u8>> {
        batching::withdraw(&self.shared(), kind)
    }

    /// Encodes a record that a buffer of the program's own is to hold: redacted,
    /// truncated, checked. It counts as queued until [`held_delivered`] or
    /// [`held_lost`] says more. Nothing for a record that cannot be sent, which is
    /// counted and reported, or of a kind that is not taken.
    ///
    /// [`held_delivered`]: Self::held_delivered
    /// [`held_lost`]: Self::held_lost
    pub fn hold(&self, kind: Kind, fields: impl Fields) -> Option<Vec<u8>> {
        let shared = self.shared();
        let record = intake::encode(&shared, kind, fields)?;
        shared.queue.account(|ledger| ledger.hold(kind));
        Some(record)
    }

    /// Counts records of the program's own buffer as delivered.
    pub fn held_delivered(&self, kind: Kind, records: u64) {
        let shared = self.shared();
        shared
            .queue
            .account(|ledger| ledger.deliver_held(kind, records));
        shared.requests.delivered(shared.clock().wall());
    }

    /// Counts a record that the program's own buffer did not take as lost, and
    /// reports why.
    pub fn held_lost(&self, kind: Kind, why: &str) {
        let shared = self.shared();
        shared.queue.account(|ledger| ledger.lose_held(kind));
        shared.report_batch(Level::Error, kind, "buffer_failed", 1, || {
            format!(
                "the program's own buffer did not take a record ({why}): lost; see what it does"
            )
        });
    }

    /// Reports why records of the program's own buffer, this many, stay there.
    pub fn held_back(&self, kind: Kind, records: usize, why: &str) {
        let shared = self.shared();
        shared.report_batch(Level::Warning, kind, "buffer_kept", records, || {
            format!("the program's own buffer was not flushed: {why}; its records stay in it")
        });
    }
}
