//! Adopting the directories of dead processes.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::directory::{MAX_ADOPTED, created, lock};
use crate::error::{At, IoError};
use crate::format::frame::{self, HEADER_LEN, Header, SEAL_LEN};
use crate::format::sidecar;
use crate::options::MAX_SEGMENT_BYTES;
use crate::platform::files::ignore_missing;
use crate::platform::fs::Entry;
use crate::records::Records;
use crate::segment::{Contents, Name, Segment};
use crate::spool::Spool;

impl Spool {
    /// Adopts directories whose process has died, the newest first.
    pub(crate) fn adopt(&mut self) -> Result<(), IoError> {
        let entries = self.fs.list(&self.root).at("list", &self.root)?;
        let own = self.own.file_name().and_then(OsStr::to_str);
        let user = entries
            .iter()
            .find(|entry| Some(entry.name.as_str()) == own);
        let user = user.map(|entry| entry.owner);
        let mut found: Vec<(u64, PathBuf, u32)> = entries
            .into_iter()
            .filter(|entry| entry.directory)
            .filter_map(|entry| {
                let path = self.root.join(&entry.name);
                Some((created(&entry.name)?, path, entry.owner))
            })
            .filter(|(_, path, _)| !self.lease.holds(path))
            .collect();
        found.sort_unstable();
        let mut result = Ok(());
        for (created, path, owner) in found.into_iter().rev() {
            if self.lease.len() > MAX_ADOPTED {
                break;
            }
            let adopted = self.adopt_directory(&path.into(), created);
            let is_denied =
                |error: &IoError| error.source.kind() == io::ErrorKind::PermissionDenied;
            // Directories of other users belong to processes of these users.
            if user == Some(owner) || !adopted.as_ref().is_err_and(is_denied) {
                result = result.and(adopted);
            }
        }
        result
    }

