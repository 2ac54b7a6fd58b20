//! The journal: saves queued records to the store, removes delivered ones, and loads
//! records back that memory had no room for.
//!
//! It runs on a dedicated thread, so that neither callers nor deliveries wait for
//! a disk. For a store on disk, a second thread, the writer, appends. So new records
//! do not wait while the journal syncs, removes, reads, or takes over the records of
//! dead processes. The journal does everything that the writer cannot do. A record
//! delivered before it was saved is never written. While the store fails, the agent
//! continues in memory, and the journal tries again every [`RETRY_AFTER`].

pub(crate) mod thread;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use guard_wire::Kind;

use self::writer::Writer;
use crate::ledger::LossReason;
use crate::queue::{Queue, Saver, StoreCommands, Unsaved};
use crate::report::Level;
use crate::shared::Shared;
use crate::store::{GATHER, OpenStore, Store, StoreError};

/// While the store keeps up, a record is passed to it at most this long after it was
/// accepted.
pub const SAVED_WITHIN: Duration = Duration::from_millis(10);

/// The time between attempts to use a store that fails.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of bytes written together.
const GROUP: usize = 512 * 1024;

/// The work of the journal, step by step.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    open: OpenStore,
    store: Option<Box<dyn Store>>,
    /// Saves beside the journal, if the store supports it.
    writer: Option<Writer>,
    /// Time of the next attempt, set while the store fails.
    retry_at: Option<Instant>,
    /// A permanent failure of the store was already reported.
    is_told: bool,
}

impl Journal {
    /// Uses a store that is open, or opens one in the first step.
    pub(crate) fn new(shared: Arc<Shared>, open: OpenStore, store: Option<Box<dyn Store>>) -> Self {
        Self {
            shared,
            open,
            store,
            writer: None,
            retry_at: None,
            is_told: false,
        }
    }

    /// How long records gather between two steps.
    pub(crate) fn gathering(&self) -> Duration {
        self.store
            .as_ref()
            .map_or(GATHER, |store| store.gathering())
    }

    /// Does all pending work. Returns when to check again at the latest.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Instant> {
        self.shared.queue.clear_notified(Saver::Journal);
        if let Some(at) = self.retry_at
            && now < at
        {
            return Some(at);
        }
        let next = match self.work(now) {
            Ok(next) => {
                self.recovered();
                next
            }
            Err(error) => {
                self.failed(&error, now);
                self.retry_at
            }
        };
        // Last: a reader who sees saved records must also see that the store works.
        self.note_usage();
        next
    }

    /// Saves all records when the agent stops, whatever failed before, and leaves them to
    /// the store. Returns the store for the next start.
    pub(crate) fn finish(mut self, now: Instant) -> Option<Box<dyn Store>> {
        if let Some(writer) = self.writer.take() {
            writer.stop(&self.shared);
        }
        self.shared.queue.mark_unsaved();
        let shared = Arc::clone(&self.shared);
        let saved = self.store().and_then(|store| {
            let written = write(store, &shared);
            let synced = store.sync();
            let saved = save_again(store, &shared);
            written.and(synced).and(saved)
        });
        // Records saved earlier stay in the store, even if it fails now.
        shared.queue.evict_all();
        let applied = match &mut self.store {
            Some(store) => apply(store.as_mut(), &shared),
            None => Ok(()),
        };
        if let Err(error) = saved.and(applied) {
            self.failed(&error, now);
        }
        self.note_usage();
        self.store
    }

    fn work(&mut self, now: Instant) -> Result<Option<Instant>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.start_writer()?;
        let store = self.store()?;
        let applied = apply(store, &shared);
        let written = write(store, &shared);
        // Handles records that were settled during the write.
        let applied = applied.and_then(|()| apply(store, &shared));
        // Last: records written just now may be due for syncing.
        let ticked = store.tick(now);
        save_again(store, &shared)?;
        let next = ticked?;
        if let Some(warning) = store.warning() {
            shared.report(Level::Warning, "spool", "spool_endangered", || warning);
        }
        let queue = &shared.queue;
        if store.usage().backlog
            && let Some(room) = queue.room_for_backlog()
        {
            queue.restore(store.load(room)?, now);
        }
        applied.and(written).map(|()| next)
    }

    /// Returns the store, and opens it first if needed.
    fn store(&mut self) -> Result<&mut dyn Store, StoreError> {
        if self.store.is_none() {
            let store = (self.open)()?;
            self.shared.durability.opened(store.as_ref());
            self.store = Some(store);
        }
        match &mut self.store {
            Some(store) => Ok(store.as_mut()),
            None => Err(StoreError::Failed("not open".to_owned())),
        }
    }

    /// Starts a dedicated thread that appends, if the store supports it. If no thread can
    /// be started, the journal appends.
    fn start_writer(&mut self) -> Result<(), StoreError> {
        if self.writer.is_none()
            && let Some(appender) = self.store()?.appender()
        {
            self.writer = Writer::start(&self.shared, appender).ok();
        }
        Ok(())
    }

    fn note_usage(&self) {
        if let Some(store) = &self.store {
            let usage = store.usage();
            self.shared.queue.set_backlog(usage.backlog);
            let since = self.shared.durability.note(usage);
            self.shared.queue.hand_over(since.taken);
            self.lose_damaged(since.damaged);
        }
    }

    fn lose_damaged(&self, damaged: [u64; 2]) {
        let lost: u64 = damaged.iter().sum();
        if lost == 0 {
            return;
        }
        self.shared
            .queue
            .lose_spooled(damaged, LossReason::SpoolDamaged);
        self.shared.error("spool", "spool_damaged", || {
            format!(
                "{lost} record(s) in the spool cannot be read any more: lost; check the disk, or \
                 how Redis saves its data"
            )
        });
    }

    fn recovered(&mut self) {
        if self.retry_at.take().is_some() {
            self.is_told = false;
            self.shared.durability.mark_recovered();
            self.shared.report(Level::Info, "spool", "spool_back", || {
                "the spool works again; what had gathered is saved".to_owned()
            });
        }
    }

    fn failed(&mut self, error: &StoreError, now: Instant) {
        self.retry_at = Some(now + RETRY_AFTER);
        self.shared.durability.fail();
        let is_lasting = matches!(error, StoreError::Unusable(_));
        if is_lasting && self.is_told {
            return;
        }
        let is_told = &mut self.is_told;
        self.shared.error("spool", "spool_failed", || {
            *is_told = is_lasting;
            format!("records are kept in memory only, and lost with the process: {error}")
        });
    }
}

