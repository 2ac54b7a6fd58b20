//! The queue: bounded by records and by bytes, with the ledger inside its lock.
//!
//! The lock is never held across I/O: a batch is taken out, and settled when its
//! disposition is known. Records in flight still count toward the bounds.
//!
//! Every record carries the generation it was queued in. A flush starts a new
//! generation: all older records must be sent at once, whatever their number or
//! age, and the flush ends when all of them are settled.
//!
//! With a store, memory holds the records to send next and the store holds all of
//! them. When memory is full, it evicts the oldest records that are saved. They
//! come back when there is room and the backend accepts records.

mod record;
mod save_tracker;
mod saving;
mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use guard_wire::Kind;
use tokio::sync::Notify;

pub use self::record::RECORD_OVERHEAD;
pub(crate) use self::record::{Incoming, QueuedRecord, Scratch, fitting};
pub(crate) use self::save_tracker::{Disposition, Saver, StoreCommands, Unsaved};
use self::state::QueueState;
use crate::config::{Config, OverflowPolicy};
use crate::ledger::{Ledger, LossReason};
use crate::sync::lock;

/// How long the first records of each kind wait for others before they are sent. So the backend
/// shows them within a second, and a new user sees at once that the agent works.
pub const FIRST_SEND_DELAY: Duration = Duration::from_millis(600);

/// When to send and what to refuse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) policy: OverflowPolicy,
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) watermark: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) interval: Duration,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            policy: config.settings.overflow_policy,
            max_items: config.max_items(),
            max_bytes: config.max_bytes(),
            watermark: config.watermark(),
            batch_bytes: config.settings.max_batch_bytes,
            interval: config.settings.flush_interval,
        }
    }
}

/// Records received from the application since the agent was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Outcome of pushing a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The record waits.
    Queued,
    /// The record waits, and this many older records were dropped for it.
    Displaced(u64),
    /// There is no room. Nothing was counted.
    Full,
    /// There is a store, which accepts only encoded records. Nothing was counted.
    NotEncoded,
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fill {
    /// Waiting records, by kind.
    pub(crate) waiting: [usize; 2],
    /// Records that wait or are in flight.
    pub(crate) items: usize,
    /// Bytes of these records.
    pub(crate) bytes: usize,
    /// Used share of the limit that is closer to being reached.
    pub(crate) ratio: f64,
}

/// A position in the stream of queued records.
#[derive(Debug)]
pub(crate) struct Mark {
    generation: u64,
    arrived: u64,
}

/// Unsettled records around a [`Mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// Records in memory that were queued before the mark.
    pub(crate) before: usize,
    /// Records came after the mark and wait in memory or in the store.
    pub(crate) is_late: bool,
}

