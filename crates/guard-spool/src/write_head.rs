//! What is appended to: the spool's, and whoever's appends beside it.
//!
//! Its lock is held for plain writes to a file alone, and never while anything
//! else is asked of the file system.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use guard_wire::Kind;

use crate::error::{At, IoError};
use crate::format::frame::{self, FRAME_LEN, MAX_RECORDS, SEAL_LEN};
use crate::options::{Options, SyncPolicy};
use crate::platform::clock::Clock;
use crate::platform::fs::File;
use crate::spool::{Token, token};

/// Appends beside a [`Spool`](crate::Spool), on another thread, while the spool
/// waits for the disk: each call is one plain write to a file that is open.
///
/// What it appends is the spool's: durable when the spool's
/// [`tick`](crate::Spool::tick) has synced it, and acknowledged there.
#[derive(Debug, Clone)]
pub struct Appender(pub(crate) Arc<Mutex<Front>>);

impl Appender {
    /// Appends records, all of them or none. None when this takes more than a write:
    /// [`Spool::append`](crate::Spool::append) does it, or says why it cannot. That is
    /// so when the segment that comes next is not there yet, when the spool is full
    /// or closed, when the file system refused, and always with
    /// [`SyncPolicy::Always`].
    ///
    /// # Examples
    ///
    /// ```
    /// use guard_spool::{Kind, Options, Spool};
    ///
    /// let root = tempfile::tempdir()?;
    /// let mut spool = Spool::open(root.path(), Options::default())?;
    /// let appender = spool.appender();
    /// let beside = std::thread::spawn(move || appender.append(&[(Kind::Event, b"{}")]));
    /// spool.tick()?;
    /// let tokens = beside.join().unwrap().expect("room, and a sound disk");
    /// spool.acknowledge(&tokens)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(&self, records: &[(Kind, &[u8])]) -> Option<Vec<Token>> {
        let mut front = lock(&self.0);
        if !front.may_append(records) {
            return None;
        }
        if front.fitting(records) < records.len() {
            front.turn();
        }
        if front.fitting(records) < records.len() {
            return None;
        }
        front.write(records).ok()
    }
}

/// A segment that can be appended to, or could until its last sync.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) serial: u64,
    pub(crate) salt: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// Bytes known to be durable.
    pub(crate) synced: u64,
    /// The bytes after these, kept until they are durable.
    pub(crate) tail: Vec<u8>,
    /// Indices given.
    pub(crate) indices: u32,
    /// The last of these, of which the spool has not taken note.
    pub(crate) news: Vec<Kind>,
    /// When the file was changed first after its last sync began.
    pub(crate) since: Option<Instant>,
    /// The file can no longer be trusted and is to be written anew.
    pub(crate) doubtful: bool,
}

impl Open {
    pub(crate) fn len(&self) -> u64 {
        self.synced + self.tail.len() as u64
    }

    /// Whether a sync has something to do.
    pub(crate) fn is_changed(&self) -> bool {
        self.since.is_some() || !self.tail.is_empty()
    }
}

/// Three segments at most: one that is full, one that takes records, and one for
/// afterwards.
#[derive(Debug)]
pub(crate) struct Front {
    options: Options,
    clock: Arc<dyn Clock>,
    /// To be synced and sealed.
    pub(crate) full: Option<Open>,
    pub(crate) active: Option<Open>,
    pub(crate) next: Option<Open>,
    /// The room of a segment's bytes, for the next one.
    pub(crate) spare: Vec<u8>,
    /// Bytes that may be appended, as far as the spool has told.
    pub(crate) room: u64,
    pub(crate) closed: bool,
}

impl Front {
    pub(crate) fn new(options: &Options, clock: &Arc<dyn Clock>) -> Self {
        Self {
            options: options.clone(),
            clock: Arc::clone(clock),
            full: None,
            active: None,
            next: None,
            spare: Vec::new(),
            room: options.max_bytes,
            closed: false,
        }
    }

