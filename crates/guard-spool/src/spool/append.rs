//! Appending records, and creating, sealing and rewriting segments.

use std::path::PathBuf;
use std::sync::Arc;

use guard_wire::Kind;

use crate::error::{AppendError, At, IoError};
use crate::format::frame::{self, FRAME_LEN, HEADER_LEN, SEAL_LEN};
use crate::platform::clock::milliseconds;
use crate::records::Records;
use crate::segment::{Contents, Name, Segment};
use crate::spool::Spool;
use crate::token::Token;
use crate::write_head::{Appender, OpenSegment, lock};

impl Spool {
    /// Appends records, with one write for each segment: usually one. The owner holds them
    /// until it acknowledges or releases them. They are durable after
    /// [`Options::sync_interval`](crate::Options::sync_interval), or a [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// The spool then contains none of the records, and the call can be repeated. If the
    /// process dies between the error and the next sync, its successor may find some of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use guard_spool::{AppendError, Kind, Options, Spool};
    ///
    /// let root = tempfile::tempdir()?;
    /// let mut spool = Spool::open(root.path(), Options::default())?;
    /// let tokens = spool.append(&[(Kind::Event, b"one".as_slice()), (Kind::Metric, b"two")])?;
    /// assert_eq!(tokens.len(), 2);
    ///
    /// let large = vec![0; 2 << 20];
    /// let refused = spool.append(&[(Kind::Event, large.as_slice())]);
    /// assert!(matches!(refused, Err(AppendError::RecordTooLarge { position: 0, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(&mut self, records: &[(Kind, &[u8])]) -> Result<Vec<Token>, AppendError> {
        self.check(records)?;
        let mut tokens = Vec::with_capacity(records.len());
        let done = self.append_all(records, &mut tokens);
        self.note_appended();
        if let Err(error) = done {
            // Some records may be in an earlier segment: take them back.
            self.forget(&tokens);
            return Err(error.into());
        }
        Ok(tokens)
    }

    /// A handle with which another thread appends to this spool.
    pub fn appender(&self) -> Appender {
        Appender(Arc::clone(&self.head))
    }

    /// Checks the limits, and compacts if the spool is full.
    fn check(&mut self, records: &[(Kind, &[u8])]) -> Result<(), AppendError> {
        let limit = self.options.max_record;
        let mut needed = 0;
        for (position, (_, bytes)) in records.iter().enumerate() {
            let len = bytes.len();
            if len > limit {
                return Err(AppendError::RecordTooLarge {
                    position,
                    len,
                    limit,
                });
            }
            needed += (FRAME_LEN + len) as u64;
        }
        let limit = self.options.max_bytes;
        self.note_appended();
        if self.used() + needed > limit {
            self.compact(needed);
            let used = self.used();
            if used + needed > limit {
                return Err(AppendError::Full {
                    needed,
                    used,
                    limit,
                });
            }
        }
        Ok(())
    }

    fn append_all(
        &mut self,
        mut records: &[(Kind, &[u8])],
        tokens: &mut Vec<Token>,
    ) -> Result<(), IoError> {
        while !records.is_empty() {
            self.repair()?;
            self.begin_segment()?;
            let mut head = lock(&self.head);
            if head.needs_rewrite() {
                continue;
            }
            let fitting = head.count_fitting(records);
            let (now, later) = records.split_at(fitting);
            tokens.extend(head.write(now)?);
            drop(head);
            if fitting == 0 {
                self.seal()?;
            }
            records = later;
        }
        Ok(())
    }

    /// Creates a segment to append to, unless there is one.
    pub(crate) fn begin_segment(&mut self) -> Result<(), IoError> {
        if lock(&self.head).is_begun() {
            return Ok(());
        }
        self.finish_full()?;
        // Without a full segment, the write head can rotate; an appender may have done so.
        if !lock(&self.head).is_begun() {
            let open = self.new_segment()?;
            lock(&self.head).active = Some(open);
        }
        Ok(())
    }

    /// Creates the next segment once the active one is half full.
    pub(crate) fn prepare_due(&mut self) -> Result<(), IoError> {
        if lock(&self.head).wants_next() {
            let open = self.new_segment()?;
            lock(&self.head).next = Some(open);
        }
        Ok(())
    }

    fn new_segment(&mut self) -> Result<OpenSegment, IoError> {
        self.ensure_directory()?;
        let name = Name {
            number: self.next_number,
            salt: self.rng.u32(..),
        };
        // Wall time may go backwards, but the order of segments must not change.
        let created = milliseconds(self.clock.wall()).max(self.last_created);
        // A vector that grows by doubling could take twice the memory.
        let room = usize::try_from(self.options.segment_bytes).unwrap_or(0);
        let mut tail = std::mem::take(&mut lock(&self.head).spare);
        tail.clear();
        tail.reserve_exact(room);
        tail.extend(frame::header(name.salt, created));
        let path = self.own.join(name.file("log"));
        let file = self.fs.create_new(&path).at("create", &path)?;
        self.next_number += 1;
        self.last_created = created;
        let written = file.append(&tail).at("write", &path);
        let id = written
            .and_then(|()| file.id().at("look at", &path))
            .inspect_err(|_| {
                // If this fails, the file holds no record and is removed with the directory.
                let _ = self.fs.remove_file(&path);
            })?;
        let serial = self.next_serial;
        self.next_serial += 1;
        self.unsynced_dirs.insert(self.own.clone());
        let segment = Segment {
            directory: self.own.clone(),
            name,
            id,
            created,
            contents: Contents::Read(Records::default()),
            len: HEADER_LEN as u64,
            present: 0,
            unreadable: 0,
            damaged: false,
            ack_len: 0,
            ack_stale: false,
            retry_at: None,
        };
        self.segments.insert(serial, segment);
        Ok(OpenSegment {
            serial,
            salt: name.salt,
            path,
            file: file.into(),
            synced: 0,
            tail,
            indices: 0,
            unnoted: Vec::new(),
            since: None,
            needs_rewrite: false,
        })
    }

    /// Adds appended records to their segments, and tells appenders how much room is left.
    pub(crate) fn note_appended(&mut self) {
        let mut head = lock(&self.head);
        for open in head.written_mut() {
            if let Some(segment) = self.segments.get_mut(&open.serial) {
                segment.note(open);
            }
        }
        head.room = self.options.max_bytes.saturating_sub(self.used());
    }

    /// Seals the active segment.
    pub(crate) fn seal(&mut self) -> Result<(), IoError> {
        self.finish_full()?;
        let mut head = lock(&self.head);
        // An appender may have rotated meanwhile.
        if head.full.is_none() {
            head.full = head.active.take();
        }
        drop(head);
        self.finish_full()
    }

    /// Removes the next segment, which has no records.
    pub(crate) fn end_next(&mut self) -> Result<(), IoError> {
        let mut head = lock(&self.head);
        if head.full.is_none() {
            head.full = head.next.take();
        }
        drop(head);
        self.finish_full()
    }

    /// Syncs and seals the full segment, if there is one.
    pub(crate) fn finish_full(&mut self) -> Result<(), IoError> {
        let mut head = lock(&self.head);
        let Some((serial, indices)) = head.full.as_ref().map(|full| (full.serial, full.indices))
        else {
            return Ok(());
        };
        if indices == 0 {
            head.detach(serial);
            drop(head);
            return self.delete(serial);
        }
        drop(head);
        // Records before a seal must be durable, so that gaps there mean damage.
        self.sync_records()?;
        self.note_appended();
        let mut head = lock(&self.head);
        // A rewrite may have sealed it, and another segment may be full now.
        let Some(full) = head.full.take_if(|full| full.serial == serial) else {
            return Ok(());
        };
        head.spare = full.tail;
        drop(head);
        let mut seal = Vec::with_capacity(SEAL_LEN);
        frame::push_seal(&mut seal, full.salt, full.indices);
        // Without a seal, the next process only learns less when it adopts the segment.
        if full.file.append(&seal).is_ok()
            && let Some(segment) = self.segments.get_mut(&full.serial)
        {
            segment.len += seal.len() as u64;
        }
        self.delete_if_finished(full.serial)
    }

    /// Rewrites open segments that may be damaged, from their durable bytes and the bytes in
    /// memory, and seals them.
    pub(crate) fn repair(&mut self) -> Result<(), IoError> {
        while let Some((serial, path, synced)) = self.next_rewrite() {
            self.note_appended();
            let mut bytes = match synced {
                0 => Vec::new(),
                synced => self.read(&path, synced)?,
            };
            if let Some(open) = lock(&self.head).find_mut(serial) {
                bytes.extend_from_slice(&open.tail);
            }
            self.scan_segment(serial, &bytes)?;
            self.replace(serial, &bytes)?;
        }
        Ok(())
    }

    /// An open segment that must be rewritten: its path, and how many of its bytes are durable.
    /// Appenders do not touch it.
    fn next_rewrite(&self) -> Option<(u64, PathBuf, u64)> {
        let head = lock(&self.head);
        let open = head.written().find(|open| open.needs_rewrite)?;
        Some((open.serial, open.path.clone(), open.synced))
    }
}
