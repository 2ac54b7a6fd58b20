//! The ledger: counts every record that an agent received, and its outcome.
//!
//! A plain table of numbers. It is guarded by the queue's lock, so that every reader sees
//! `accepted = delivered + queued + spooled + dropped`.

use std::collections::BTreeMap;

use guard_wire::Kind;
use guard_wire::status::LedgerReport;

/// Every way to lose a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// The buffer was full.
    QueueFull,
    /// The record lacked a required field or had content that cannot be sent.
    Invalid,
    /// The record alone exceeds the maximum batch size.
    TooLarge,
    /// The backend refuses this record but accepts others.
    Rejected,
    /// The process ended before the record could be delivered.
    Stopped,
    /// The spool was full.
    SpoolFull,
    /// The record can no longer be read from the spool.
    SpoolDamaged,
    /// The program withdrew the record or discarded it.
    Withdrawn,
    /// The program's own buffer did not accept the record.
    BufferFailed,
}

impl LossReason {
    /// All reasons.
    pub const ALL: [LossReason; 9] = [
        LossReason::QueueFull,
        LossReason::Invalid,
        LossReason::TooLarge,
        LossReason::Rejected,
        LossReason::Stopped,
        LossReason::SpoolFull,
        LossReason::SpoolDamaged,
        LossReason::Withdrawn,
        LossReason::BufferFailed,
    ];

    /// The name in stats, status reports and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            LossReason::QueueFull => "queue_full",
            LossReason::Invalid => "invalid",
            LossReason::TooLarge => "too_large",
            LossReason::Rejected => "rejected",
            LossReason::Stopped => "stopped",
            LossReason::SpoolFull => "spool_full",
            LossReason::SpoolDamaged => "spool_damaged",
            LossReason::Withdrawn => "withdrawn",
            LossReason::BufferFailed => "buffer_failed",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// The counts for one kind of record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Received from the application, or found in the store of a process that died.
    pub accepted: u64,
    /// Confirmed by the backend.
    pub delivered: u64,
    /// Waiting in memory, or in flight.
    pub queued: u64,
    /// Only in the store, no longer in memory.
    pub spooled: u64,
    /// Part of `accepted`: found in the store of a process that died.
    pub recovered: u64,
    /// Part of `queued`: in the program's own buffer.
    external: u64,
    dropped: [u64; LossReason::ALL.len()],
}

impl Account {
    /// Lost for this reason.
    pub fn dropped(&self, reason: LossReason) -> u64 {
        self.dropped[reason.index()]
    }

    /// Lost for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Lost for any reason other than a withdrawal by the program.
    pub fn failed(&self) -> u64 {
        self.dropped_total() - self.dropped(LossReason::Withdrawn)
    }
}

/// The counts for both kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    accounts: [Account; 2],
}

impl Ledger {
    /// The counts for one kind.
    pub fn account(&self, kind: Kind) -> &Account {
        &self.accounts[kind.index()]
    }

    /// The sum over both kinds, in the form of reports.
    pub fn report(&self) -> LedgerReport {
        let mut report = LedgerReport::default();
        let mut dropped = BTreeMap::new();
        for account in &self.accounts {
            report.accepted += account.accepted;
            report.delivered += account.delivered;
            report.queued += account.queued;
            report.spooled += account.spooled;
            for reason in LossReason::ALL {
                let lost = account.dropped(reason);
                if lost > 0 {
                    *dropped.entry(reason.as_str().to_owned()).or_default() += lost;
                }
            }
        }
        report.dropped = dropped;
        report
    }

    /// Counts a record that was received and queued.
    pub(crate) fn queue(&mut self, kind: Kind) {
        let account = self.account_mut(kind);
        account.accepted += 1;
        account.queued += 1;
    }

    /// Counts a record that was received and lost at once.
    pub(crate) fn refuse(&mut self, kind: Kind, reason: LossReason) {
        let account = self.account_mut(kind);
        account.accepted += 1;
        account.dropped[reason.index()] += 1;
    }

    /// Counts queued records that were delivered.
    pub(crate) fn deliver(&mut self, kind: Kind, records: u64) {
        let account = self.account_mut(kind);
        account.queued -= records;
        account.delivered += records;
    }

