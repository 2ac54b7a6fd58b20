//! Acknowledgements and removals that are not durable yet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What the next sync of acknowledgements has to do.
#[derive(Debug, Default)]
pub(super) struct PendingAcks {
    /// Segments whose sidecars have unsynced acknowledgements.
    segments: BTreeSet<u64>,
    /// Directories in which sidecars were created or files removed.
    directories: BTreeSet<Arc<Path>>,
    /// Sidecars of removed segments, to be removed after their directory is synced.
    orphans: Vec<PathBuf>,
    /// When the oldest of these changes was made.
    since: Option<Instant>,
}

impl PendingAcks {
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// A sidecar was written, or must be.
    pub(super) fn add_segment(&mut self, serial: u64, now: Instant) {
        self.segments.insert(serial);
        self.since.get_or_insert(now);
    }

    pub(super) fn first_segment(&self) -> Option<u64> {
        self.segments.first().copied()
    }

    /// The sidecar of a segment is durable, or the segment is no longer used.
    pub(super) fn remove_segment(&mut self, serial: u64) {
        self.segments.remove(&serial);
    }

    /// The file of a segment was removed; its sidecar must follow.
    pub(super) fn add_orphan(&mut self, sidecar: PathBuf, directory: Arc<Path>, now: Instant) {
        self.orphans.push(sidecar);
        self.directories.insert(directory);
        self.since.get_or_insert(now);
    }

    pub(super) fn last_orphan(&self) -> Option<&Path> {
        self.orphans.last().map(PathBuf::as_path)
    }

    /// The [last orphan](Self::last_orphan) was removed.
    pub(super) fn pop_orphan(&mut self) {
        self.orphans.pop();
    }

    pub(super) fn add_directory(&mut self, directory: Arc<Path>) {
        self.directories.insert(directory);
    }

    pub(super) fn first_directory(&self) -> Option<&Arc<Path>> {
        self.directories.first()
    }

    /// The [first directory](Self::first_directory) was synced.
    pub(super) fn pop_directory(&mut self) {
        self.directories.pop_first();
    }

    /// A directory is no longer used.
    pub(super) fn remove_directory(&mut self, directory: &Path) {
        self.directories.remove(directory);
        self.orphans.retain(|path| !path.starts_with(directory));
    }

    /// Everything is durable.
    pub(super) fn finish(&mut self) {
        self.since = None;
    }
}
