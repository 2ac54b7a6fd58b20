//! Acknowledging and releasing records, and removing finished segments.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::error::{At, IoError};
use crate::format::sidecar;
use crate::platform::files::{ignore_missing, write_over};
use crate::records::Records;
use crate::spool::Spool;
use crate::token::Token;

impl Spool {
    /// Marks records as delivered or lost: the spool does not return them again. It removes a
    /// segment after its last record. It ignores tokens that were acknowledged before.
    ///
    /// # Errors
    ///
    /// The file system refused to write the acknowledgement or to remove a segment. For this
    /// process the records are acknowledged nevertheless, and [`tick`](Self::tick) tries again.
    /// If the process dies before that succeeds, the records are delivered again.
    pub fn acknowledge(&mut self, tokens: &[Token]) -> Result<(), IoError> {
        self.note_appended();
        for token in tokens {
            self.missing.remove(token);
        }
        let settled = self.settle(tokens);
        let mut result = Ok(());
        for (serial, mut indices) in settled {
            indices.sort_unstable();
            let done = match self.segments.get(&serial) {
                Some(segment) if segment.is_finished() && !self.is_open(serial) => {
                    self.delete(serial)
                }
                _ => self.write_acks(serial, &indices),
            };
            result = result.and(done);
        }
        result
    }

    /// Tells the spool that the owner no longer has these records in memory:
    /// [`load`](Self::load) may return them again.
    pub fn release(&mut self, tokens: &[Token]) {
        self.note_appended();
        for token in tokens {
            if let Some(missed) = self.missing.remove(token) {
                // It was in memory only, and is lost now.
                self.damaged.add(missed.kind, 1);
            } else if let Some(records) = self.records_mut(token.serial()) {
                records.release(token.index());
            }
        }
    }

    /// Takes back the records of a failed append.
    pub(crate) fn forget(&mut self, tokens: &[Token]) {
        for serial in self.settle(tokens).into_keys() {
            self.mark_stale(serial);
        }
    }

    /// Settles records. Returns the indices of those that were live, by segment.
    fn settle(&mut self, tokens: &[Token]) -> BTreeMap<u64, Vec<u32>> {
        let mut settled: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for token in tokens {
            let (serial, index) = (token.serial(), token.index());
            if let Some(records) = self.records_mut(serial)
                && records.settle(index)
            {
                settled.entry(serial).or_default().push(index);
            }
        }
        settled
    }

    fn records_mut(&mut self, serial: u64) -> Option<&mut Records> {
        self.segments.get_mut(&serial)?.records_mut()
    }

