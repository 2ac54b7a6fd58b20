//! Appending, and making it durable.

use std::path::PathBuf;
use std::sync::Arc;

use guard_wire::Kind;

use crate::error::{AppendError, At, IoError};
use crate::format::frame::{self, FRAME_LEN, HEADER_LEN, SEAL_LEN};
use crate::options::SyncPolicy;
use crate::platform::clock::milliseconds;
use crate::records::Records;
use crate::segment::{Contents, Name, Segment};
use crate::spool::{Spool, Token};
use crate::write_head::{Appender, Open, lock};

impl Spool {
    /// Appends records with one write for each segment they go to, one in all but
    /// rare cases. The owner holds them until it acknowledges or releases them.
    ///
    /// Durable when [`SyncPolicy`] says so.
    ///
    /// # Errors
    ///
    /// None of the records is in the spool then, and the call can be repeated.
    /// (A process that dies between such an error and the next sync may leave
    /// some of them for its successor all the same.)
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
            // Written with an earlier segment: the caller keeps all or none.
            self.forget(&tokens);
            return Err(error.into());
        }
        Ok(tokens)
    }

    /// Appends beside this spool, on another thread.
    pub fn appender(&self) -> Appender {
        Appender(Arc::clone(&self.front))
    }

    /// Whether records may be appended at all.
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
            self.reclaim(needed);
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
            let mut front = lock(&self.front);
            if front.is_doubtful() {
                continue;
            }
            let fitting = front.fitting(records);
            let (now, later) = records.split_at(fitting);
            tokens.extend(front.write(now)?);
            drop(front);
            if fitting == 0 {
                self.seal()?;
            }
            records = later;
        }
        match self.options.sync {
            SyncPolicy::Always => self.sync_records(),
            SyncPolicy::Interval(_) => Ok(()),
        }
    }

    /// Makes a segment to append to, unless there is one.
    pub(crate) fn begin_segment(&mut self) -> Result<(), IoError> {
        if lock(&self.front).is_begun() {
            return Ok(());
        }
        self.finish_full()?;
        // It was in the way of the next one, which an appender may have gone on to.
        if !lock(&self.front).is_begun() {
            let open = self.new_segment()?;
            lock(&self.front).active = Some(open);
        }
        Ok(())
    }

    /// Makes the segment that comes next once the active one is half full.
    pub(crate) fn prepare_due(&mut self) -> Result<(), IoError> {
        if lock(&self.front).wants_next() {
            let open = self.new_segment()?;
            lock(&self.front).next = Some(open);
        }
        Ok(())
    }

    fn new_segment(&mut self) -> Result<Open, IoError> {
        self.hold_own()?;
        let name = Name {
            number: self.next_number,
            salt: self.rng.u32(..),
        };
        // Wall time may step back; the order of segments must not.
        let created = milliseconds(self.clock.wall()).max(self.last_created);
        // Growing by doubling it would take twice the segment.
        let room = usize::try_from(self.options.segment_bytes).unwrap_or(0);
        let mut tail = std::mem::take(&mut lock(&self.front).spare);
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
                // What stays behind holds no record, and is removed with the directory.
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
        Ok(Open {
            serial,
            salt: name.salt,
            path,
            file: file.into(),
            synced: 0,
            tail,
            indices: 0,
            news: Vec::new(),
            since: None,
            doubtful: false,
        })
    }

    /// Takes note of what was appended, and tells how much more may be.
    pub(crate) fn note_appended(&mut self) {
        let mut front = lock(&self.front);
        for open in front.written_mut() {
            if let Some(segment) = self.segments.get_mut(&open.serial) {
                segment.note(open);
            }
        }
        front.room = self.options.max_bytes.saturating_sub(self.used());
    }

    /// Ends the active segment: nothing is appended to it any more.
    pub(crate) fn seal(&mut self) -> Result<(), IoError> {
        self.finish_full()?;
        let mut front = lock(&self.front);
        // An appender may have gone on by itself.
        if front.full.is_none() {
            front.full = front.active.take();
        }
        drop(front);
        self.finish_full()
    }

    /// Ends the segment that was to come next, once the one before has ended.
    pub(crate) fn end_next(&mut self) -> Result<(), IoError> {
        let mut front = lock(&self.front);
        if front.full.is_none() {
            front.full = front.next.take();
        }
        drop(front);
        self.finish_full()
    }

    /// Ends the segment that is full, if there is one.
    pub(crate) fn finish_full(&mut self) -> Result<(), IoError> {
        let mut front = lock(&self.front);
        let Some((serial, indices)) = front.full.as_ref().map(|full| (full.serial, full.indices))
        else {
            return Ok(());
        };
        if indices == 0 {
            front.leave(serial);
            drop(front);
            return self.delete(serial);
        }
        drop(front);
        // What stands before a seal is durable, so that gaps there are damage.
        self.sync_records()?;
        self.note_appended();
        let mut front = lock(&self.front);
        // It may have been written anew, and is sealed by that; then another may be full.
        let Some(full) = front.full.take_if(|full| full.serial == serial) else {
            return Ok(());
        };
        front.spare = full.tail;
        drop(front);
        let mut seal = Vec::with_capacity(SEAL_LEN);
        frame::push_seal(&mut seal, full.salt, full.indices);
        // Without a seal the segment says less at the next start, that is all.
        if full.file.append(&seal).is_ok()
            && let Some(segment) = self.segments.get_mut(&full.serial)
        {
            segment.len += seal.len() as u64;
        }
        self.delete_if_finished(full.serial)
    }

    /// Writes doubtful segments anew, from what is known to be durable and what
    /// was kept in memory, and ends them.
    pub(crate) fn repair(&mut self) -> Result<(), IoError> {
        while let Some((serial, path, synced)) = self.doubtful() {
            self.note_appended();
            let mut bytes = match synced {
                0 => Vec::new(),
                synced => self.read(&path, synced)?,
            };
            if let Some(open) = lock(&self.front).find_mut(serial) {
                bytes.extend_from_slice(&open.tail);
            }
            self.survey(serial, &bytes)?;
            self.replace(serial, &bytes)?;
        }
        Ok(())
    }

    /// A segment that is to be written anew, where it is, and how much of it is durable.
    /// Nothing is appended to it meanwhile.
    fn doubtful(&self) -> Option<(u64, PathBuf, u64)> {
        let front = lock(&self.front);
        let open = front.written().find(|open| open.doubtful)?;
        Some((open.serial, open.path.clone(), open.synced))
    }
}