/// Releases, removes and quarantines records that the queue has settled.
fn apply(store: &mut dyn Store, shared: &Shared) -> Result<(), StoreError> {
    let mut commands = shared.queue.take_commands();
    store.release(&std::mem::take(&mut commands.release));
    let outcome = apply_commands(store, &mut commands);
    if outcome.is_err() {
        shared.queue.put_back(commands);
    }
    outcome
}

/// Leaves the commands in `commands` that could not be carried out.
fn apply_commands(store: &mut dyn Store, commands: &mut StoreCommands) -> Result<(), StoreError> {
    if !commands.remove.is_empty() {
        store.remove(&commands.remove)?;
        commands.remove.clear();
    }
    while let Some(poison) = commands.quarantine.last() {
        let reason = poison.reason.as_str();
        store.quarantine(poison.token, poison.kind, &poison.bytes, reason)?;
        commands.quarantine.pop();
    }
    Ok(())
}

/// Saves unsaved records, unless the writer is responsible for them.
fn write(store: &mut dyn Store, shared: &Shared) -> Result<(), StoreError> {
    by_groups(&shared.queue, Saver::Journal, |group| {
        save(store, shared, group)
    })
}

/// Saves records again that the store had and lost. Syncs them, because they were safe
/// before.
fn save_again(store: &mut dyn Store, shared: &Shared) -> Result<(), StoreError> {
    let lost = store.forgotten();
    if lost.is_empty() {
        return Ok(());
    }
    shared.queue.save_again(&lost);
    write(store, shared)?;
    store.sync()
}

/// Passes unsaved records of this saver to `save`, group by group. Records that come
/// in meanwhile are not included.
fn by_groups<E>(
    queue: &Queue,
    saver: Saver,
    mut save: impl FnMut(Vec<Unsaved>) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let group = queue.take_unsaved(saver, GROUP);
        let bytes: usize = group.iter().map(|record| record.bytes.len()).sum();
        if !group.is_empty() {
            save(group)?;
        }
        if bytes < GROUP / 2 {
            return Ok(());
        }
    }
}

/// Converts a group to the form that stores accept.
fn records(group: &[Unsaved]) -> Vec<(Kind, &[u8])> {
    group
        .iter()
        .map(|record| (record.kind, record.bytes.as_ref()))
        .collect()
}

/// Saves a group. If the store is full and the policy allows it, discards the oldest
/// records.
fn save(store: &mut dyn Store, shared: &Shared, group: Vec<Unsaved>) -> Result<(), StoreError> {
    let records = records(&group);
    let mut outcome = store.append(&records);
    if matches!(outcome, Err(StoreError::Full { .. })) && shared.queue.drops() {
        let bytes: usize = records.iter().map(|(_, bytes)| bytes.len()).sum();
        // Records that left memory meanwhile can be discarded too.
        outcome = apply(store, shared)
            .and_then(|()| discard(store, shared, bytes))
            .and_then(|()| store.append(&records));
    }
    match outcome {
        Ok(tokens) => {
            shared.queue.saved(&group, &tokens);
            Ok(())
        }
        Err(error) => {
            shared.queue.not_saved(group);
            Err(error)
        }
    }
}

fn discard(store: &mut dyn Store, shared: &Shared, bytes: usize) -> Result<(), StoreError> {
    let discarded = store.discard_oldest(bytes as u64)?;
    shared.queue.lose_spooled(discarded, LossReason::SpoolFull);
    let lost: u64 = discarded.iter().sum();
    if lost > 0 {
        shared.error("spool", "spool_full", || {
            format!(
                "spool full: {lost} oldest record(s) lost; see why the backend does not keep up, \
                 or raise spool_max_bytes, or redis_max_bytes with a redis_url"
            )
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
