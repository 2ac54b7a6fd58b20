//! The queue: bounded by records and by bytes, with the ledger inside its lock.
//!
//! No lock is held across I/O: a batch is taken out, and settled when its fate
//! is known. What is in flight still counts toward the bounds.
//!
//! Every record carries the generation it was queued in. A flush starts a new
//! generation: what is older must be sent at once, whatever its number or age,
//! and the flush ends when all of it is settled.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use guard_wire::Kind;
use tokio::sync::Notify;

use crate::config::{Config, OverflowPolicy};
use crate::ledger::{Ledger, LossReason};
use crate::lock;

/// Records are kept in blocks of this many bytes, so that taking one in costs a
/// copy and no allocation. A block is freed with the last of its records.
const BLOCK: usize = 64 * 1024;

/// What a record takes in memory beside its bytes, roughly.
pub const RECORD_OVERHEAD: usize = 48;

/// One encoded record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    bytes: Bytes,
    generation: u64,
}

impl Record {
    fn weight(&self) -> usize {
        self.bytes.len() + RECORD_OVERHEAD
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

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
            max_bytes: config.settings.max_buffer_bytes,
            watermark: config.watermark(),
            batch_bytes: config.settings.max_batch_bytes,
            interval: config.settings.flush_interval,
        }
    }
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

struct State {
    limits: Limits,
    ledger: Ledger,
    lanes: [VecDeque<Record>; 2],
    /// Where the next record goes.
    block: BytesMut,
    /// Of what waits.
    waiting_bytes: usize,
    /// Of what waits and what is in flight.
    items: usize,
    bytes: usize,
    /// Since when something waits.
    since: Option<Instant>,
    generation: u64,
    /// Unsettled records by generation, oldest first.
    unsettled: VecDeque<(u64, usize)>,
    /// No record waits for room any more.
    released: bool,
}

