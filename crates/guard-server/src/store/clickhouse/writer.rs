//! Gathers batches of all projects into few inserts.
//!
//! One insert of a table is one block in one partition, and one ends before the next one begins.
//! So the rows of this node become visible in the order of their arrivals. If the outcome of an
//! insert is unknown, it is repeated with the same rows until it is known: otherwise its rows could
//! appear after later ones, and readers would miss them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clickhouse::error::Error;
use clickhouse::{Row, RowOwned, RowWrite};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::arrivals;
use super::client::{Engine, meaning};
use super::position::{self, SLOTS};
use super::rows::{EventRow, MetricRow, Rows};
use crate::monitoring::StoreMeters;
use crate::store::{KindCounts, StoreError};

/// How many batches may wait.
const MAX_JOBS: usize = 4096;
/// How many bytes all waiting batches may hold.
const MAX_BYTES: u32 = 64 << 20;
/// The most bytes in one insert, if no single batch has more.
const GROUP_BYTES: usize = 16 << 20;
/// The least time between the beginnings of two inserts. Batches that come meanwhile share the
/// second one: ClickHouse merges a few large inserts faster than many small ones.
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// How long one insert may take.
const INSERT_TIME: Duration = Duration::from_secs(20);
/// How long a batch waits for its insert before its sender is told to come again.
const WAIT_TIME: Duration = Duration::from_secs(25);
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// The days with partitions of their own, from 2020 to 2099, as the schema says.
const DAYS: std::ops::Range<i64> = 18_262..47_482;
/// The pause before an insert with an unknown outcome is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// Tells the slot of this node, if it has one.
pub(super) type SlotNow = Arc<dyn Fn() -> Option<u16> + Send + Sync>;

struct Job {
    rows: Rows,
    left_out: Option<(i64, KindCounts)>,
    answer: oneshot::Sender<Result<(), StoreError>>,
    /// Released when the job is dropped.
    room: OwnedSemaphorePermit,
}

/// The handle of the writing task. The task ends when this is dropped, after the last insert.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    /// Whether the outcome of an insert is unknown.
    is_stuck: Arc<AtomicBool>,
    pub(super) meters: StoreMeters,
}

impl Writer {
    pub(super) fn start(engine: Engine, slot: SlotNow, pause: Duration) -> Self {
        let (jobs, waiting) = mpsc::channel(MAX_JOBS);
        let meters = StoreMeters::default();
        let is_stuck = Arc::new(AtomicBool::new(false));
        let writing = Writing {
            engine,
            slot,
            meters: meters.clone(),
            is_stuck: Arc::clone(&is_stuck),
            counter: None,
        };
        tokio::spawn(writing.run(waiting, pause));
        Self {
            jobs,
            room: Arc::new(Semaphore::new(MAX_BYTES as usize)),
            is_stuck,
            meters,
        }
    }

    /// Stores rows, and counts of records that were left out of a project's batch.
    pub(super) async fn write(
        &self,
        rows: Rows,
        left_out: Option<(i64, KindCounts)>,
    ) -> Result<(), StoreError> {
        // A batch larger than the whole limit takes all of it; otherwise it would never fit.
        let bytes = u32::try_from(rows.bytes()).map_or(MAX_BYTES, |it| it.clamp(1, MAX_BYTES));
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_| StoreError::Busy)?;
        let _waiting = self.meters.write_waits();
        let (answer, answered) = oneshot::channel();
        let job = Job {
            rows,
            left_out,
            answer,
            room,
        };
        self.jobs.try_send(job).map_err(|_| StoreError::Busy)?;
        match timeout(WAIT_TIME, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Unavailable),
            Err(_) => Err(self.delayed()),
        }
    }

    /// Why writing takes long.
    pub(super) fn delayed(&self) -> StoreError {
        if self.is_stuck.load(Ordering::Relaxed) {
            StoreError::Unavailable
        } else {
            StoreError::Busy
        }
    }
}

/// Counts the arrivals of a slot.
struct Counter {
    slot: u16,
    last: u64,
}

