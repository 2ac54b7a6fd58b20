//! Tracks saving for the queue and the journal: which records are unsaved, the
//! store tokens of saved records, and the disposition of settled ones.
//!
//! A record that is settled before it was saved is never written. While the backend
//! answers quickly, this is the usual case.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread::Thread;

use bytes::Bytes;
use guard_wire::Kind;

use crate::ledger::LossReason;

/// Threads to wake.
pub(super) type ThreadsToWake = [Option<Thread>; 2];

/// Disposition of a record that left the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Delivered or lost: the store removes it.
    Done,
    /// Refused by the backend: the store quarantines it.
    Poison(LossReason),
}

/// A record to save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsaved {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

/// Commands for the store about records that it has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreCommands {
    /// Records to remove.
    pub(crate) remove: Vec<u64>,
    /// Records to offer again because they are no longer in memory.
    pub(crate) release: Vec<u64>,
    /// Records to quarantine.
    pub(crate) quarantine: Vec<Poison>,
}

/// A record that the backend refuses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) token: u64,
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
    pub(crate) reason: LossReason,
}

impl StoreCommands {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.release.is_empty() && self.quarantine.is_empty()
    }

    fn settle(&mut self, token: u64, kind: Kind, bytes: &Bytes, disposition: Disposition) {
        match disposition {
            Disposition::Done => self.remove.push(token),
            Disposition::Poison(reason) => self.quarantine.push(Poison {
                token,
                kind,
                bytes: bytes.clone(),
                reason,
            }),
        }
    }
}

/// A thread that saves records. The journal handles all store operations. The optional
/// writer beside it only appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saver {
    Journal,
    Writer,
}

/// A thread that is notified when there is work.
#[derive(Debug, Default)]
struct Listener {
    thread: Option<Thread>,
    /// The thread was notified and has not checked since.
    notified: bool,
}

impl Listener {
    /// Returns the thread to wake, unless it was notified already.
    fn notify(&mut self) -> Option<Thread> {
        if std::mem::replace(&mut self.notified, true) {
            return None;
        }
        self.thread.clone()
    }
}

/// The saving state of the records of a queue.
#[derive(Debug, Default)]
pub(super) struct SaveTracker {
    unsaved: BTreeMap<u64, (Kind, Bytes)>,
    /// Sequence numbers of the records being saved, ascending.
    in_hand: Vec<u64>,
    /// The last attempt to save failed, so the journal makes the next one.
    failed: bool,
    /// Dispositions of records that were settled before their token was known.
    dispositions: HashMap<u64, Disposition>,
    /// Tokens that the store lost and that may belong to records being saved.
    lost: HashSet<u64>,
    /// Tokens by sequence number.
    saved: HashMap<u64, u64>,
    commands: StoreCommands,
    /// The store has records that are not in memory.
    pub(super) backlog: bool,
    journal: Listener,
    writer: Listener,
    /// The writer has saved records since the journal last checked.
    unseen: bool,
}

impl SaveTracker {
    fn listener(&mut self, saver: Saver) -> &mut Listener {
        match saver {
            Saver::Journal => &mut self.journal,
            Saver::Writer => &mut self.writer,
        }
    }

    /// Sets the thread to notify when there is work. A saver that is removed has no
    /// records that it is saving.
    pub(super) fn set_listener(&mut self, saver: Saver, thread: Option<Thread>) {
        if thread.is_none() {
            self.in_hand.clear();
        }
        let notified = false;
        *self.listener(saver) = Listener { thread, notified };
    }

    /// The thread responsible for unsaved records.
    fn saver(&self) -> Saver {
        if self.failed || self.writer.thread.is_none() {
            Saver::Journal
        } else {
            Saver::Writer
        }
    }

    /// Returns the threads to wake, except those already notified. `other_work` says
    /// that the journal has work apart from saving.
    pub(super) fn notify(&mut self, other_work: bool) -> ThreadsToWake {
        let saver = self.saver();
        let unsaved = |by: Saver| !self.unsaved.is_empty() && saver == by;
        let (append, save) = (unsaved(Saver::Writer), unsaved(Saver::Journal));
        let journal = save || other_work || self.unseen || !self.commands.is_empty();
        [
            append.then(|| self.writer.notify()).flatten(),
            journal.then(|| self.journal.notify()).flatten(),
        ]
    }

