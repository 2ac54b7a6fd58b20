//! The queue operations that the journal uses.

use std::thread::Thread;
use std::time::Instant;

use bytes::Bytes;
use guard_wire::Kind;

use super::save_tracker::{SaveTracker, Saver, StoreCommands, Unsaved};
use super::{Limits, Queue};
use crate::config::OverflowPolicy;
use crate::ledger::LossReason;
use crate::store::Stored;
use crate::sync::lock;

impl Queue {
    /// Enables saving to a store. Returns true if it was off. Copies are refused from now
    /// on, and waiting copies must be encoded.
    pub(crate) fn enable_persistence(&self) -> bool {
        let mut state = lock(&self.state);
        let is_new = state.tracker.is_none();
        state.tracker.get_or_insert_with(SaveTracker::default);
        is_new
    }

    /// Notifies this thread from now on when it has work.
    pub(crate) fn set_listener(&self, saver: Saver, thread: Thread) {
        let mut state = lock(&self.state);
        if let Some(tracker) = &mut state.tracker {
            tracker.set_listener(saver, Some(thread));
        }
        state.mark_unsaved();
        self.unlock_and_notify(state);
    }

    /// Stops notifying the saver's thread.
    pub(crate) fn remove_listener(&self, saver: Saver) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.set_listener(saver, None);
        }
    }

    /// Takes the commands for the store. Later work notifies the journal again.
    pub(crate) fn take_commands(&self) -> StoreCommands {
        let mut state = lock(&self.state);
        state
            .tracker
            .as_mut()
            .map(SaveTracker::take_commands)
            .unwrap_or_default()
    }

    /// Takes the oldest unsaved records that this saver must save, of at most
    /// `max_bytes` but at least one. The caller then calls [`saved`](Self::saved) or
    /// [`not_saved`](Self::not_saved).
    pub(crate) fn take_unsaved(&self, saver: Saver, max_bytes: usize) -> Vec<Unsaved> {
        let mut state = lock(&self.state);
        let tracker = state.tracker.as_mut();
        tracker
            .map(|tracker| tracker.take_unsaved(saver, max_bytes))
            .unwrap_or_default()
    }

    /// Number of bytes of the store's backlog that memory has room for.
    pub(crate) fn room_for_backlog(&self) -> Option<usize> {
        lock(&self.state).room_for_backlog()
    }

    /// Notes that a group is saved, with the token of each record.
    pub(crate) fn saved(&self, group: &[Unsaved], tokens: &[u64]) {
        let mut state = lock(&self.state);
        if let Some(tracker) = &mut state.tracker {
            tracker.saved(group, tokens);
        }
        self.unlock_and_notify(state);
        // Saved records can be evicted to make room.
        self.changed.notify_all();
    }

    /// Notes that a group could not be saved. It waits for the journal's next attempt.
    pub(crate) fn not_saved(&self, group: Vec<Unsaved>) {
        let mut state = lock(&self.state);
        if let Some(tracker) = &mut state.tracker {
            tracker.not_saved(group);
        }
        self.unlock_and_notify(state);
    }

    /// Puts back commands that could not be carried out, for the next attempt.
    pub(crate) fn put_back(&self, commands: StoreCommands) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.put_back(commands);
        }
    }

    /// Marks records for saving that were queued before there was a store.
    pub(crate) fn mark_unsaved(&self) {
        lock(&self.state).mark_unsaved();
    }

    /// True if this saver was notified and has not checked since.
    pub(crate) fn is_notified(&self, saver: Saver) -> bool {
        let state = lock(&self.state);
        state
            .tracker
            .as_ref()
            .is_some_and(|tracker| tracker.is_notified(saver))
    }

    /// Marks that this saver checks now. Later work notifies it again.
    pub(crate) fn clear_notified(&self, saver: Saver) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.clear_notified(saver);
        }
    }

    /// Number of unsaved records.
    pub(crate) fn unsaved(&self) -> usize {
        let state = lock(&self.state);
        state.tracker.as_ref().map_or(0, SaveTracker::unsaved_count)
    }

    /// Sets whether the store has records that are not in memory.
    pub(crate) fn set_backlog(&self, backlog: bool) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.backlog = backlog;
        }
    }

    /// Puts records from the store at the front of the queue, in order. They are due.
    pub(crate) fn restore(&self, records: Vec<Stored>, now: Instant) {
        if records.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for Stored { token, kind, bytes } in records.into_iter().rev() {
            state.ledger.unspool(kind, 1);
            state.restore(kind, Bytes::from(bytes), token);
        }
        state.flush();
        state.recovering = true;
        state.since.get_or_insert(now);
        drop(state);
        self.wake.notify_one();
    }

    /// Counts records (events, metrics) that the store lost and that were not in memory.
    pub(crate) fn lose_spooled(&self, records: [u64; 2], reason: LossReason) {
        let mut state = lock(&self.state);
        for kind in Kind::ALL {
            let lost = records[kind.index()];
            state.ledger.unspool(kind, lost);
            state.ledger.lose(kind, reason, lost);
        }
    }

    /// Accounts for records that another process took over and that were not in memory.
    /// They are in the ledger of that process now.
    pub(crate) fn hand_over(&self, records: [u64; 2]) {
        let mut state = lock(&self.state);
        for kind in Kind::ALL {
            state.ledger.hand_over(kind, records[kind.index()]);
        }
    }

    /// The store has lost the records of these tokens. The journal saves them again,
    /// whether they wait or are in flight.
    pub(crate) fn save_again(&self, tokens: &[u64]) {
        let mut state = lock(&self.state);
        state.save_again(tokens);
        self.unlock_and_notify(state);
    }

    /// Evicts all waiting records that are saved. The store keeps them.
    pub(crate) fn evict_all(&self) {
        lock(&self.state).evict_all();
        self.changed.notify_all();
    }

    /// True if the policy allows dropping records to make room.
    pub(crate) fn drops(&self) -> bool {
        let Limits { policy, .. } = lock(&self.state).limits;
        policy == OverflowPolicy::Drop
    }
}