struct Writing {
    engine: Engine,
    slot: SlotNow,
    meters: StoreMeters,
    is_stuck: Arc<AtomicBool>,
    /// `None` until the slot's last arrival was read.
    counter: Option<Counter>,
}

/// Why an insert did not succeed.
enum Failure {
    /// Its rows may be stored, at once or later.
    Unknown,
    /// Nothing more of it will be stored.
    Known(StoreError),
}

impl Writing {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>, pause: Duration) {
        let mut next = Instant::now();
        // A batch that did not fit into the insert before.
        let mut queue = VecDeque::new();
        loop {
            if queue.is_empty() {
                match waiting.recv().await {
                    Some(job) => queue.push_back(job),
                    None => return,
                }
            }
            sleep_until(next).await;
            next = Instant::now() + pause;
            while let Ok(job) = waiting.try_recv() {
                queue.push_back(job);
            }
            let (mut group, mut bytes) = (Vec::new(), 0);
            while let Some(job) = queue.pop_front() {
                // Its sender has given up, and sends it again.
                if job.answer.is_closed() {
                    continue;
                }
                bytes += job.room.num_permits();
                group.push(job);
                if bytes >= GROUP_BYTES {
                    break;
                }
            }
            if !group.is_empty() {
                self.write(group).await;
            }
        }
    }

    /// Inserts the rows of a group, and answers its batches.
    async fn write(&mut self, group: Vec<Job>) {
        let begun = std::time::Instant::now();
        let mut rows = Rows::default();
        let mut left_out = BTreeMap::<i64, KindCounts>::new();
        let mut answers = Answers(Vec::new());
        let mut rooms = Vec::new();
        for job in group {
            rows.events.extend(job.rows.events);
            rows.metrics.extend(job.rows.metrics);
            if let Some((project, counts)) = job.left_out {
                let sum = left_out.entry(project).or_default();
                sum.events += counts.events;
                sum.metrics += counts.metrics;
            }
            answers.0.push(job.answer);
            rooms.push(job.room);
        }
        let written = self.insert_all(rows, left_out, &mut answers).await;
        if written.is_ok() {
            self.meters.committed(answers.0.len(), begun.elapsed());
        } else {
            self.meters.write_failed();
        }
        answers.give(written);
    }

    async fn insert_all(
        &mut self,
        rows: Rows,
        left_out: BTreeMap<i64, KindCounts>,
        answers: &mut Answers,
    ) -> Result<(), StoreError> {
        // The order of arrival needs a slot, even if there are only counts to store.
        self.count_in_slot().await?;
        for part in by_partition(rows.events) {
            self.insert("events", part, answers).await?;
        }
        for part in by_partition(rows.metrics) {
            self.insert("metrics", part, answers).await?;
        }
        if !left_out.is_empty() {
            let row = |(project, counts): (i64, KindCounts)| LeftOutRow {
                project,
                events: counts.events,
                metrics: counts.metrics,
            };
            let rows = left_out.into_iter().map(row).collect();
            self.insert("left_out", rows, answers).await?;
        }
        Ok(())
    }

    /// Makes sure that this node has a slot, and goes on after the slot's last arrival.
    async fn count_in_slot(&mut self) -> Result<(), StoreError> {
        let slot = (self.slot)().filter(|slot| (1..=SLOTS).contains(slot));
        let slot = slot.ok_or(StoreError::Unavailable)?;
        if self.counter.as_ref().is_none_or(|it| it.slot != slot) {
            let last = arrivals::last_of(&self.engine, slot).await?;
            self.counter = Some(Counter { slot, last });
        }
        Ok(())
    }

    /// Inserts rows of one partition. Repeats that until the outcome is known; meanwhile the senders
    /// are told to come again.
    async fn insert<R: Insertable>(
        &mut self,
        table: &str,
        mut rows: Vec<R>,
        answers: &mut Answers,
    ) -> Result<(), StoreError> {
        let counter = self.counter.as_mut().ok_or(StoreError::Unavailable)?;
        for row in &mut rows {
            let now = Timestamp::now().as_microsecond();
            counter.last = position::next(counter.last, counter.slot, now);
            row.arrive(counter.last);
        }
        let token = format!("{table}-{}", counter.last);
        loop {
            match self.try_insert(table, &rows, &token).await {
                Ok(()) => {
                    self.is_stuck.store(false, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Failure::Known(error)) if !self.is_stuck.load(Ordering::Relaxed) => {
                    return Err(error);
                }
                Err(_) => {
                    self.is_stuck.store(true, Ordering::Relaxed);
                    answers.give(Err(StoreError::Unavailable));
                    sleep(REPEAT_AFTER).await;
                }
            }
        }
    }

    async fn try_insert<R: Insertable>(
        &self,
        table: &str,
        rows: &[R],
        token: &str,
    ) -> Result<(), Failure> {
        let inserted = timeout(INSERT_TIME, self.send(table, rows, token)).await;
        let inserted = inserted.unwrap_or(Err(Error::TimedOut));
        let outcome = match &inserted {
            Ok(()) => Ok(()),
            Err(error) if is_unknown(error) => Err(Failure::Unknown),
            Err(error) => Err(Failure::Known(match meaning(error) {
                // More memory or time may be free later.
                StoreError::TimedOut => StoreError::Busy,
                other => other,
            })),
        };
        let _ = self.engine.judged(inserted);
        outcome
    }

    async fn send<R: Insertable>(
        &self,
        table: &str,
        rows: &[R],
        token: &str,
    ) -> clickhouse::error::Result<()> {
        let insert = self.engine.insert::<R>(table).await?;
        let mut insert = insert.with_setting("insert_deduplication_token", token);
        for row in rows {
            insert.write(row).await?;
        }
        insert.end().await
    }
}

