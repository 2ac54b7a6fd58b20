//! The state that the queue's lock guards, and the operations on it.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use guard_wire::Kind;

use super::record::{Block, Incoming, QueuedRecord, fitting};
use super::save_tracker::{Disposition, SaveTracker, ThreadsToWake};
use super::{Arrived, FIRST_SEND_DELAY, Limits};
use crate::ledger::{Ledger, LossReason};

pub(super) struct QueueState {
    pub(super) limits: Limits,
    pub(super) ledger: Ledger,
    pub(super) lanes: [VecDeque<QueuedRecord>; 2],
    blocks: [Block; 2],
    /// Bytes of waiting records.
    pub(super) waiting_bytes: usize,
    /// Number of records that wait or are in flight.
    pub(super) items: usize,
    pub(super) bytes: usize,
    /// Time since which records wait.
    pub(super) since: Option<Instant>,
    /// Time when the first records of a kind are due.
    first_due: Option<Instant>,
    /// Kinds of which a record was queued.
    pub(super) seen: [bool; 2],
    pub(super) arrived: Arrived,
    /// The number of the next record.
    next_seq: u64,
    pub(super) generation: u64,
    /// Unsettled records by generation, oldest first.
    unsettled: VecDeque<(u64, usize)>,
    /// Weight of the most recently refused record.
    pub(super) refused: usize,
    /// Time of the first refusal since a record was last accepted.
    pub(super) full_since: Option<Instant>,
    /// Set if there is a store.
    pub(super) tracker: Option<SaveTracker>,
    /// With a store: records in flight by sequence number. The store may lose them, and
    /// then they must be saved again.
    in_flight: HashMap<u64, (Kind, Bytes)>,
    /// False after a failed delivery attempt, until one succeeds.
    pub(super) flowing: bool,
    /// Set after a failure or restart, until one batch holds everything that is left.
    pub(super) recovering: bool,
    /// Generation of the last flush that a caller requested.
    pub(super) wanted: u64,
    /// The worker waits for a full batch and must be woken for it.
    pub(super) is_awaited: bool,
}