/// The bounded queue of one agent.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Room was made, or something was settled.
    changed: Condvar,
    /// There is something for the worker to look at.
    wake: Notify,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                limits,
                ledger: Ledger::default(),
                lanes: Default::default(),
                block: BytesMut::new(),
                waiting_bytes: 0,
                items: 0,
                bytes: 0,
                since: None,
                generation: 0,
                unsettled: VecDeque::new(),
                released: false,
            }),
            changed: Condvar::new(),
            wake: Notify::new(),
        }
    }

    /// Puts other limits in force. What waits stays, even beyond them.
    pub(crate) fn set_limits(&self, limits: Limits) {
        lock(&self.state).limits = limits;
        self.wake.notify_one();
    }

    /// Counts and queues a record, making room by the policy. `now` is asked only
    /// when it is the first to wait.
    pub(crate) fn push(&self, kind: Kind, bytes: &[u8], now: impl FnOnce() -> Instant) -> Pushed {
        let mut state = lock(&self.state);
        let weight = bytes.len() + RECORD_OVERHEAD;
        let mut displaced = 0;
        while !state.has_room(weight) {
            if state.limits.policy != OverflowPolicy::Drop {
                return Pushed::Full;
            }
            if !state.displace(kind) {
                state.ledger.refuse(kind, LossReason::QueueFull);
                return Pushed::Displaced(displaced + 1);
            }
            displaced += 1;
        }
        let was_due = state.is_full_batch();
        state.enqueue(kind, bytes);
        let is_first = state.since.is_none();
        if is_first {
            state.since = Some(now());
        }
        let is_due = !was_due && state.is_full_batch();
        drop(state);
        if is_first || is_due {
            self.wake.notify_one();
        }
        if displaced > 0 {
            Pushed::Displaced(displaced)
        } else {
            Pushed::Queued
        }
    }

    /// Counts a record that is lost before it was queued.
    pub(crate) fn refuse(&self, kind: Kind, reason: LossReason) {
        lock(&self.state).ledger.refuse(kind, reason);
    }

    /// Waits for room for `bytes` more; whether there is some. Gives up after
    /// `timeout` and when the agent stops.
    pub(crate) fn wait_for_room(&self, bytes: usize, timeout: Duration) -> bool {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |state| {
                !state.released && !state.has_room(bytes + RECORD_OVERHEAD)
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.has_room(bytes + RECORD_OVERHEAD)
    }

    /// Lets nobody wait for room any longer, or lets them wait again.
    pub(crate) fn release(&self, released: bool) {
        lock(&self.state).released = released;
        self.changed.notify_all();
    }

    /// Makes everything that waits due; the number of the generation to wait for.
    pub(crate) fn start_flush(&self) -> u64 {
        let generation = lock(&self.state).flush();
        self.wake.notify_one();
        generation
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

    /// Takes a batch that is due at `now`: the oldest records, of one kind, of
    /// at most `max_bytes` with their commas (one record may exceed that).
    pub(crate) fn take(&self, now: Instant, max_bytes: usize) -> Option<(Kind, Vec<Record>)> {
        let mut state = lock(&self.state);
        let is_aged = state.due_at().is_some_and(|due| due <= now);
        if is_aged || state.is_full_batch() {
            state.flush();
        }
        let kind = state.oldest()?;
        let head = state.lanes[kind.index()].front()?;
        if head.generation >= state.generation {
            return None;
        }
        let batch = state.take(kind, max_bytes);
        state.since = state.oldest().map(|_| now);
        Some((kind, batch))
    }

    /// When what waits becomes due by age, if anything waits.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        lock(&self.state).due_at()
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
    pub(crate) fn give_back(&self, kind: Kind, records: Vec<Record>, now: Instant) {
        if records.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for record in records.into_iter().rev() {
            state.waiting_bytes += record.weight();
            state.lanes[kind.index()].push_front(record);
        }
        state.since.get_or_insert(now);
        drop(state);
        self.wake.notify_one();
    }

    /// Records that were taken are delivered.
    pub(crate) fn deliver(&self, kind: Kind, records: &[Record]) {
        let mut state = lock(&self.state);
        state.ledger.deliver(kind, records.len() as u64);
        state.settle(records);
        drop(state);
        self.changed.notify_all();
    }

    /// Records that were taken are lost.
    pub(crate) fn lose(&self, kind: Kind, records: &[Record], reason: LossReason) {
        let mut state = lock(&self.state);
        state.ledger.lose(kind, reason, records.len() as u64);
        state.settle(records);
        drop(state);
        self.changed.notify_all();
    }

    /// Gives up on everything that waits: the process ends. How much it was.
    pub(crate) fn abandon(&self) -> u64 {
        let mut lost = 0;
        for kind in Kind::ALL {
            let records: Vec<Record> = lock(&self.state).drain(kind);
            self.lose(kind, &records, LossReason::Stopped);
            lost += records.len() as u64;
        }
        lost
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
        Fill {
            waiting: [state.lanes[0].len(), state.lanes[1].len()],
            items: state.items,
            bytes: state.bytes,
            ratio: share(state.items, state.limits.max_items)
                .max(share(state.bytes, state.limits.max_bytes)),
        }
    }
}

impl State {
    /// Whether a record of this weight fits. An empty queue takes any record:
    /// one that never fits would otherwise wait for ever.
    fn has_room(&self, weight: usize) -> bool {
        self.items == 0
            || (self.items < self.limits.max_items && self.bytes + weight <= self.limits.max_bytes)
    }

    /// Drops the oldest metric, else the oldest event unless room is wanted
    /// for a metric. Whether anything was dropped.
    fn displace(&mut self, wanted_for: Kind) -> bool {
        for kind in [Kind::Metric, Kind::Event] {
            if wanted_for == Kind::Metric && kind == Kind::Event {
                return false;
            }
            if let Some(record) = self.lanes[kind.index()].pop_front() {
                self.waiting_bytes -= record.weight();
                self.ledger.lose(kind, LossReason::QueueFull, 1);
                self.settle(std::slice::from_ref(&record));
                return true;
            }
        }
        false
    }

    fn enqueue(&mut self, kind: Kind, bytes: &[u8]) {
        if self.block.capacity() < bytes.len() {
            self.block = BytesMut::with_capacity(BLOCK.max(bytes.len()));
        }
        self.block.extend_from_slice(bytes);
        let record = Record {
            bytes: self.block.split().freeze(),
            generation: self.generation,
        };
        self.ledger.queue(kind);
        self.items += 1;
        self.bytes += record.weight();
        self.waiting_bytes += record.weight();
        match self.unsettled.back_mut() {
            Some((generation, count)) if *generation == record.generation => *count += 1,
            _ => self.unsettled.push_back((record.generation, 1)),
        }
        self.lanes[kind.index()].push_back(record);
    }

    /// Whether enough waits for a send to start.
    fn is_full_batch(&self) -> bool {
        let waiting: usize = self.lanes.iter().map(VecDeque::len).sum();
        waiting >= self.limits.watermark || self.waiting_bytes >= self.limits.batch_bytes
    }

    fn due_at(&self) -> Option<Instant> {
        self.since?.checked_add(self.limits.interval)
    }

    /// Starts a generation; everything that waits is older, and so due.
    fn flush(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// The kind whose oldest record is the oldest; events when equal.
    fn oldest(&self) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .filter_map(|kind| Some((self.lanes[kind.index()].front()?.generation, kind)))
            .min_by_key(|(generation, _)| *generation)
            .map(|(_, kind)| kind)
    }

    fn take(&mut self, kind: Kind, max_bytes: usize) -> Vec<Record> {
        let lane = &mut self.lanes[kind.index()];
        let mut room = max_bytes;
        let mut count = 0;
        for record in lane.iter() {
            let Some(left) = room.checked_sub(record.bytes.len() + 1) else {
                break;
            };
            room = left;
            count += 1;
        }
        let batch: Vec<Record> = lane.drain(..count.max(1).min(lane.len())).collect();
        self.waiting_bytes -= batch.iter().map(Record::weight).sum::<usize>();
        batch
    }

    fn drain(&mut self, kind: Kind) -> Vec<Record> {
        let records = std::mem::take(&mut self.lanes[kind.index()]);
        self.waiting_bytes -= records.iter().map(Record::weight).sum::<usize>();
        records.into()
    }

    /// Takes records out of all counts.
    fn settle(&mut self, records: &[Record]) {
        for record in records {
            self.items -= 1;
            self.bytes -= record.weight();
            let entry = self.unsettled.iter_mut();
            if let Some((_, count)) = { entry }.find(|(born, _)| *born == record.generation) {
                *count -= 1;
            }
        }
        self.unsettled.retain(|(_, count)| *count > 0);
    }

    fn is_settled(&self, generation: u64) -> bool {
        self.unsettled
            .front()
            .is_none_or(|(oldest, _)| *oldest >= generation)
    }
}

#[cfg(test)]
mod tests;