    pub(super) fn is_notified(&self, saver: Saver) -> bool {
        match saver {
            Saver::Journal => self.journal.notified,
            Saver::Writer => self.writer.notified,
        }
    }

    /// Marks that this saver checks now. Later work notifies it again.
    pub(super) fn clear_notified(&mut self, saver: Saver) {
        self.listener(saver).notified = false;
        self.unseen &= saver == Saver::Writer;
    }

    pub(super) fn add(&mut self, seq: u64, kind: Kind, bytes: Bytes) {
        self.unsaved.insert(seq, (kind, bytes));
    }

    /// Adds a record that was loaded from the store.
    pub(super) fn restore(&mut self, seq: u64, token: u64) {
        self.saved.insert(seq, token);
    }

    pub(super) fn knows(&self, seq: u64) -> bool {
        self.saved.contains_key(&seq)
            || self.unsaved.contains_key(&seq)
            || self.in_hand.binary_search(&seq).is_ok()
    }

    /// Settles a record that left the queue.
    pub(super) fn settle(&mut self, seq: u64, kind: Kind, bytes: &Bytes, disposition: Disposition) {
        if let Some(token) = self.saved.remove(&seq) {
            self.commands.settle(token, kind, bytes, disposition);
        } else if disposition == Disposition::Done && self.unsaved.remove(&seq).is_some() {
            // Settled before it was saved: there is nothing to write.
        } else if !self.in_hand.is_empty() || self.unsaved.contains_key(&seq) {
            self.dispositions.insert(seq, disposition);
        }
    }

    /// Removes a record from memory if it is saved. Returns true if it was.
    pub(super) fn evict(&mut self, seq: u64) -> bool {
        let Some(token) = self.saved.remove(&seq) else {
            return false;
        };
        self.commands.release.push(token);
        self.backlog = true;
        true
    }

    /// Takes the oldest unsaved records that this saver must save, of at most
    /// `max_bytes` but at least one. The caller then calls [`saved`](Self::saved) or
    /// [`not_saved`](Self::not_saved).
    pub(super) fn take_unsaved(&mut self, saver: Saver, max_bytes: usize) -> Vec<Unsaved> {
        if !self.in_hand.is_empty() || saver != self.saver() {
            return Vec::new();
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = self.unsaved.first_entry() {
            bytes += entry.get().1.len();
            if bytes > max_bytes && !group.is_empty() {
                break;
            }
            let (seq, (kind, bytes)) = entry.remove_entry();
            group.push(Unsaved { seq, kind, bytes });
        }
        self.in_hand = group.iter().map(|record| record.seq).collect();
        group
    }

    /// Notes that a group is saved, with the token of each record.
    pub(super) fn saved(&mut self, group: &[Unsaved], tokens: &[u64]) {
        self.in_hand.clear();
        self.unseen |= self.saver() == Saver::Writer;
        self.failed = !self.lost.is_empty();
        for (record, token) in group.iter().zip(tokens) {
            if self.lost.remove(token) {
                self.add_again(record);
                continue;
            }
            match self.dispositions.remove(&record.seq) {
                Some(disposition) => {
                    let Unsaved { kind, bytes, .. } = record;
                    self.commands.settle(*token, *kind, bytes, disposition);
                }
                None => {
                    self.saved.insert(record.seq, *token);
                }
            }
        }
        self.forget_dispositions();
    }

    /// Notes that a group could not be saved.
    pub(super) fn not_saved(&mut self, group: Vec<Unsaved>) {
        self.in_hand.clear();
        self.failed = true;
        for record in &group {
            self.add_again(record);
        }
        self.forget_dispositions();
    }

    fn add_again(&mut self, record: &Unsaved) {
        let Unsaved { seq, kind, bytes } = record;
        if self.dispositions.get(seq) != Some(&Disposition::Done) {
            self.unsaved.insert(*seq, (*kind, bytes.clone()));
        }
    }

    /// The store has lost the records of these tokens. Returns their sequence numbers. The
    /// journal saves them again.
    pub(super) fn unsave(&mut self, tokens: &[u64]) -> Vec<u64> {
        let mut lost: HashSet<u64> = tokens.iter().copied().collect();
        let unsaved = self.saved.extract_if(|_, token| lost.remove(token));
        let unsaved = unsaved.map(|(seq, _)| seq).collect();
        self.failed = true;
        // A token may belong to a group that was just appended but not reported yet.
        if !self.in_hand.is_empty() {
            self.lost.extend(lost);
        }
        unsaved
    }

    /// Drops dispositions of records that no longer need saving. No records may be being saved.
    fn forget_dispositions(&mut self) {
        let unsaved = &self.unsaved;
        self.dispositions.retain(|seq, _| unsaved.contains_key(seq));
        self.lost.clear();
    }

    pub(super) fn take_commands(&mut self) -> StoreCommands {
        std::mem::take(&mut self.commands)
    }

    /// Puts back commands that could not be carried out.
    pub(super) fn put_back(&mut self, mut commands: StoreCommands) {
        commands.remove.append(&mut self.commands.remove);
        commands.release.append(&mut self.commands.release);
        commands.quarantine.append(&mut self.commands.quarantine);
        self.commands = commands;
    }

    pub(super) fn unsaved_count(&self) -> usize {
        self.unsaved.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(records: u64) -> SaveTracker {
        let mut tracker = SaveTracker::default();
        for seq in 0..records {
            tracker.add(seq, Kind::Event, Bytes::from_static(b"{}"));
        }
        tracker
    }

    fn settle(tracker: &mut SaveTracker, seq: u64, disposition: Disposition) {
        tracker.settle(seq, Kind::Event, &Bytes::from_static(b"{}"), disposition);
    }

    fn seqs(group: &[Unsaved]) -> Vec<u64> {
        group.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn records_settled_before_saving_are_never_written() {
        let mut tracker = tracker(3);
        settle(&mut tracker, 1, Disposition::Done);
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Journal, 100)), [0, 2]);
        assert_eq!(tracker.take_commands(), StoreCommands::default());
    }