    /// Notes that a sidecar lacks acknowledgements, so that the next sync rewrites it.
    pub(crate) fn mark_stale(&mut self, serial: u64) {
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.ack_stale = true;
            self.pending_acks.add_segment(serial, self.clock.now());
        }
    }

    /// Appends acknowledgements to a segment's sidecar.
    fn write_acks(&mut self, serial: u64, indices: &[u32]) -> Result<(), IoError> {
        let Some(segment) = self.segments.get_mut(&serial) else {
            return Ok(());
        };
        self.pending_acks.add_segment(serial, self.clock.now());
        if segment.ack_stale {
            return self.rewrite_acks(serial);
        }
        let path = segment.ack_path();
        let bytes = sidecar::encode(segment.name.salt, indices.iter().copied());
        let file = self.fs.open_append(&path).at("open", &path);
        let written = file.and_then(|file| file.append(&bytes).at("write", &path));
        match written {
            Ok(()) => segment.ack_len += bytes.len() as u64,
            Err(_) => segment.ack_stale = true,
        }
        written
    }

    /// Replaces a sidecar by one that has all acknowledgements.
    fn rewrite_acks(&mut self, serial: u64) -> Result<(), IoError> {
        let Some(segment) = self.segments.get(&serial) else {
            return Ok(());
        };
        let Some(records) = segment.records() else {
            return Ok(());
        };
        let bytes = sidecar::encode(segment.name.salt, records.settled());
        write_over(&*self.fs, &segment.tmp_path(), &segment.ack_path(), &bytes)?;
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.ack_len = bytes.len() as u64;
            segment.ack_stale = false;
        }
        Ok(())
    }

    /// Makes acknowledgements and removals durable, and removes empty directories.
    pub(crate) fn sync_acks(&mut self) -> Result<(), IoError> {
        while let Some(serial) = self.pending_acks.first_segment() {
            if let Some(segment) = self.segments.get(&serial) {
                let path = segment.ack_path();
                self.pending_acks.add_directory(segment.directory.clone());
                if segment.ack_stale {
                    self.write_acks(serial, &[])?;
                }
                let file = self.fs.open_append(&path);
                let synced = ignore_missing(file.and_then(|file| file.sync()));
                if synced.is_err()
                    && let Some(segment) = self.segments.get_mut(&serial)
                {
                    // After a failed sync, its content can no longer be trusted.
                    segment.ack_stale = true;
                }
                synced.at("sync", &path)?;
            }
            self.pending_acks.remove_segment(serial);
        }
        while let Some(directory) = self.pending_acks.first_directory() {
            ignore_missing(self.fs.sync_dir(directory)).at("sync", directory)?;
            self.pending_acks.pop_directory();
        }
        while let Some(path) = self.pending_acks.last_orphan() {
            ignore_missing(self.fs.remove_file(path)).at("remove", path)?;
            self.pending_acks.pop_orphan();
        }
        for directory in self.lease.directories() {
            if *directory != *self.own {
                self.remove_if_empty(&directory)?;
            }
        }
        self.pending_acks.finish();
        Ok(())
    }

    pub(crate) fn delete_if_finished(&mut self, serial: u64) -> Result<(), IoError> {
        match self.segments.get(&serial) {
            Some(segment) if segment.is_finished() && !self.is_open(serial) => self.delete(serial),
            _ => Ok(()),
        }
    }

    /// Removes the finished segments that could not be removed before.
    pub(crate) fn delete_finished(&mut self) -> Result<(), IoError> {
        for serial in self.deletions.clone() {
            self.delete(serial)?;
        }
        Ok(())
    }

    /// Removes a finished segment. Its sidecar is removed later, when this removal is durable: if
    /// a power cut brings the segment back, it needs its sidecar.
    pub(crate) fn delete(&mut self, serial: u64) -> Result<(), IoError> {
        self.deletions.insert(serial);
        self.remove_log(serial)?;
        self.deletions.remove(&serial);
        self.pending_acks.remove_segment(serial);
        if let Some(segment) = self.segments.remove(&serial) {
            let sidecar = segment.ack_path();
            let now = self.clock.now();
            self.pending_acks
                .add_orphan(sidecar, segment.directory, now);
        }
        Ok(())
    }

    /// Removes the file of a segment, or moves it to the quarantine if it is damaged. Does
    /// nothing if the file is gone.
    pub(crate) fn remove_log(&mut self, serial: u64) -> Result<(), IoError> {
        let Some(segment) = self.segments.get(&serial) else {
            return Ok(());
        };
        let path = segment.path();
        if segment.damaged {
            let (len, reason) = (segment.len, segment.damage());
            let stamp = self.stamp();
            return self
                .quarantine
                .move_segment(&*self.fs, &stamp, &path, len, &reason);
        }
        ignore_missing(self.fs.remove_file(&path)).at("remove", &path)
    }

    /// Removes a directory and releases its lock, if it has no segments left.
    pub(crate) fn remove_if_empty(&mut self, directory: &Path) -> Result<(), IoError> {
        if self.segments.values().any(|s| &*s.directory == directory) {
            return Ok(());
        }
        let lock = directory.join(crate::directory::LOCK);
        let entries = match self.fs.list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries.at("list", directory)?,
        };
        // Other files do not belong to the spool. They stay, and so does the lock.
        if entries.iter().all(|e| e.name == crate::directory::LOCK) {
            ignore_missing(self.fs.remove_file(&lock)).at("remove", &lock)?;
            self.lease.unlock(directory);
            self.unsynced_dirs.remove(directory);
            self.pending_acks.remove_directory(directory);
            match self.fs.remove_dir(directory) {
                // A starting process has created its lock there.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                // If this fails, the next adoption removes the directory.
                removed => ignore_missing(removed).at("remove", directory)?,
            }
        }
        Ok(())
    }
}