    fn adopt_directory(&mut self, path: &Arc<Path>, created: u64) -> Result<(), IoError> {
        let entries = match self.fs.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.at("list", path)?,
        };
        if entries.is_empty() {
            // Its process has not locked it yet and creates another one, or has died.
            return ignore_missing(self.fs.remove_dir(path)).at("remove", path);
        }
        let Some(held) = lock(&*self.fs, path)? else {
            return Ok(());
        };
        self.lease.keep(path, held);
        let before = self.next_serial;
        let adopted = self.adopt_segments(path, created);
        if adopted.is_err() {
            self.segments.retain(|serial, _| *serial < before);
            self.deletions.retain(|serial| *serial < before);
            self.unsealed.retain(|serial| *serial < before);
            self.lease.unlock(path);
            return adopted;
        }
        self.unsynced_dirs.insert(path.clone());
        self.delete_finished()?;
        self.remove_if_empty(path)
    }

    /// Rewrites one adopted segment that has no seal. A sync would not be enough: if the dead
    /// process had a failed sync, the next one succeeds without writing anything.
    pub(crate) fn rewrite_unsealed_due(&mut self, now: Instant) -> Result<(), IoError> {
        let Some((_, serial)) = self.next_unsealed(now).filter(|(at, _)| now >= *at) else {
            return Ok(());
        };
        match self.read_for_rewriting(serial) {
            Ok(bytes) => self.rewrite_one_unsealed(serial, &bytes),
            Err(_) => {
                // `load` reports the error.
                self.postpone(serial, now);
                Ok(())
            }
        }
    }

    /// When [`rewrite_unsealed_due`](Self::rewrite_unsealed_due) is due.
    pub(crate) fn rewrite_unsealed_at(&self, now: Instant) -> Option<Instant> {
        self.next_unsealed(now).map(|(at, _)| at)
    }

    /// The next segment to rewrite, and when. One that could not be read has to wait.
    fn next_unsealed(&self, now: Instant) -> Option<(Instant, u64)> {
        let at = |serial: &u64| {
            let segment = self.segments.get(serial);
            segment.and_then(|s| s.retry_at).unwrap_or(now)
        };
        self.unsealed.iter().map(|s| (at(s), *s)).min()
    }

    /// Rewrites all adopted segments that have no seal.
    pub(crate) fn rewrite_unsealed(&mut self) -> Result<(), IoError> {
        while let Some(serial) = self.unsealed.first().copied() {
            let bytes = self.read_for_rewriting(serial)?;
            self.rewrite_one_unsealed(serial, &bytes)?;
        }
        self.sync_names()
    }

    fn rewrite_one_unsealed(&mut self, serial: u64, bytes: &[u8]) -> Result<(), IoError> {
        self.replace(serial, bytes)?;
        self.unsealed.remove(&serial);
        Ok(())
    }

    fn adopt_segments(&mut self, path: &Arc<Path>, created: u64) -> Result<(), IoError> {
        let entries = self.fs.list(path).at("list", path)?;
        let mut orphans = Vec::new();
        for entry in &entries {
            let name = entry.name.as_str();
            if let Some(name) = Name::parse(name) {
                if entry.len <= MAX_SEGMENT_BYTES {
                    self.adopt_segment(path, name, entry, created)?;
                }
            } else if left_behind(name, |log| entries.iter().any(|e| e.name == log)) {
                orphans.push(path.join(name));
            }
        }
        if !orphans.is_empty() {
            // Sync the removal of their segments first, as for segments of this process.
            self.fs.sync_dir(path).at("sync", path)?;
        }
        for path in orphans {
            ignore_missing(self.fs.remove_file(&path)).at("remove", &path)?;
        }
        Ok(())
    }

    /// Adds a segment, using its first and last bytes and its sidecar.
    fn adopt_segment(
        &mut self,
        directory: &Arc<Path>,
        name: Name,
        entry: &Entry,
        created: u64,
    ) -> Result<(), IoError> {
        let len = entry.len;
        let (log, ack) = (
            directory.join(name.file("log")),
            directory.join(name.file("ack")),
        );
        let head = self.fs.read(&log, 0, HEADER_LEN as u64).at("read", &log)?;
        let created = match frame::read_header(name.salt, &head) {
            Header::Known { created } => created,
            Header::Foreign { .. } => return Ok(()),
            Header::Damaged => created,
        };
        let from = len.saturating_sub(SEAL_LEN as u64);
        let end = self.fs.read(&log, from, SEAL_LEN as u64).at("read", &log)?;
        let sidecar = self.read_sidecar(&ack)?;
        let (acknowledged, ack_len) = sidecar::decode(name.salt, &sidecar);
        let seal = frame::read_seal(name.salt, &end);
        // The sidecar may have indices beyond those that the seal counts.
        let settled = |indices| acknowledged.iter().filter(|i| *i < indices).count() as u64;
        let records = seal.map(|indices| u64::from(indices).saturating_sub(settled(indices)));
        let serial = self.next_serial;
        self.next_serial += 1;
        let finished = records == Some(0) || len <= HEADER_LEN as u64;
        if finished {
            self.deletions.insert(serial);
        } else if seal.is_none() {
            self.unsealed.insert(serial);
        }
        let segment = Segment {
            directory: directory.clone(),
            name,
            id: entry.id,
            created,
            contents: match (finished, records) {
                (true, _) => Contents::Read(Records::default()),
                (false, records) => Contents::Unread {
                    records: records.unwrap_or(0),
                },
            },
            len,
            present: 0,
            unreadable: 0,
            damaged: false,
            ack_len,
            // The dead process may have had a failed sync of it.
            ack_stale: !sidecar.is_empty(),
            retry_at: None,
        };
        self.segments.insert(serial, segment);
        Ok(())
    }

    /// The bytes of a sidecar; empty if there is none.
    pub(crate) fn read_sidecar(&self, path: &Path) -> Result<Vec<u8>, IoError> {
        match self.fs.read(path, 0, MAX_SEGMENT_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => bytes.at("read", path),
        }
    }
}

/// Whether a process died while it replaced or removed a segment, and left this file.
fn left_behind(name: &str, exists: impl Fn(&str) -> bool) -> bool {
    let log = |stem: &str| format!("{stem}.log");
    match name.rsplit_once('.') {
        Some((stem, "tmp")) => Name::parse(&log(stem)).is_some(),
        Some((stem, "ack")) => Name::parse(&log(stem)).is_some() && !exists(&log(stem)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_unfinished_replacement_or_removal_are_left_behind() {
        let (tmp, ack) = ("0000000001-0000000a.tmp", "0000000001-0000000a.ack");
        assert!(left_behind(tmp, |_| true));
        assert!(left_behind(ack, |_| false));
        assert!(!left_behind(ack, |log| log == "0000000001-0000000a.log"));
        assert!(!left_behind("notes.tmp", |_| false));
    }
}
