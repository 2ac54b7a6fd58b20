//! The queue: bounded by records and by bytes, with the ledger inside its lock.
//!
//! No lock is held across I/O: a batch is taken out, and settled when its disposition
//! is known. What is in flight still counts toward the bounds.
//!
//! Every record carries the generation it was queued in. A flush starts a new
//! generation: what is older must be sent at once, whatever its number or age,
//! and the flush ends when all of it is settled.
//!
//! With a store, memory is what is sent next and the store is all there is: when
//! memory is full it forgets the oldest records that are saved, and they come
//! back when there is room and the backend takes records.

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

/// What has come in from the application since the agent was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// What became of a record that was handed in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Queued,
    /// It waits, and this many older ones were lost for it.
    Displaced(u64),
    /// There is no room; nothing was counted.
    Full,
    /// There is a store, which takes nothing but what is encoded; nothing was counted.
    NotEncoded,
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fill {
    /// Waiting, by kind.
    pub(crate) waiting: [usize; 2],
    /// Waiting or in flight.
    pub(crate) items: usize,
    /// Of both, in bytes.
    pub(crate) bytes: usize,
    /// The nearer of the two limits, as a share used.
    pub(crate) ratio: f64,
}

/// A moment in the life of a queue.
#[derive(Debug)]
pub(crate) struct Mark {
    generation: u64,
    arrived: u64,
}

/// What has not been settled since a [`Mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// Records in memory that were queued before it.
    pub(crate) before: usize,
    /// Records came after it, and wait in memory or in the store.
    pub(crate) is_late: bool,
}

/// The bounded queue of one agent.
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    /// How often those who wait for room were released.
    releases: AtomicU64,
    /// Room was made, something was settled, or those who wait were released.
    changed: Condvar,
    /// There is something for the worker to look at.
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

    /// Puts other limits in force. What waits stays, even beyond them.
    pub(crate) fn set_limits(&self, limits: Limits) {
        lock(&self.state).limits = limits;
        self.changed.notify_all();
        self.wake.notify_one();
    }

    /// Counts and queues a record, making room by the policy. `now` is asked only
    /// when it is the first to wait, or to be refused.
    pub(crate) fn push(
        &self,
        kind: Kind,
        record: Incoming<'_>,
        now: impl FnOnce() -> Instant,
    ) -> Pushed {
        let mut state = lock(&self.state);
        if state.tracker.is_some() && matches!(record, Incoming::Tape { .. }) {
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
        if state.since.is_none() {
            state.since = Some(now());
        }
        let wakes = state.is_awaited && !was_due && state.is_full_batch();
        state.is_awaited &= !wakes;
        self.unlock_and_call(state);
        if wakes {
            self.wake.notify_one();
        }
        if displaced > 0 {
            Pushed::Displaced(displaced)
        } else {
            Pushed::Queued
        }
    }

    /// Wakes those who have records to save, or something else to do for the store.
    fn unlock_and_call(&self, mut state: MutexGuard<'_, QueueState>) {
        let calls = state.calls();
        drop(state);
        for thread in calls.into_iter().flatten() {
            thread.unpark();
        }
    }

    /// Counts a record that is lost before it was queued.
    pub(crate) fn refuse(&self, kind: Kind, reason: LossReason) {
        lock(&self.state).ledger.refuse(kind, reason);
    }

    /// Waits for room for the record that was refused last: the caller's, or one
    /// that waits beside it. Returns true if there is room. Gives up at the deadline, if there
    /// is one, when those who wait were released more often than `releases` times, and when
    /// the policy is no longer to wait.
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

    /// Has everybody who waits for room give up.
    pub(crate) fn release(&self) {
        let state = lock(&self.state);
        self.releases.fetch_add(1, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// How often those who wait for room were released.
    pub(crate) fn releases(&self) -> u64 {
        self.releases.load(Ordering::Acquire)
    }

    /// Since when records were refused, and none was taken.
    pub(crate) fn full_since(&self) -> Option<Instant> {
        lock(&self.state).full_since
    }

    /// Makes everything that waits due; the number of the generation to wait for.
    pub(crate) fn start_flush(&self) -> u64 {
        let mut state = lock(&self.state);
        let generation = state.flush();
        state.wanted = generation;
        drop(state);
        self.wake.notify_one();
        generation
    }

    /// Makes everything that waits due, and remembers where it ends.
    pub(crate) fn mark(&self) -> Mark {
        let mut state = lock(&self.state);
        Mark {
            generation: state.flush(),
            arrived: state.arrived.records,
        }
    }

    /// What is left of the records before `mark`, and whether others have come.
    pub(crate) fn left_since(&self, mark: &Mark) -> Left {
        let state = lock(&self.state);
        let (before, since) = state.unsettled_around(mark.generation);
        let may_be_saved = state.tracker.is_some() && state.arrived.records > mark.arrived;
        Left {
            before,
            is_late: since > 0 || may_be_saved,
        }
    }

    /// Waits until everything before `generation` is settled; whether it is.
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

    /// Takes a batch that is due at `now`: the oldest records, or after an outage
    /// the newest, of one kind, of at most `max_bytes` with their commas (one
    /// record may exceed that).
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
        self.unlock_and_call(state);
        Some((kind, batch))
    }

    /// When the worker is to look again at the latest, which is about to wait. Waking it costs
    /// a caller more than all else: so while no other batch may be taken it is not woken at all, and
    /// otherwise by what fills a batch, but not by a first record, for which it looks in time.
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

    /// Has the worker look again.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends when there may be something to take.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Puts records that were taken back in front.
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

    /// Records that were taken are delivered.
    pub(crate) fn deliver(&self, kind: Kind, records: &[QueuedRecord]) {
        let mut state = lock(&self.state);
        state.ledger.deliver(kind, records.len() as u64);
        state.flowing = true;
        self.settled(state, kind, records, Disposition::Done);
    }

    /// Records that were taken are lost.
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
        self.unlock_and_call(state);
        self.changed.notify_all();
    }

    /// An attempt to deliver failed: what gathers now is sent at a bounded rate
    /// afterwards, the newest first.
    pub(crate) fn stall(&self) {
        let mut state = lock(&self.state);
        state.flowing = false;
        state.recovering = true;
    }

    /// What has come in from the application.
    pub(crate) fn arrived(&self) -> Arrived {
        lock(&self.state).arrived
    }

    /// Whether batches are to be sent at a bounded rate: after an outage, unless
    /// somebody waits for a flush.
    pub(crate) fn is_recovering(&self) -> bool {
        let state = lock(&self.state);
        state.recovering && state.is_settled(state.wanted)
    }

    /// Gives up on everything that waits: the process ends. How much it was.
    pub(crate) fn abandon(&self) -> u64 {
        let abandoned = Kind::ALL.map(|kind| {
            let records = self.take_all(kind);
            self.lose(kind, &records, LossReason::Stopped);
            records.len() as u64
        });
        abandoned.iter().sum()
    }

    /// Takes everything that waits of a kind, oldest first.
    pub(crate) fn take_all(&self, kind: Kind) -> Vec<QueuedRecord> {
        lock(&self.state).drain(kind)
    }

    /// Accounts for records that are held elsewhere.
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