    /// Those that records were appended to, in their order.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Open> {
        self.full.iter().chain(&self.active)
    }

    pub(crate) fn written_mut(&mut self) -> impl Iterator<Item = &mut Open> {
        self.full.iter_mut().chain(&mut self.active)
    }

    pub(crate) fn find_mut(&mut self, serial: u64) -> Option<&mut Open> {
        self.written_mut().find(|open| open.serial == serial)
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.written().any(|open| open.doubtful)
    }

    /// Whether it is time to make the segment that comes next.
    pub(crate) fn wants_next(&self) -> bool {
        let half = self.options.segment_bytes / 2;
        let is_half_full = self.active.as_ref().is_none_or(|open| open.len() > half);
        self.next.is_none() && is_half_full
    }

    fn may_append(&self, records: &[(Kind, &[u8])]) -> bool {
        let lengths = || records.iter().map(|(_, bytes)| bytes.len());
        let needed: usize = lengths().map(|len| FRAME_LEN + len).sum();
        !self.closed
            && !self.is_doubtful()
            && self.options.sync != SyncPolicy::Always
            && needed as u64 <= self.room
            && lengths().all(|len| len <= self.options.max_record)
    }

    /// How many of the records, from the first on, fit the active segment.
    pub(crate) fn fitting(&self, records: &[(Kind, &[u8])]) -> usize {
        let Some(active) = &self.active else {
            return 0;
        };
        let mut room = (self.options.segment_bytes).saturating_sub(active.len() + SEAL_LEN as u64);
        let fits = |(_, bytes): &&(Kind, &[u8])| {
            let needed = (FRAME_LEN + bytes.len()) as u64;
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        };
        let left = (MAX_RECORDS - active.indices) as usize;
        records.iter().take(left).take_while(fits).count()
    }

    /// Whether there is a segment to append to; the next one, if the last has ended.
    pub(crate) fn is_begun(&mut self) -> bool {
        if self.active.is_none() {
            self.turn();
        }
        self.active.is_some()
    }

    /// Goes on to the next segment, if there is one and the last one is sealed.
    pub(crate) fn turn(&mut self) {
        if self.full.is_none() && self.next.is_some() {
            self.full = self.active.take();
            self.active = self.next.take();
        }
    }

    /// Appends to the active segment in one write; tokens for all that fit it.
    pub(crate) fn write(&mut self, group: &[(Kind, &[u8])]) -> Result<Vec<Token>, IoError> {
        let Some(active) = &mut self.active else {
            return Ok(Vec::new());
        };
        let (first, len, before) = (active.indices, active.len(), active.tail.len());
        for (index, (kind, bytes)) in (first..).zip(group) {
            frame::push_record(&mut active.tail, active.salt, index, *kind, bytes);
        }
        let written = active.file.append(&active.tail[before..]);
        // A cut is to be durable too.
        active.since.get_or_insert_with(|| self.clock.now());
        if written.is_err() {
            active.tail.truncate(before);
            active.doubtful |= active.file.truncate(len).is_err();
        }
        written.at("write", &active.path)?;
        let mut tokens = Vec::with_capacity(group.len());
        for (index, (kind, _)) in (first..).zip(group) {
            active.news.push(*kind);
            active.indices = index + 1;
            tokens.push(token(active.serial, index));
        }
        self.room = self.room.saturating_sub(active.len() - len);
        Ok(tokens)
    }

    /// A segment was written anew, or removed: nothing is appended to it any more.
    pub(crate) fn leave(&mut self, serial: u64) -> Option<Open> {
        let mut places = [&mut self.full, &mut self.active, &mut self.next].into_iter();
        places.find_map(|place| place.take_if(|open| open.serial == serial))
    }
}

pub(crate) fn lock(front: &Mutex<Front>) -> MutexGuard<'_, Front> {
    front.lock().unwrap_or_else(PoisonError::into_inner)
}
