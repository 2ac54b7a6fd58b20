//! Syncing appended records. Appenders continue during a sync.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{At, IoError};
use crate::platform::files::ignore_missing;
use crate::platform::fs::{File, FileSystem};
use crate::spool::Spool;
use crate::write_head::{OpenSegment, lock};

/// The part of a segment that a sync makes durable.
struct Unsynced {
    serial: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
}

impl Spool {
    /// Makes appended records and the names of new files durable.
    pub(crate) fn sync_records(&mut self) -> Result<(), IoError> {
        self.repair()?;
        let files = self.sync_files();
        files.and(self.sync_names())
    }

    fn sync_files(&mut self) -> Result<(), IoError> {
        let mut result = Ok(());
        for Unsynced {
            serial,
            path,
            file,
            len,
        } in self.begin_sync()
        {
            let synced = file.sync().at("sync", &path);
            self.end_sync(serial, len, synced.is_ok());
            result = result.and(synced);
        }
        result
    }

    fn begin_sync(&mut self) -> Vec<Unsynced> {
        let mut head = lock(&self.head);
        let changed = head.written_mut().filter(|open| open.is_changed());
        let begin = |open: &mut OpenSegment| {
            open.since = None;
            Unsynced {
                serial: open.serial,
                path: open.path.clone(),
                file: Arc::clone(&open.file),
                len: open.len(),
            }
        };
        changed.map(begin).collect()
    }

    fn end_sync(&mut self, serial: u64, len: u64, synced: bool) {
        let mut head = lock(&self.head);
        let Some(open) = head.find_mut(serial) else {
            return;
        };
        if synced {
            let durable = usize::try_from(len - open.synced).unwrap_or(0);
            open.tail.drain(..durable);
            open.synced = len;
        } else {
            // The system may have dropped the bytes and treat them as written.
            open.needs_rewrite = true;
        }
    }

    /// Makes the names of created and replaced files durable.
    pub(crate) fn sync_names(&mut self) -> Result<(), IoError> {
        while let Some(directory) = self.unsynced_dirs.first() {
            sync_name(&*self.fs, directory)?;
            self.unsynced_dirs.pop_first();
        }
        Ok(())
    }
}

fn sync_name(fs: &dyn FileSystem, directory: &Path) -> Result<(), IoError> {
    ignore_missing(fs.sync_dir(directory)).at("sync", directory)
}