    /// Counts queued records that were lost.
    pub(crate) fn lose(&mut self, kind: Kind, reason: LossReason, records: u64) {
        let account = self.account_mut(kind);
        account.queued -= records;
        account.dropped[reason.index()] += records;
    }

    /// Counts queued records that were evicted to the store.
    pub(crate) fn spool(&mut self, kind: Kind, records: u64) {
        let account = self.account_mut(kind);
        account.queued -= records;
        account.spooled += records;
    }

    /// Counts records loaded from the store. Records beyond those that this process had evicted
    /// were found: a process that died had accepted them.
    pub(crate) fn unspool(&mut self, kind: Kind, records: u64) {
        let account = self.account_mut(kind);
        let own = records.min(account.spooled);
        account.spooled -= own;
        account.accepted += records - own;
        account.recovered += records - own;
        account.queued += records;
    }

    /// Counts a record received for the program's own buffer.
    pub(crate) fn add_external(&mut self, kind: Kind) {
        self.queue(kind);
        self.account_mut(kind).external += 1;
    }

    /// Counts a record no longer that did not reach the program's own buffer and is sent again.
    pub(crate) fn return_external(&mut self, kind: Kind) {
        let account = self.account_mut(kind);
        if account.external > 0 {
            account.external -= 1;
            account.queued -= 1;
            account.accepted -= 1;
        }
    }

    /// Counts records of the program's own buffer that were delivered. Some may have been in it
    /// before this agent was created.
    pub(crate) fn deliver_external(&mut self, kind: Kind, records: u64) {
        let account = self.account_mut(kind);
        let known = records.min(account.external);
        account.external -= known;
        account.accepted += records - known;
        account.queued += records - known;
        self.deliver(kind, records);
    }

    /// Counts a record that was lost before it reached the program's own buffer.
    pub(crate) fn lose_external(&mut self, kind: Kind) {
        let account = self.account_mut(kind);
        if account.external > 0 {
            account.external -= 1;
            self.lose(kind, LossReason::BufferFailed, 1);
        }
    }

    /// Counts evicted records that another process took over. That process has counted them as
    /// found.
    pub(crate) fn hand_over(&mut self, kind: Kind, records: u64) {
        let account = self.account_mut(kind);
        let own = records.min(account.spooled);
        account.spooled -= own;
        account.accepted -= own;
    }

    fn account_mut(&mut self, kind: Kind) -> &mut Account {
        &mut self.accounts[kind.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_record_keeps_the_balance() {
        let mut ledger = Ledger::default();
        for _ in 0..5 {
            ledger.queue(Kind::Event);
        }
        ledger.refuse(Kind::Metric, LossReason::Invalid);
        ledger.deliver(Kind::Event, 3);
        ledger.lose(Kind::Event, LossReason::Rejected, 1);
        ledger.unspool(Kind::Event, 3);
        ledger.spool(Kind::Event, 4);
        ledger.unspool(Kind::Event, 1);
        assert_eq!(ledger.account(Kind::Event).recovered, 3);
        ledger.spool(Kind::Event, 1);
        ledger.hand_over(Kind::Event, 1);
        let report = ledger.report();
        assert!(report.is_balanced());
        assert_eq!(
            (report.accepted, report.delivered, report.queued),
            (8, 3, 0)
        );
        assert_eq!(report.spooled, 3);
        assert_eq!(report.dropped["rejected"], 1);
        assert_eq!(report.dropped["invalid"], 1);
    }

    #[test]
    fn records_in_an_external_buffer_keep_the_balance() {
        let mut ledger = Ledger::default();
        ledger.queue(Kind::Event);
        for _ in 0..4 {
            ledger.add_external(Kind::Event);
        }
        ledger.return_external(Kind::Event);
        ledger.lose_external(Kind::Event);
        ledger.deliver_external(Kind::Event, 5);
        ledger.lose_external(Kind::Event);
        ledger.return_external(Kind::Event);
        let report = ledger.report();
        assert!(report.is_balanced());
        assert_eq!(
            (report.accepted, report.delivered, report.queued),
            (7, 5, 1)
        );
        assert_eq!(report.dropped["buffer_failed"], 1);
    }

    #[test]
    fn reasons_have_distinct_names_and_indexes() {
        for (index, reason) in LossReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
