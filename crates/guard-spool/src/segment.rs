//! A segment on disk and its sidecar: names and state.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::platform::fs::FileId;
use crate::records::Records;
use crate::write_head::OpenSegment;

/// The name of a segment's file: its number in its directory, and the salt of its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) number: u64,
    pub(crate) salt: u32,
}

impl Name {
    /// Reads `<number>-<salt>.log`.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let (number, salt) = file.strip_suffix(".log")?.split_once('-')?;
        let name = Self {
            number: number.parse().ok()?,
            salt: u32::from_str_radix(salt, 16).ok()?,
        };
        (name.file("log") == file).then_some(name)
    }

    /// The file name of the segment (`log`), its sidecar (`ack`), or a replacement (`tmp`).
    pub(crate) fn file(self, extension: &str) -> String {
        format!("{:010}-{:08x}.{extension}", self.number, self.salt)
    }
}

/// The records of a segment, as far as they are known.
#[derive(Debug)]
pub(crate) enum Contents {
    /// Adopted and not read yet: the number of records according to seal and sidecar.
    Unread { records: u64 },
    /// Every record is known.
    Read(Records),
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Its directory.
    pub(crate) directory: Arc<Path>,
    pub(crate) name: Name,
    /// Identifies the file that was written or adopted.
    pub(crate) id: FileId,
    /// Wall time of its creation in milliseconds.
    pub(crate) created: u64,
    pub(crate) contents: Contents,
    /// Length of the file.
    pub(crate) len: u64,
    /// Records in the file, acknowledged or not.
    pub(crate) present: u64,
    /// Unreadable bytes that were counted so far.
    pub(crate) unreadable: u64,
    /// Whether it goes to the quarantine: some unreadable bytes are not a torn end.
    pub(crate) damaged: bool,
    /// Length of the sidecar.
    pub(crate) ack_len: u64,
    /// Whether the sidecar must be rewritten: it lacks acknowledgements, or may not be durable.
    pub(crate) ack_stale: bool,
    /// When to read it again, after a failure.
    pub(crate) retry_at: Option<Instant>,
}

impl Segment {
    /// Adds the records that were appended since the last call.
    pub(crate) fn note(&mut self, open: &mut OpenSegment) {
        self.len = open.len();
        self.present += open.unnoted.len() as u64;
        if let Some(records) = self.records_mut() {
            for (index, kind) in (records.indices()..).zip(open.unnoted.drain(..)) {
                records.insert(index, kind);
                records.hold(index);
            }
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(self.name.file("log"))
    }

    pub(crate) fn ack_path(&self) -> PathBuf {
        self.directory.join(self.name.file("ack"))
    }

    pub(crate) fn tmp_path(&self) -> PathBuf {
        self.directory.join(self.name.file("tmp"))
    }

    /// Sorts segments by age. Within a directory, creation times never decrease.
    pub(crate) fn age(&self) -> (u64, Arc<Path>, u64) {
        (self.created, Arc::clone(&self.directory), self.name.number)
    }

    pub(crate) fn records(&self) -> Option<&Records> {
        match &self.contents {
            Contents::Read(records) => Some(records),
            Contents::Unread { .. } => None,
        }
    }

    pub(crate) fn records_mut(&mut self) -> Option<&mut Records> {
        match &mut self.contents {
            Contents::Read(records) => Some(records),
            Contents::Unread { .. } => None,
        }
    }

    /// Whether all of its records are settled.
    pub(crate) fn is_finished(&self) -> bool {
        self.records()
            .is_some_and(|records| records.live_count().total() == 0)
    }

    /// Whether [`load`](crate::Spool::load) may find records in it.
    pub(crate) fn is_waiting(&self) -> bool {
        match &self.contents {
            Contents::Unread { .. } => true,
            Contents::Read(records) => records.waiting_count().total() > 0,
        }
    }

    /// The reason for the quarantine.
    pub(crate) fn damage(&self) -> String {
        let Self {
            unreadable, len, ..
        } = self;
        format!("{unreadable} of {len} bytes could not be read")
    }

    /// Length of the segment and its sidecar.
    pub(crate) fn bytes(&self) -> u64 {
        self.len + self.ack_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_segments_are_read_as_such() {
        let name = Name {
            number: 12,
            salt: 0xab,
        };
        assert_eq!(name.file("log"), "0000000012-000000ab.log");
        assert_eq!(Name::parse("0000000012-000000ab.log"), Some(name));
        for file in [
            "0000000012-000000ab.ack",
            "12-ab.log",
            "lock",
            "-.log",
            "+000000012-000000ab.log",
        ] {
            assert_eq!(Name::parse(file), None, "{file}");
        }
    }
}