impl QueueState {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ledger: Ledger::default(),
            lanes: Default::default(),
            blocks: Default::default(),
            waiting_bytes: 0,
            items: 0,
            bytes: 0,
            since: None,
            first_due: None,
            seen: [false; 2],
            arrived: Arrived::default(),
            next_seq: 0,
            generation: 0,
            unsettled: VecDeque::new(),
            refused: 0,
            full_since: None,
            tracker: None,
            in_flight: HashMap::new(),
            flowing: true,
            recovering: false,
            wanted: 0,
            is_awaited: false,
        }
    }

    /// True if a record of this weight fits. An empty queue accepts any record:
    /// otherwise a record that never fits would wait forever.
    fn has_room(&self, weight: usize) -> bool {
        let is_empty = match &self.tracker {
            Some(_) => self.waiting() == 0,
            None => self.items == 0,
        };
        let (items, bytes) = self.bounded();
        is_empty || (items < self.limits.max_items && bytes + weight <= self.limits.max_bytes)
    }

    /// Records and bytes that count against the limits: waiting and in flight. With a
    /// store, records in flight use at most half of the room. So a few batches held up
    /// by an outage cannot keep other records from passing through memory to the store.
    pub(super) fn bounded(&self) -> (usize, usize) {
        let Limits {
            max_items,
            max_bytes,
            ..
        } = self.limits;
        let (items, bytes) = (self.waiting(), self.waiting_bytes);
        match &self.tracker {
            Some(_) => (
                items + (self.items - items).min(max_items / 2),
                bytes + (self.bytes - bytes).min(max_bytes / 2),
            ),
            None => (self.items, self.bytes),
        }
    }

    /// Makes room for a record of this weight by evicting the oldest saved records if
    /// needed. Returns true if the record fits.
    pub(super) fn make_room(&mut self, weight: usize) -> bool {
        while !self.has_room(weight) {
            if !self.evict() {
                return false;
            }
        }
        true
    }

    /// Evicts the oldest metric, or else the oldest event, if it is saved. Returns true if
    /// a record was evicted.
    fn evict(&mut self) -> bool {
        let Some(tracker) = &mut self.tracker else {
            return false;
        };
        for kind in [Kind::Metric, Kind::Event] {
            let lane = &mut self.lanes[kind.index()];
            if lane.front().is_some_and(|oldest| tracker.evict(oldest.seq))
                && let Some(record) = lane.pop_front()
            {
                self.waiting_bytes -= record.weight();
                self.ledger.spool(kind, 1);
                self.forget(&record);
                return true;
            }
        }
        false
    }

    /// Evicts all waiting records that are saved. The store keeps them.
    pub(super) fn evict_all(&mut self) {
        let Some(mut tracker) = self.tracker.take() else {
            return;
        };
        for kind in Kind::ALL {
            let lane = std::mem::take(&mut self.lanes[kind.index()]);
            for record in lane {
                if tracker.evict(record.seq) {
                    self.waiting_bytes -= record.weight();
                    self.ledger.spool(kind, 1);
                    self.forget(&record);
                } else {
                    self.lanes[kind.index()].push_back(record);
                }
            }
        }
        self.tracker = Some(tracker);
    }

    /// Drops the oldest metric. If there is none, drops the oldest event, unless the room
    /// is for a metric. Returns true if a record was dropped.
    pub(super) fn displace(&mut self, wanted_for: Kind) -> bool {
        for kind in [Kind::Metric, Kind::Event] {
            if wanted_for == Kind::Metric && kind == Kind::Event {
                return false;
            }
            if let Some(record) = self.lanes[kind.index()].pop_front() {
                self.waiting_bytes -= record.weight();
                self.ledger.lose(kind, LossReason::QueueFull, 1);
                self.settle(kind, std::slice::from_ref(&record), Disposition::Done);
                return true;
            }
        }
        false
    }

    pub(super) fn enqueue(&mut self, kind: Kind, record: Incoming<'_>) {
        let record = QueuedRecord::incoming(record, &mut self.blocks[kind.index()]);
        let record = self.count(record);
        self.ledger.queue(kind);
        self.arrived.records += 1;
        self.arrived.bytes += record.size() as u64;
        if let Some(tracker) = &mut self.tracker {
            tracker.add(record.seq, kind, record.bytes.clone());
        }
        self.lanes[kind.index()].push_back(record);
    }

    /// Puts a record from the store at the front.
    pub(super) fn restore(&mut self, kind: Kind, bytes: Bytes, token: u64) {
        let record = self.count(QueuedRecord::encoded(bytes));
        if let Some(tracker) = &mut self.tracker {
            tracker.restore(record.seq, token);
        }
        self.lanes[kind.index()].push_front(record);
    }

    /// Assigns the record to the current generation and counts it.
    fn count(&mut self, mut record: QueuedRecord) -> QueuedRecord {
        record.generation = self.generation;
        record.seq = self.next_seq;
        self.next_seq += 1;
        self.items += 1;
        self.bytes += record.weight();
        self.waiting_bytes += record.weight();
        match self.unsettled.back_mut() {
            Some((generation, count)) if *generation == record.generation => *count += 1,
            _ => self.unsettled.push_back((record.generation, 1)),
        }
        record
    }

    /// Makes the journal save all waiting records that it does not know: those queued
    /// before there was a store.
    pub(super) fn mark_unsaved(&mut self) {
        let Some(tracker) = &mut self.tracker else {
            return;
        };
        for kind in Kind::ALL {
            for record in &self.lanes[kind.index()] {
                if record.is_encoded() && !tracker.knows(record.seq) {
                    tracker.add(record.seq, kind, record.bytes.clone());
                }
            }
        }
    }

    fn waiting(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// True if enough records wait to start a send.
    pub(super) fn is_full_batch(&self) -> bool {
        self.waiting() >= self.limits.watermark || self.waiting_bytes >= self.limits.batch_bytes
    }

    /// True for the first record of a kind.
    pub(super) fn is_first(&mut self, kind: Kind) -> bool {
        !std::mem::replace(&mut self.seen[kind.index()], true)
    }

    /// Notes the time at which a record starts to wait.
    pub(super) fn start_waiting(&mut self, now: Instant, is_first: bool) {
        self.since.get_or_insert(now);
        if is_first && self.first_due.is_none() {
            self.first_due = now.checked_add(FIRST_SEND_DELAY);
        }
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        let aged = self.since?.checked_add(self.limits.interval);
        aged.into_iter().chain(self.first_due).min()
    }

    /// Starts a generation. All waiting records are older than it, and so due.
    pub(super) fn flush(&mut self) -> u64 {
        self.first_due = None;
        self.generation += 1;
        self.generation
    }

    /// The kind with the oldest record; events if equal.
    pub(super) fn oldest(&self) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .filter_map(|kind| Some((self.lanes[kind.index()].front()?.generation, kind)))
            .min_by_key(|(generation, _)| *generation)
            .map(|(_, kind)| kind)
    }

    /// The kind with the newest record.
    pub(super) fn newest(&self) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .filter_map(|kind| Some((self.lanes[kind.index()].back()?.seq, kind)))
            .max_by_key(|(seq, _)| *seq)
            .map(|(_, kind)| kind)
    }

    /// Takes the oldest or the newest records, in order.
    pub(super) fn take(&mut self, kind: Kind, max_bytes: usize, newest: bool) -> Vec<QueuedRecord> {
        let lane = &mut self.lanes[kind.index()];
        let count = if newest {
            fitting(lane.iter().rev(), max_bytes)
        } else {
            fitting(lane.iter(), max_bytes)
        };
        let count = count.min(lane.len());
        let batch: Vec<QueuedRecord> = if newest {
            lane.split_off(lane.len() - count).into()
        } else {
            lane.drain(..count).collect()
        };
        self.waiting_bytes -= batch.iter().map(QueuedRecord::weight).sum::<usize>();
        if self.tracker.is_some() {
            let encoded = batch.iter().filter(|record| record.is_encoded());
            let by_number = encoded.map(|record| (record.seq, (kind, record.bytes.clone())));
            self.in_flight.extend(by_number);
        }
        // Failed batches still hold records of the backlog.
        let is_last = self.items == batch.len();
        self.recovering &= !is_last || self.has_backlog();
        batch
    }

    /// Whether the store has records that are not in memory.
    pub(super) fn has_backlog(&self) -> bool {
        self.tracker.as_ref().is_some_and(|tracker| tracker.backlog)
    }

    /// Number of bytes that may be loaded from the store: one batch, while less than
    /// that waits and the backend accepts records. An empty queue loads a batch even
    /// after a failed attempt, because nothing else would trigger the next attempt.
    pub(super) fn room_for_backlog(&self) -> Option<usize> {
        let batch = self.limits.batch_bytes.min(self.limits.max_bytes / 2);
        let has_room = self.waiting() <= self.limits.max_items / 2 && self.waiting_bytes < batch;
        ((self.flowing || self.items == 0) && has_room).then_some(batch)
    }

    /// Puts records back at the front.
    pub(super) fn give_back(&mut self, kind: Kind, records: Vec<QueuedRecord>) {
        for record in records.into_iter().rev() {
            self.waiting_bytes += record.weight();
            self.in_flight.remove(&record.seq);
            self.lanes[kind.index()].push_front(record);
        }
    }

    /// The store has lost the records of these tokens.
    pub(super) fn save_again(&mut self, tokens: &[u64]) {
        let Some(tracker) = &mut self.tracker else {
            return;
        };
        for seq in tracker.unsave(tokens) {
            if let Some((kind, bytes)) = self.in_flight.get(&seq) {
                tracker.add(seq, *kind, bytes.clone());
            }
        }
        self.mark_unsaved();
    }

    pub(super) fn drain(&mut self, kind: Kind) -> Vec<QueuedRecord> {
        let records = std::mem::take(&mut self.lanes[kind.index()]);
        self.waiting_bytes -= records.iter().map(QueuedRecord::weight).sum::<usize>();
        records.into()
    }

    /// Removes records from all counts.
    pub(super) fn settle(
        &mut self,
        kind: Kind,
        records: &[QueuedRecord],
        disposition: Disposition,
    ) {
        for record in records {
            self.forget(record);
            self.in_flight.remove(&record.seq);
            if let Some(tracker) = &mut self.tracker {
                tracker.settle(record.seq, kind, &record.bytes, disposition);
            }
        }
    }

    fn forget(&mut self, record: &QueuedRecord) {
        self.items -= 1;
        self.bytes -= record.weight();
        let mut entries = self.unsettled.iter();
        let Some(index) = entries.position(|(born, _)| *born == record.generation) else {
            return;
        };
        self.unsettled[index].1 -= 1;
        if self.unsettled[index].1 == 0 {
            self.unsettled.remove(index);
        }
    }

    /// Marks the savers that have work as notified. Returns their threads, except those already
    /// notified.
    pub(super) fn notify_savers(&mut self) -> ThreadsToWake {
        let has_room = self.has_backlog() && self.room_for_backlog().is_some();
        let tracker = self.tracker.as_mut();
        tracker
            .map(|tracker| tracker.notify(has_room))
            .unwrap_or_default()
    }

    pub(super) fn is_settled(&self, generation: u64) -> bool {
        self.unsettled
            .front()
            .is_none_or(|(oldest, _)| *oldest >= generation)
    }

    /// Number of unsettled records before `generation`, and of the others.
    pub(super) fn unsettled_around(&self, generation: u64) -> (usize, usize) {
        let (mut before, mut since) = (0, 0);
        for (born, count) in &self.unsettled {
            if *born < generation {
                before += count;
            } else {
                since += count;
            }
        }
        (before, since)
    }
}
