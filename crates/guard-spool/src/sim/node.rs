//! Files and directories: what programs see, and what is on the medium.

use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Directory(Directory),
}

#[derive(Debug, Clone)]
pub(super) struct FileNode {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Write>,
    /// Whether it has a name: only then does it take space.
    pub(super) linked: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Write {
    At(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    pub(super) now: BTreeMap<String, u64>,
    pub(super) durable: BTreeMap<String, u64>,
    pub(super) pending: Vec<Change>,
}

/// One change of names. It is atomic.
#[derive(Debug, Clone)]
pub(super) struct Change {
    removed: Option<String>,
    added: Option<(String, u64)>,
}

impl Change {
    pub(super) fn adds(name: &str, id: u64) -> Self {
        Self {
            removed: None,
            added: Some((name.to_owned(), id)),
        }
    }

    pub(super) fn removes(name: &str) -> Self {
        Self {
            removed: Some(name.to_owned()),
            added: None,
        }
    }

    pub(super) fn renames(old: &str, new: &str, id: u64) -> Self {
        Self {
            removed: Some(old.to_owned()),
            added: Some((new.to_owned(), id)),
        }
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, id)) = &self.added {
            names.insert(name.clone(), *id);
        }
    }
}

impl Default for FileNode {
    fn default() -> Self {
        Self {
            now: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
            linked: true,
        }
    }
}

impl FileNode {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.pending.push(Write::At(self.now.len(), bytes.to_vec()));
        self.now.extend_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.pending.push(Write::Truncate(len));
        self.now.truncate(len);
    }

    /// Brings a number of pending writes to the medium.
    pub(super) fn persist(&mut self, count: usize) {
        let later = self.pending.split_off(count.min(self.pending.len()));
        for write in std::mem::replace(&mut self.pending, later) {
            match write {
                Write::Truncate(len) => self.durable.truncate(len),
                Write::At(at, bytes) => self.store(at, &bytes),
            }
        }
    }

    /// Writes bytes to the medium. A gap before them reads as zeros.
    fn store(&mut self, at: usize, bytes: &[u8]) {
        let end = (at + bytes.len()).max(self.durable.len());
        self.durable.resize(end, 0);
        self.durable[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Brings a random part of the pending writes to the medium.
    pub(super) fn settle(&mut self, rng: &mut fastrand::Rng) {
        for write in std::mem::take(&mut self.pending) {
            if rng.bool() {
                continue;
            }
            match write {
                Write::Truncate(len) => self.durable.truncate(len),
                Write::At(at, bytes) => {
                    let torn = rng.u8(..3) == 0;
                    let len = if torn {
                        rng.usize(..=bytes.len())
                    } else {
                        bytes.len()
                    };
                    self.store(at, &bytes[..len]);
                }
            }
        }
    }
}

impl Node {
    /// Drops all pending writes: they never reach the medium.
    pub(super) fn lose_pending(&mut self) {
        match self {
            Self::File(file) => file.pending.clear(),
            Self::Directory(directory) => directory.pending.clear(),
        }
    }

    /// Forgets the bytes that the system treats as written.
    pub(super) fn evict(&mut self) {
        if let Self::File(file) = self
            && file.pending.is_empty()
        {
            file.now = file.durable.clone();
        }
    }

    /// Cuts the power: only the medium stays.
    pub(super) fn crash(&mut self, rng: &mut fastrand::Rng) {
        match self {
            Self::File(file) => {
                file.settle(rng);
                file.now = file.durable.clone();
            }
            Self::Directory(directory) => {
                for change in directory.pending.drain(..) {
                    if rng.bool() {
                        change.apply(&mut directory.durable);
                    }
                }
                directory.now = directory.durable.clone();
            }
        }
    }
}
