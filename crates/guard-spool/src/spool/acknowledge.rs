//! Acknowledging and releasing records, and removing what is done with.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::error::{At, IoError};
use crate::format::sidecar;
use crate::platform::files::{gone, write_over};
use crate::records::Records;
use crate::spool::{Spool, Token, parts};

impl Spool {
    /// These records are delivered, or counted as lost: they are never given
    /// again. A segment of which this was the last record is removed.
    ///
    /// Tokens that were acknowledged before are ignored.
    ///
    /// # Errors
    ///
    /// The file system refused to keep the acknowledgement or to remove a
    /// segment. The records are acknowledged all the same for this process, and
    /// the rest is tried again by [`tick`](Self::tick); a process that dies
    /// before leaves them to be delivered again.
    pub fn acknowledge(&mut self, tokens: &[Token]) -> Result<(), IoError> {
        self.note_appended();
        for token in tokens {
            self.missed.remove(token);
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

    /// The owner no longer has these records in memory:
    /// [`load`](Self::load) gives them again.
    pub fn release(&mut self, tokens: &[Token]) {
        self.note_appended();
        for token in tokens {
            let (serial, index) = parts(*token);
            if let Some(missed) = self.missed.remove(token) {
                // It is nowhere now.
                self.damaged.add(missed.kind, 1);
            } else if let Some(records) = self.records_mut(serial) {
                records.release(index);
            }
        }
    }

    /// Takes back records of a call that failed.
    pub(crate) fn forget(&mut self, tokens: &[Token]) {
        for serial in self.settle(tokens).into_keys() {
            self.mark_stale(serial);
        }
    }

    /// Notes records as no longer live; those that were, by segment.
    fn settle(&mut self, tokens: &[Token]) -> BTreeMap<u64, Vec<u32>> {
        let mut settled: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (serial, index) in tokens.iter().copied().map(parts) {
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

    /// The sidecar lacks what was settled in memory: the next write to it says
    /// all of it.
    pub(crate) fn mark_stale(&mut self, serial: u64) {
        if let Some(segment) = self.segments.get_mut(&serial) {
            segment.ack_stale = true;
            self.unsynced_acks.insert(serial);
            self.acks_since.get_or_insert(self.clock.now());
        }
    }

    /// Appends acknowledgements to a segment's sidecar.
    fn write_acks(&mut self, serial: u64, indices: &[u32]) -> Result<(), IoError> {
        let Some(segment) = self.segments.get_mut(&serial) else {
            return Ok(());
        };
        self.unsynced_acks.insert(serial);
        self.acks_since.get_or_insert(self.clock.now());
        if segment.ack_stale {
            return self.write_acks_anew(serial);
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

    /// Puts a sidecar that says all in the place of one that does not.
    fn write_acks_anew(&mut self, serial: u64) -> Result<(), IoError> {
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

    /// Makes acknowledgements and removals durable.
    pub(crate) fn sync_acks(&mut self) -> Result<(), IoError> {
        while let Some(serial) = self.unsynced_acks.first().copied() {
            if let Some(segment) = self.segments.get(&serial) {
                let path = segment.ack_path();
                self.settled_dirs.insert(segment.directory.clone());
                if segment.ack_stale {
                    self.write_acks(serial, &[])?;
                }
                let file = self.fs.open_append(&path);
                let synced = gone(file.and_then(|file| file.sync()));
                if synced.is_err()
                    && let Some(segment) = self.segments.get_mut(&serial)
                {
                    // What was written to it can no longer be trusted.
                    segment.ack_stale = true;
                }
                synced.at("sync", &path)?;
            }
            self.unsynced_acks.remove(&serial);
        }
        while let Some(directory) = self.settled_dirs.first() {
            gone(self.fs.sync_dir(directory)).at("sync", directory)?;
            self.settled_dirs.pop_first();
        }
        while let Some(path) = self.strays.last() {
            gone(self.fs.remove_file(path)).at("remove", path)?;
            self.strays.pop();
        }
        for directory in self.lease.directories() {
            if *directory != *self.own {
                self.remove_if_empty(&directory)?;
            }
        }
        self.acks_since = None;
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

    /// Removes a finished segment. Its sidecar follows when the removal is
    /// durable: a segment that a power cut brings back is to find it.
    pub(crate) fn delete(&mut self, serial: u64) -> Result<(), IoError> {
        self.deletions.insert(serial);
        self.remove_log(serial)?;
        self.deletions.remove(&serial);
        self.unsynced_acks.remove(&serial);
        if let Some(segment) = self.segments.remove(&serial) {
            self.strays.push(segment.ack_path());
            self.settled_dirs.insert(segment.directory);
            self.acks_since.get_or_insert(self.clock.now());
        }
        Ok(())
    }

    /// Removes the file of a segment, or sets it aside if it is damaged. Does
    /// nothing if that is done.
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
        gone(self.fs.remove_file(&path)).at("remove", &path)
    }

    /// Removes a directory if no segment is left in it, and lets go of its lock.
    pub(crate) fn remove_if_empty(&mut self, directory: &Path) -> Result<(), IoError> {
        if self.segments.values().any(|s| &*s.directory == directory) {
            return Ok(());
        }
        let lock = directory.join(crate::directory::LOCK);
        let entries = match self.fs.list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries.at("list", directory)?,
        };
        // Whatever else stands there is not ours, and stays with its lock.
        if entries.iter().all(|e| e.name == crate::directory::LOCK) {
            gone(self.fs.remove_file(&lock)).at("remove", &lock)?;
            self.lease.let_go(directory);
            self.unsynced_dirs.remove(directory);
            self.settled_dirs.remove(directory);
            match self.fs.remove_dir(directory) {
                // A starting process has put its lock there.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                // If this fails, the next look for dead processes removes it.
                removed => gone(removed).at("remove", directory)?,
            }
        }
        Ok(())
    }
}
