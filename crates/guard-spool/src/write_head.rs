//! The write head: the segments that take new records, shared by the spool and its appenders.
//!
//! Its lock is held during appends to a file, and during no other call of the file system.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use guard_wire::Kind;

use crate::error::{At, IoError};
use crate::format::frame::{self, FRAME_LEN, SEAL_LEN};
use crate::options::Options;
use crate::platform::clock::Clock;
use crate::platform::fs::File;
use crate::token::{MAX_RECORDS, Token};

/// Appends to a [`Spool`](crate::Spool) from another thread, also while the spool waits for the
/// disk. Each call is one plain write to an open file.
///
/// The records belong to the spool: its [`tick`](crate::Spool::tick) syncs them, and the owner
/// acknowledges them there.
#[derive(Debug, Clone)]
pub struct Appender(pub(crate) Arc<Mutex<WriteHead>>);

impl Appender {
    /// Appends records, all of them or none.
    ///
    /// Returns `None` if it appended none because more than a write is needed. Then call
    /// [`Spool::append`](crate::Spool::append), which does that work or returns the error. This
    /// happens when the next segment does not exist yet, when the spool is full or closed, and
    /// after a failed write.
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
        let mut head = lock(&self.0);
        if !head.may_append(records) {
            return None;
        }
        if head.count_fitting(records) < records.len() {
            head.rotate();
        }
        if head.count_fitting(records) < records.len() {
            return None;
        }
        head.write(records).ok()
    }
}

/// An open segment: it takes records, or is full and not sealed yet.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) serial: u64,
    pub(crate) salt: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// Number of bytes that are durable.
    pub(crate) synced: u64,
    /// The bytes after these, kept until they are durable too.
    pub(crate) tail: Vec<u8>,
    /// Number of indices assigned.
    pub(crate) indices: u32,
    /// The kinds of the last records, which the spool has not added to its segment yet.
    pub(crate) unnoted: Vec<Kind>,
    /// When the file was first changed after the start of its last sync.
    pub(crate) since: Option<Instant>,
    /// Whether the file may differ from what was written, so that it must be rewritten.
    pub(crate) needs_rewrite: bool,
}

impl OpenSegment {
    pub(crate) fn len(&self) -> u64 {
        self.synced + self.tail.len() as u64
    }

    /// Whether it has unsynced changes.
    pub(crate) fn is_changed(&self) -> bool {
        self.since.is_some() || !self.tail.is_empty()
    }
}

/// At most three open segments: a full one, the active one, and the next one.
#[derive(Debug)]
pub(crate) struct WriteHead {
    options: Options,
    clock: Arc<dyn Clock>,
    /// Must be synced and sealed.
    pub(crate) full: Option<OpenSegment>,
    pub(crate) active: Option<OpenSegment>,
    pub(crate) next: Option<OpenSegment>,
    /// A buffer with the capacity of a segment, to be used for the next one.
    pub(crate) spare: Vec<u8>,
    /// Bytes that may be appended before the spool is full, as of its last update.
    pub(crate) room: u64,
    pub(crate) closed: bool,
}

impl WriteHead {
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

    /// The segments that have taken records, in order.
    pub(crate) fn written(&self) -> impl Iterator<Item = &OpenSegment> {
        self.full.iter().chain(&self.active)
    }

    pub(crate) fn written_mut(&mut self) -> impl Iterator<Item = &mut OpenSegment> {
        self.full.iter_mut().chain(&mut self.active)
    }

    pub(crate) fn find_mut(&mut self, serial: u64) -> Option<&mut OpenSegment> {
        self.written_mut().find(|open| open.serial == serial)
    }

    pub(crate) fn needs_rewrite(&self) -> bool {
        self.written().any(|open| open.needs_rewrite)
    }

    /// Whether it is time to create the next segment.
    pub(crate) fn wants_next(&self) -> bool {
        let half = self.options.segment_bytes / 2;
        let is_half_full = self.active.as_ref().is_none_or(|open| open.len() > half);
        self.next.is_none() && is_half_full
    }

    fn may_append(&self, records: &[(Kind, &[u8])]) -> bool {
        let lengths = || records.iter().map(|(_, bytes)| bytes.len());
        let needed: usize = lengths().map(|len| FRAME_LEN + len).sum();
        !self.closed
            && !self.needs_rewrite()
            && needed as u64 <= self.room
            && lengths().all(|len| len <= self.options.max_record)
    }

    /// How many of the first records fit into the active segment.
    pub(crate) fn count_fitting(&self, records: &[(Kind, &[u8])]) -> usize {
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

    /// Whether there is an active segment. Rotates to the next one if necessary.
    pub(crate) fn is_begun(&mut self) -> bool {
        if self.active.is_none() {
            self.rotate();
        }
        self.active.is_some()
    }

    /// Makes the next segment the active one, if there is one and the last full one is sealed.
    pub(crate) fn rotate(&mut self) {
        if self.full.is_none() && self.next.is_some() {
            self.full = self.active.take();
            self.active = self.next.take();
        }
    }

    /// Appends to the active segment in one write. Returns a token for each record.
    pub(crate) fn write(&mut self, group: &[(Kind, &[u8])]) -> Result<Vec<Token>, IoError> {
        let Some(active) = &mut self.active else {
            return Ok(Vec::new());
        };
        let (first, len, before) = (active.indices, active.len(), active.tail.len());
        for (index, (kind, bytes)) in (first..).zip(group) {
            frame::push_record(&mut active.tail, active.salt, index, *kind, bytes);
        }
        let written = active.file.append(&active.tail[before..]);
        // A truncation must be synced too.
        active.since.get_or_insert_with(|| self.clock.now());
        if written.is_err() {
            active.tail.truncate(before);
            active.needs_rewrite |= active.file.truncate(len).is_err();
        }
        written.at("write", &active.path)?;
        let mut tokens = Vec::with_capacity(group.len());
        for (index, (kind, _)) in (first..).zip(group) {
            active.unnoted.push(*kind);
            active.indices = index + 1;
            tokens.push(Token::new(active.serial, index));
        }
        self.room = self.room.saturating_sub(active.len() - len);
        Ok(tokens)
    }

    /// Stops appending to a segment, because it was rewritten or removed.
    pub(crate) fn detach(&mut self, serial: u64) -> Option<OpenSegment> {
        let mut places = [&mut self.full, &mut self.active, &mut self.next].into_iter();
        places.find_map(|place| place.take_if(|open| open.serial == serial))
    }
}

pub(crate) fn lock(head: &Mutex<WriteHead>) -> MutexGuard<'_, WriteHead> {
    head.lock().unwrap_or_else(PoisonError::into_inner)
}
