//! Records outside the agent: withdrawn from its queue, or in a buffer of the application. The
//! agent counts the records in such a buffer as it counts those in its queue.

use guard_wire::Kind;
use guard_wire::fields::Fields;

use crate::agent::Agent;
use crate::batching;
use crate::intake;
use crate::report::Level;

impl Agent {
    /// Takes all waiting records of a kind out of the queue, oldest first, each as JSON. They
    /// belong to the caller then, and count as
    /// [`LossReason::Withdrawn`](crate::stats::LossReason::Withdrawn). Records in flight stay.
    pub fn withdraw(&self, kind: Kind) -> Vec<Vec<u8>> {
        batching::withdraw(&self.shared(), kind)
    }

    /// Encodes a record for a buffer of the application: redacts, truncates and checks it. It
    /// counts as queued until [`external_delivered`] or [`external_lost`] is called. Returns `None`
    /// for a record that cannot be sent (it is counted and reported) and for a kind that is
    /// disabled.
    ///
    /// [`external_delivered`]: Self::external_delivered
    /// [`external_lost`]: Self::external_lost
    pub fn encode_external(&self, kind: Kind, fields: impl Fields) -> Option<Vec<u8>> {
        let shared = self.shared();
        let record = intake::encode(&shared, kind, fields)?;
        shared.queue.account(|ledger| ledger.add_external(kind));
        Some(record)
    }

    /// Counts an encoded record no longer, because the application's buffer was replaced before
    /// it got the record. The caller still has the record.
    pub fn external_returned(&self, kind: Kind) {
        let queue = &self.shared().queue;
        queue.account(|ledger| ledger.return_external(kind));
    }

    /// Counts records of the application's buffer as delivered.
    pub fn external_delivered(&self, kind: Kind, records: u64) {
        let shared = self.shared();
        shared
            .queue
            .account(|ledger| ledger.deliver_external(kind, records));
        shared.requests.delivered(shared.clock().wall());
    }

    /// Counts a record as lost that the application's buffer did not accept, and reports
    /// why.
    pub fn external_lost(&self, kind: Kind, why: &str) {
        let shared = self.shared();
        shared.queue.account(|ledger| ledger.lose_external(kind));
        shared.report_batch(Level::Error, kind, "buffer_failed", 1, || {
            format!(
                "the program's own buffer did not take a record ({why}): lost; see what it does"
            )
        });
    }

    /// Reports why this many records stay in the application's buffer.
    pub fn external_kept(&self, kind: Kind, records: usize, why: &str) {
        let shared = self.shared();
        shared.report_batch(Level::Warning, kind, "buffer_kept", records, || {
            format!("the program's own buffer was not flushed: {why}; its records stay in it")
        });
    }
}