/// Whether an insert that ended like this may still be stored.
fn is_unknown(error: &Error) -> bool {
    match error {
        Error::TimedOut => true,
        Error::Network(source) => {
            // Without a connection nothing was sent.
            let source = source.downcast_ref::<hyper_util::client::legacy::Error>();
            !source.is_some_and(hyper_util::client::legacy::Error::is_connect)
        }
        _ => false,
    }
}

/// The answers that the senders of a group wait for.
struct Answers(Vec<oneshot::Sender<Result<(), StoreError>>>);

impl Answers {
    /// Gives the answer to all who have none yet. A sender may be gone.
    fn give(&mut self, result: Result<(), StoreError>) {
        for answer in self.0.drain(..) {
            let _ = answer.send(result);
        }
    }
}

/// A row with a place in the order of arrival.
trait Insertable: RowOwned + RowWrite + Row + Serialize + Send + Sync {
    fn arrive(&mut self, arrival: u64);

    /// Microseconds since the epoch.
    fn timestamp(&self) -> i64;
}

impl Insertable for EventRow {
    fn arrive(&mut self, arrival: u64) {
        self.arrival = arrival;
    }

    fn timestamp(&self) -> i64 {
        self.timestamp
    }
}

impl Insertable for MetricRow {
    fn arrive(&mut self, arrival: u64) {
        self.arrival = arrival;
    }

    fn timestamp(&self) -> i64 {
        self.timestamp
    }
}

#[derive(Debug, Row, Serialize)]
struct LeftOutRow {
    project: i64,
    events: u64,
    metrics: u64,
}

impl Insertable for LeftOutRow {
    /// The order of counts does not matter.
    fn arrive(&mut self, _: u64) {}

    fn timestamp(&self) -> i64 {
        0
    }
}

/// Rows by the partition that they are stored in, in the order in which they came.
fn by_partition<R: Insertable>(rows: Vec<R>) -> Vec<Vec<R>> {
    let mut partitions = BTreeMap::<_, Vec<R>>::new();
    for row in rows {
        let day = row.timestamp().div_euclid(MICROS_PER_DAY);
        let partition = DAYS.contains(&day).then_some(day);
        partitions.entry(partition).or_default().push(row);
    }
    partitions.into_values().collect()
}