/// The bounded queue of one agent.
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    /// Number of times the callers that wait for room were released.
    releases: AtomicU64,
    /// Signals that room was made, a record was settled, or waiting callers were released.
    changed: Condvar,
    /// Wakes the worker when there is something to check.
    wake: Notify,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(QueueState::new(limits)),
            releases: AtomicU64::new(0),
            changed: Condvar::new(),
            wake: Notify::new(),
        }
    }

    /// Applies new limits. Waiting records stay, even beyond the limits.
    pub(crate) fn set_limits(&self, limits: Limits) {
        lock(&self.state).limits = limits;
        self.changed.notify_all();
        self.wake.notify_one();
    }

    /// Counts and queues a record, making room according to the policy. Calls `now`
    /// only if the record is the first to wait, the first of its kind, or is refused.
    pub(crate) fn push(
        &self,
        kind: Kind,
        record: Incoming<'_>,
        now: impl FnOnce() -> Instant,
    ) -> Pushed {
        let mut state = lock(&self.state);
        if state.tracker.is_some() && matches!(record, Incoming::Snapshot { .. }) {
            return Pushed::NotEncoded;
        }
        let weight = record.weight();
        let mut displaced = 0;
        while !state.make_room(weight) {
            if state.limits.policy != OverflowPolicy::Drop {
                state.refused = weight;
                state.full_since.get_or_insert_with(now);
                return Pushed::Full;
            }
            if !state.displace(kind) {
                state.ledger.refuse(kind, LossReason::QueueFull);
                return Pushed::Displaced(displaced + 1);
            }
            displaced += 1;
        }
        let was_due = state.is_full_batch();
        state.enqueue(kind, record);
        state.full_since = None;
        let is_first = state.is_first(kind);
        if is_first || state.since.is_none() {
            state.start_waiting(now(), is_first);
        }
        let wakes = state.is_awaited && (is_first || (!was_due && state.is_full_batch()));
        state.is_awaited &= !wakes;
        self.unlock_and_notify(state);
        if wakes {
            self.wake.notify_one();
        }
        if displaced > 0 {
            Pushed::Displaced(displaced)
        } else {
            Pushed::Queued
        }
    }

    /// Releases the lock and wakes the threads that have store work.
    fn unlock_and_notify(&self, mut state: MutexGuard<'_, QueueState>) {
        let threads = state.notify_savers();
        drop(state);
        for thread in threads.into_iter().flatten() {
            thread.unpark();
        }
    }

    /// Counts a record that was lost before it was queued.
    pub(crate) fn refuse(&self, kind: Kind, reason: LossReason) {
        lock(&self.state).ledger.refuse(kind, reason);
    }

    /// Waits for room for the most recently refused record: the caller's, or that of
    /// another waiting caller. Returns true if there is room. Gives up at the deadline (if
    /// any), when callers were released more than `releases` times, or when the policy is
    /// no longer to block.
    pub(crate) fn wait_for_room(&self, deadline: Option<Instant>, releases: u64) -> bool {
        let state = lock(&self.state);
        let has_room = |state: &mut QueueState| state.make_room(state.refused);
        let waits = |state: &mut QueueState| {
            state.limits.policy == OverflowPolicy::Block
                && self.releases() == releases
                && !has_room(state)
        };
        let mut state = match deadline {
            None => {
                let waited = self.changed.wait_while(state, waits);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
            Some(deadline) => {
                let timeout = deadline.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout_while(state, timeout, waits);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        has_room(&mut state)
    }

    /// Makes all callers that wait for room give up.
    pub(crate) fn release(&self) {
        let state = lock(&self.state);
        self.releases.fetch_add(1, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// Number of times the callers that wait for room were released.
    pub(crate) fn releases(&self) -> u64 {
        self.releases.load(Ordering::Acquire)
    }

    /// Time of the first refusal since a record was last accepted.
    pub(crate) fn full_since(&self) -> Option<Instant> {
        lock(&self.state).full_since
    }

    /// Makes all waiting records due. Returns the generation to wait for.
    pub(crate) fn start_flush(&self) -> u64 {
        let mut state = lock(&self.state);
        let generation = state.flush();
        state.wanted = generation;
        drop(state);
        self.wake.notify_one();
        generation
    }

    /// Makes all waiting records due, and marks the end of them.
    pub(crate) fn mark(&self) -> Mark {
        let mut state = lock(&self.state);
        Mark {
            generation: state.flush(),
            arrived: state.arrived.records,
        }
    }

    /// Counts the unsettled records before `mark`, and tells whether others came later.
    pub(crate) fn left_since(&self, mark: &Mark) -> Left {
        let state = lock(&self.state);
        let (before, since) = state.unsettled_around(mark.generation);
        let may_be_saved = state.tracker.is_some() && state.arrived.records > mark.arrived;
        Left {
            before,
            is_late: since > 0 || may_be_saved,
        }
    }

    /// Waits until everything before `generation` is settled. Returns true if it is.
    pub(crate) fn wait_for_flush(&self, generation: u64, timeout: Duration) -> bool {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |state| !state.is_settled(generation))
            .unwrap_or_else(PoisonError::into_inner);
        state.is_settled(generation)
    }

    /// Whether everything before `generation` is settled.
    pub(crate) fn is_settled(&self, generation: u64) -> bool {
        lock(&self.state).is_settled(generation)
    }

    /// Takes a batch that is due at `now`. The batch holds records of one kind: the
    /// oldest, or the newest after an outage. With commas it has at most `max_bytes`,
    /// but a single record may exceed that.
    pub(crate) fn take(&self, now: Instant, max_bytes: usize) -> Option<(Kind, Vec<QueuedRecord>)> {
        let mut state = lock(&self.state);
        let is_aged = state.due_at().is_some_and(|due| due <= now);
        if is_aged || state.is_full_batch() {
            state.flush();
        }
        let newest = state.recovering;
        let kind = if newest {
            state.newest()
        } else {
            state.oldest()
        }?;
        let head = state.lanes[kind.index()].front()?;
        if head.generation >= state.generation {
            return None;
        }
        let batch = state.take(kind, max_bytes, newest);
        state.since = state.oldest().map(|_| now);
        self.unlock_and_notify(state);
        Some((kind, batch))
    }

    /// Returns when the worker must check again at the latest. The worker calls this before
    /// it waits. Waking the worker is the most expensive part of a caller's work. So it is not
    /// woken while it may take no further batch. Otherwise a full batch wakes it, and so does the
    /// first record of each kind. Others do not, because the worker checks in time for them.
    pub(crate) fn next_look(&self, may_take: bool, now: Instant) -> Option<Instant> {
        let mut state = lock(&self.state);
        state.is_awaited = may_take;
        if !may_take {
            None
        } else if state.is_full_batch() {
            Some(now)
        } else {
            state
                .due_at()
                .or_else(|| now.checked_add(state.limits.interval))
        }
    }

    /// Makes the worker check again.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Resolves when there may be something to take.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Puts a batch back at the front of the queue.
    pub(crate) fn give_back(&self, kind: Kind, records: Vec<QueuedRecord>, now: Instant) {
        if records.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        state.give_back(kind, records);
        state.since.get_or_insert(now);
        drop(state);
        self.wake.notify_one();
    }

    /// Settles a batch that was delivered.
    pub(crate) fn deliver(&self, kind: Kind, records: &[QueuedRecord]) {
        let mut state = lock(&self.state);
        state.ledger.deliver(kind, records.len() as u64);
        state.flowing = true;
        self.settled(state, kind, records, Disposition::Done);
    }

    /// Settles a batch that was lost.
    pub(crate) fn lose(&self, kind: Kind, records: &[QueuedRecord], reason: LossReason) {
        let mut state = lock(&self.state);
        state.ledger.lose(kind, reason, records.len() as u64);
        let disposition = match reason {
            LossReason::Rejected | LossReason::TooLarge => Disposition::Poison(reason),
            _ => Disposition::Done,
        };
        self.settled(state, kind, records, disposition);
    }

    fn settled(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        kind: Kind,
        records: &[QueuedRecord],
        disposition: Disposition,
    ) {
        state.settle(kind, records, disposition);
        self.unlock_and_notify(state);
        self.changed.notify_all();
    }

    /// Notes a failed delivery attempt. The backlog that builds up is later sent at a
    /// bounded rate, newest first.
    pub(crate) fn stall(&self) {
        let mut state = lock(&self.state);
        state.flowing = false;
        state.recovering = true;
    }

    /// Records received from the application.
    pub(crate) fn arrived(&self) -> Arrived {
        lock(&self.state).arrived
    }

    /// True if batches must be sent at a bounded rate: after an outage, unless a
    /// caller waits for a flush.
    pub(crate) fn is_recovering(&self) -> bool {
        let state = lock(&self.state);
        state.recovering && state.is_settled(state.wanted)
    }

    /// Gives up all waiting records because the process ends. Returns their number.
    pub(crate) fn abandon(&self) -> u64 {
        let abandoned = Kind::ALL.map(|kind| {
            let records = self.take_all(kind);
            self.lose(kind, &records, LossReason::Stopped);
            records.len() as u64
        });
        abandoned.iter().sum()
    }

    /// Takes all waiting records of a kind, oldest first.
    pub(crate) fn take_all(&self, kind: Kind) -> Vec<QueuedRecord> {
        lock(&self.state).drain(kind)
    }

    /// Updates the ledger for records that are held elsewhere.
    pub(crate) fn account(&self, note: impl FnOnce(&mut Ledger)) {
        note(&mut lock(&self.state).ledger);
    }

    pub(crate) fn ledger(&self) -> Ledger {
        lock(&self.state).ledger.clone()
    }

    pub(crate) fn fill(&self) -> Fill {
        let state = lock(&self.state);
        let share = |used: usize, limit: usize| {
            #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
            let share = used as f64 / limit.max(1) as f64;
            share
        };
        let bounded = state.bounded();
        Fill {
            waiting: [state.lanes[0].len(), state.lanes[1].len()],
            items: state.items,
            bytes: state.bytes,
            ratio: share(bounded.0, state.limits.max_items)
                .max(share(bounded.1, state.limits.max_bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
