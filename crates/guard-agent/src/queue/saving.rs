//! The queue as the journal sees it.

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
    /// From now on there is a store; whether there was none. No copies come in any more:
    /// those that wait are to be encoded.
    pub(crate) fn enable_persistence(&self) -> bool {
        let mut state = lock(&self.state);
        let is_new = state.tracker.is_none();
        state.tracker.get_or_insert_with(SaveTracker::default);
        is_new
    }

    /// From now on this thread is told when there is something to do for it.
    pub(crate) fn attend(&self, saver: Saver, thread: Thread) {
        let mut state = lock(&self.state);
        if let Some(tracker) = &mut state.tracker {
            tracker.attend(saver, Some(thread));
        }
        state.mark_unsaved();
        self.unlock_and_call(state);
    }

    /// Its thread is told no more.
    pub(crate) fn dismiss(&self, saver: Saver) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.attend(saver, None);
        }
    }

    /// What the store is to do with records it has. The journal is told of
    /// whatever comes after this.
    pub(crate) fn take_commands(&self) -> StoreCommands {
        let mut state = lock(&self.state);
        state
            .tracker
            .as_mut()
            .map(SaveTracker::take_commands)
            .unwrap_or_default()
    }

    /// The oldest records that are not saved and that this one is to save, of at most
    /// `max_bytes` but at least one. They are answered by [`saved`](Self::saved) or
    /// [`not_saved`](Self::not_saved).
    pub(crate) fn take_unsaved(&self, saver: Saver, max_bytes: usize) -> Vec<Unsaved> {
        let mut state = lock(&self.state);
        let tracker = state.tracker.as_mut();
        tracker
            .map(|tracker| tracker.take_unsaved(saver, max_bytes))
            .unwrap_or_default()
    }

    /// How many bytes of the store's backlog have room in memory.
    pub(crate) fn room_for_backlog(&self) -> Option<usize> {
        lock(&self.state).room_for_backlog()
    }

    /// A group is saved, each record under its token.
    pub(crate) fn saved(&self, group: &[Unsaved], tokens: &[u64]) {
        let mut state = lock(&self.state);
        if let Some(tracker) = &mut state.tracker {
            tracker.saved(group, tokens);
        }
        self.unlock_and_call(state);
        // What is saved can make room.
        self.changed.notify_all();
    }

    /// A group could not be saved, and waits for the journal's next attempt.
    pub(crate) fn not_saved(&self, group: Vec<Unsaved>) {
        let mut state = lock(&self.state);
        if let Some(tracker) = &mut state.tracker {
            tracker.not_saved(group);
        }
        self.unlock_and_call(state);
    }

    /// StoreCommands could not be carried out, and wait for the next attempt.
    pub(crate) fn put_back(&self, commands: StoreCommands) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.put_back(commands);
        }
    }

    /// Has records that came before there was a store saved too.
    pub(crate) fn mark_unsaved(&self) {
        lock(&self.state).mark_unsaved();
    }

    /// Whether this one was told that there is something to do, and has not looked
    /// since.
    pub(crate) fn calls(&self, saver: Saver) -> bool {
        let state = lock(&self.state);
        state
            .tracker
            .as_ref()
            .is_some_and(|tracker| tracker.is_called(saver))
    }

    /// This one looks now: what comes from here on calls it again.
    pub(crate) fn answer_call(&self, saver: Saver) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.answer_call(saver);
        }
    }

    /// How many records wait to be saved.
    pub(crate) fn unsaved(&self) -> usize {
        let state = lock(&self.state);
        state.tracker.as_ref().map_or(0, SaveTracker::unsaved_count)
    }

    /// Tells whether the store has records that are not in memory.
    pub(crate) fn set_backlog(&self, backlog: bool) {
        if let Some(tracker) = &mut lock(&self.state).tracker {
            tracker.backlog = backlog;
        }
    }

    /// Puts records out of the store in front, in their order; they are due.
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

    /// The store has lost records that were not in memory: events, metrics.
    pub(crate) fn lose_spooled(&self, records: [u64; 2], reason: LossReason) {
        let mut state = lock(&self.state);
        for kind in Kind::ALL {
            let lost = records[kind.index()];
            state.ledger.unspool(kind, lost);
            state.ledger.lose(kind, reason, lost);
        }
    }

    /// Another process took over records that were not in memory: they are in its
    /// ledger now.
    pub(crate) fn hand_over(&self, records: [u64; 2]) {
        let mut state = lock(&self.state);
        for kind in Kind::ALL {
            state.ledger.hand_over(kind, records[kind.index()]);
        }
    }

    /// The store has lost what it had under these tokens: the journal saves it again,
    /// whether it waits or is on its way.
    pub(crate) fn save_again(&self, tokens: &[u64]) {
        let mut state = lock(&self.state);
        state.save_again(tokens);
        self.unlock_and_call(state);
    }

    /// Leaves all that is saved and waits to the store.
    pub(crate) fn evict_all(&self) {
        lock(&self.state).evict_all();
        self.changed.notify_all();
    }

    /// Whether records may be lost for room.
    pub(crate) fn drops(&self) -> bool {
        let Limits { policy, .. } = lock(&self.state).limits;
        policy == OverflowPolicy::Drop
    }
}