    #[test]
    fn records_settled_during_saving_are_removed_afterwards() {
        let mut tracker = tracker(3);
        let group = tracker.take_unsaved(Saver::Journal, 100);
        settle(&mut tracker, 1, Disposition::Done);
        tracker.saved(&group, &[10, 11, 12]);
        settle(&mut tracker, 2, Disposition::Done);
        assert_eq!(tracker.take_commands().remove, [11, 12]);
        assert!(tracker.commands.is_empty() && tracker.unsaved.is_empty());
    }

    #[test]
    fn records_being_saved_are_known() {
        let mut tracker = tracker(2);
        let group = tracker.take_unsaved(Saver::Journal, 100);
        assert!(tracker.knows(0) && tracker.knows(1));
        tracker.saved(&group, &[10, 11]);
        assert!(tracker.knows(0) && tracker.knows(1) && !tracker.knows(2));
    }

    #[test]
    fn the_journal_takes_over_records_of_a_failed_writer() {
        let mut tracker = tracker(2);
        tracker.set_listener(Saver::Writer, Some(std::thread::current()));
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Writer, 2)), [0]);
        assert_eq!(tracker.take_unsaved(Saver::Journal, 100), []);
        tracker.set_listener(Saver::Writer, None);
        assert!(!tracker.knows(0));
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Journal, 100)), [1]);
    }

    #[test]
    fn the_journal_saves_records_again_that_the_store_lost() {
        let mut tracker = tracker(3);
        listening(&mut tracker);
        let group = tracker.take_unsaved(Saver::Writer, 100);
        tracker.saved(&group, &[10, 11, 12]);
        assert_eq!(tracker.unsave(&[11, 99]), [1]);
        assert!(tracker.knows(0) && !tracker.knows(1) && tracker.knows(2));
        tracker.add(1, Kind::Event, Bytes::from_static(b"{}"));
        assert_eq!(tracker.take_unsaved(Saver::Writer, 100), []);
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Journal, 100)), [1]);
    }

    #[test]
    fn records_lost_before_their_token_is_reported_are_saved_again() {
        let mut tracker = tracker(3);
        listening(&mut tracker);
        let group = tracker.take_unsaved(Saver::Writer, 100);
        assert!(tracker.unsave(&[10, 11]).is_empty());
        settle(&mut tracker, 1, Disposition::Done);
        tracker.saved(&group, &[10, 11, 12]);
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Journal, 100)), [0]);
        assert!(tracker.knows(2) && !tracker.knows(1));
    }

    #[test]
    fn records_that_failed_to_save_are_unsaved_again_unless_settled() {
        let mut tracker = tracker(3);
        let group = tracker.take_unsaved(Saver::Journal, 100);
        settle(&mut tracker, 1, Disposition::Done);
        tracker.not_saved(group);
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Journal, 100)), [0, 2]);
    }

    fn listening(tracker: &mut SaveTracker) {
        for saver in [Saver::Journal, Saver::Writer] {
            tracker.set_listener(saver, Some(std::thread::current()));
        }
    }

    /// Tells whether the writer and the journal were notified.
    fn notified(tracker: &mut SaveTracker) -> [bool; 2] {
        let notified = tracker.notify(false).map(|thread| thread.is_some());
        tracker.clear_notified(Saver::Writer);
        tracker.clear_notified(Saver::Journal);
        notified
    }

    #[test]
    fn the_writer_saves_until_it_fails_and_resumes_after_the_journal_succeeds() {
        let mut tracker = tracker(1);
        tracker.set_listener(Saver::Journal, Some(std::thread::current()));
        assert_eq!(notified(&mut tracker), [false, true], "there is no writer");
        listening(&mut tracker);
        assert_eq!(notified(&mut tracker), [true, false]);
        assert!(tracker.take_unsaved(Saver::Journal, 100).is_empty());
        let group = tracker.take_unsaved(Saver::Writer, 100);
        tracker.not_saved(group);
        assert_eq!(notified(&mut tracker), [false, true]);
        assert!(tracker.take_unsaved(Saver::Writer, 100).is_empty());
        let group = tracker.take_unsaved(Saver::Journal, 100);
        tracker.saved(&group, &[7]);
        tracker.add(1, Kind::Event, Bytes::new());
        assert_eq!(notified(&mut tracker), [true, false]);
    }

    #[test]
    fn no_saver_takes_records_while_others_are_being_saved() {
        let mut tracker = tracker(2);
        let group = tracker.take_unsaved(Saver::Journal, 2);
        listening(&mut tracker);
        assert!(tracker.take_unsaved(Saver::Writer, 2).is_empty());
        tracker.saved(&group, &[7]);
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Writer, 2)), [1]);
    }

    #[test]
    fn the_journal_checks_records_that_the_writer_saved() {
        let mut tracker = tracker(1);
        listening(&mut tracker);
        let group = tracker.take_unsaved(Saver::Writer, 100);
        tracker.saved(&group, &[7]);
        assert_eq!(notified(&mut tracker), [false, true]);
        assert_eq!(notified(&mut tracker), [false, false]);
    }

    #[test]
    fn a_poison_record_is_saved_first_and_then_quarantined() {
        let mut tracker = tracker(1);
        let poison = Disposition::Poison(LossReason::Rejected);
        settle(&mut tracker, 0, poison);
        let group = tracker.take_unsaved(Saver::Journal, 100);
        tracker.not_saved(group);
        let group = tracker.take_unsaved(Saver::Journal, 100);
        tracker.saved(&group, &[7]);
        let poison = &tracker.take_commands().quarantine[0];
        assert_eq!((poison.token, poison.reason), (7, LossReason::Rejected));
    }

    #[test]
    fn only_saved_records_are_evicted() {
        let mut tracker = tracker(2);
        let group = tracker.take_unsaved(Saver::Journal, 2);
        tracker.saved(&group, &[9]);
        assert!(tracker.evict(0) && !tracker.evict(1));
        assert_eq!(tracker.take_commands().release, [9]);
        assert!(tracker.backlog);
    }

    #[test]
    fn a_group_is_bounded_but_never_empty() {
        let mut tracker = tracker(3);
        let group = tracker.take_unsaved(Saver::Journal, 4);
        assert_eq!(seqs(&group), [0, 1]);
        tracker.saved(&group, &[7, 8]);
        assert_eq!(seqs(&tracker.take_unsaved(Saver::Journal, 1)), [2]);
    }

    #[test]
    fn failed_commands_come_first_the_next_time() {
        let mut tracker = tracker(2);
        let group = tracker.take_unsaved(Saver::Journal, 100);
        tracker.saved(&group, &[4, 5]);
        settle(&mut tracker, 0, Disposition::Done);
        let failed = tracker.take_commands();
        settle(&mut tracker, 1, Disposition::Done);
        tracker.put_back(failed);
        assert_eq!(tracker.take_commands().remove, [4, 5]);
    }
}
