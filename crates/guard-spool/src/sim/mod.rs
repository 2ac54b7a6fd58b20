//! A simulated file system and clock, for fault tests.
//!
//! [`SimFs`] has two states: what programs see, and what is on the medium. [`File::sync`] brings
//! writes to the medium, and [`FileSystem::sync_dir`] brings names. When [`SimFs::crash`] cuts the
//! power, chance decides about pending changes: each write reaches the medium whole, torn or not
//! at all, and each change of a name does or does not, in any combination.
//!
//! A failed sync behaves as on Linux: the pending writes may be dropped, programs still read
//! them, and the next sync succeeds.

mod clock;
mod disk;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use clock::SimClock;
use node::{Change, Directory, FileNode, Node};

/// Faults of the disk. None by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Limits the bytes of all files together. A write beyond it stores what fits, and fails.
    pub capacity: Option<u64>,
    /// Every change fails.
    pub read_only: bool,
    /// Every write stores some of its bytes, and fails.
    pub writes: bool,
    /// Every sync fails.
    pub syncs: bool,
    /// Every read fails.
    pub reads: bool,
    /// The file system has no locks.
    pub locks: bool,
}

/// A simulated file system. Clones share their files.
#[derive(Debug, Clone)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

/// Something that happens while an operation waits for the disk.
struct Meanwhile {
    /// Number of operations before it.
    after: u64,
    act: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meanwhile after {}", self.after)
    }
}

#[derive(Debug)]
struct State {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    locked: BTreeMap<u64, u64>,
    /// Directories of another user, which this user may not enter.
    foreign: BTreeSet<u64>,
    rng: fastrand::Rng,
    faults: Faults,
    /// Number of operations until one fails, and whether all later ones fail too.
    countdown: Option<(u64, bool)>,
    operations: u64,
    read_bytes: u64,
    /// Number of power cuts. Handles from before a power cut are invalid.
    epoch: u64,
}

const ROOT: u64 = 0;

impl SimFs {
    /// An empty file system. The seed determines all random choices.
    pub fn new(seed: u64) -> Self {
        let state = State {
            nodes: BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]),
            next: ROOT + 1,
            locked: BTreeMap::new(),
            foreign: BTreeSet::new(),
            rng: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
            countdown: None,
            operations: 0,
            read_bytes: 0,
            epoch: 0,
        };
        Self::with(state)
    }

    fn with(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            meanwhile: Arc::default(),
        }
    }

    /// Runs `act` while the operation after the next `n` waits for the disk, as another thread
    /// would. Plain writes to open files do not wait.
    pub fn meanwhile(&self, n: u64, act: impl FnOnce() + Send + 'static) {
        *self.pending() = Some(Meanwhile {
            after: n,
            act: Box::new(act),
        });
    }

    fn pending(&self) -> MutexGuard<'_, Option<Meanwhile>> {
        let meanwhile = self.meanwhile.lock();
        meanwhile.unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation waits for the disk.
    fn wait(&self) {
        let mut pending = self.pending();
        let due = pending.take_if(|meanwhile| meanwhile.after == 0);
        if let Some(meanwhile) = &mut *pending {
            meanwhile.after -= 1;
        }
        drop(pending);
        if let Some(meanwhile) = due {
            (meanwhile.act)();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Makes the operation after the next `n` fail; with `last`, all later ones too.
    pub fn fail_after(&self, n: u64, last: bool) {
        self.state().countdown = Some((n, last));
    }

    /// Removes all faults.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
        state.countdown = None;
    }

    /// Total length of all files.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Number of bytes read from files.
    pub fn read_bytes(&self) -> u64 {
        self.state().read_bytes
    }

    /// Number of operations.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Cuts the power and restores it. Faults stay; all open files and locks are gone.
    pub fn crash(&self) {
        let mut state = self.state();
        let State { nodes, rng, .. } = &mut *state;
        for node in nodes.values_mut() {
            node.crash(rng);
        }
        state.locked.clear();
        state.epoch += 1;
    }

    /// Cuts the power like [`crash`](Self::crash), but all unsynced changes are lost.
    pub fn crash_losing_all(&self) {
        for node in self.state().nodes.values_mut() {
            node.lose_pending();
        }
        self.crash();
    }

    /// Drops the page cache: the system forgets bytes that it treats as written, and reads the
    /// medium from now on.
    pub fn evict(&self) {
        for node in self.state().nodes.values_mut() {
            node.evict();
        }
    }

    /// The files below a directory.
    pub fn files(&self, path: &Path) -> Vec<PathBuf> {
        let state = self.state();
        let mut files = Vec::new();
        let mut open: Vec<(PathBuf, u64)> = state
            .find(path)
            .map(|id| (path.to_owned(), id))
            .into_iter()
            .collect();
        while let Some((path, id)) = open.pop() {
            match state.nodes.get(&id) {
                Some(Node::Directory(directory)) => {
                    let children = directory.now.iter();
                    open.extend(children.map(|(name, id)| (path.join(name), *id)));
                }
                Some(Node::File(_)) => files.push(path),
                None => {}
            }
        }
        files.sort_unstable();
        files
    }

    /// Removes a file, or a directory with its contents, as others may do. Open files stay
    /// usable, but have no path any more.
    ///
    /// # Errors
    ///
    /// There is nothing at the path.
    pub fn remove_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(path)?;
        let (parent, name) = split(path)?;
        let parent = state.find(parent)?;
        state.unlink_all(id);
        state.change(parent, Change::removes(name))
    }

    /// Gives a directory to another user, so that this user may not enter it.
    ///
    /// # Errors
    ///
    /// There is nothing at the path.
    pub fn give_away(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(path)?;
        state.foreign.insert(id);
        Ok(())
    }

    /// Renames a file or directory, as others may do. It replaces an existing one.
    ///
    /// # Errors
    ///
    /// There is nothing at the first path, or the second one has no directory.
    pub fn move_to(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(from)?;
        let ((source, old), (target, new)) = (split(from)?, split(to)?);
        let (source, target) = (state.find(source)?, state.find(target)?);
        if let Some(over) = state.directory(target)?.now.get(new).copied() {
            state.unlink_all(over);
        }
        state.change(target, Change::adds(new, id))?;
        state.change(source, Change::removes(old))
    }

    /// Damages the bytes of a file, also on the medium.
    ///
    /// # Errors
    ///
    /// There is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(path)?;
        let file = state.file(id)?;
        change(&mut file.now);
        file.durable = file.now.clone();
        file.pending.clear();
        Ok(())
    }

    /// An independent copy of this file system.
    pub fn fork(&self) -> Self {
        let state = self.state();
        let copy = State {
            nodes: state.nodes.clone(),
            next: state.next,
            locked: BTreeMap::new(),
            foreign: state.foreign.clone(),
            rng: state.rng.clone(),
            faults: state.faults,
            countdown: state.countdown,
            operations: state.operations,
            read_bytes: state.read_bytes,
            epoch: state.epoch,
        };
        Self::with(copy)
    }
}

/// The type of an operation, which determines the faults that apply to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Read,
    Write,
    Sync,
    Change,
}

impl State {
    /// Counts an operation, and fails if a fault applies to it.
    fn enter(&mut self, does: Does) -> io::Result<()> {
        self.operations += 1;
        if let Some((left, last)) = self.countdown {
            let due = left == 0;
            self.countdown = match (due, last) {
                (true, false) => None,
                (true, true) => Some((0, true)),
                (false, _) => Some((left - 1, last)),
            };
            if due {
                return Err(broken());
            }
        }
        let faults = self.faults;
        match does {
            Does::Write | Does::Change | Does::Sync if faults.read_only => {
                Err(ErrorKind::ReadOnlyFilesystem.into())
            }
            Does::Write if faults.writes => Err(broken()),
            Does::Sync if faults.syncs => Err(broken()),
            Does::Read if faults.reads => Err(broken()),
            _ => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut id = ROOT;
        for part in parts(path) {
            id = *self
                .directory(id)?
                .now
                .get(part)
                .ok_or(ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    fn directory(&self, id: u64) -> io::Result<&Directory> {
        if self.foreign.contains(&id) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        match self.nodes.get(&id) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn file(&mut self, id: u64) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Applies a change of names to a directory.
    fn change(&mut self, directory: u64, change: Change) -> io::Result<()> {
        match self.nodes.get_mut(&directory) {
            Some(Node::Directory(directory)) => {
                change.apply(&mut directory.now);
                directory.pending.push(change);
                Ok(())
            }
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn add(&mut self, directory: u64, name: &str, node: Node) -> io::Result<u64> {
        let id = self.next;
        self.change(directory, Change::adds(name, id))?;
        self.next += 1;
        self.nodes.insert(id, node);
        Ok(id)
    }

    fn used(&self) -> u64 {
        let lengths = self.nodes.values().map(|node| match node {
            Node::File(file) if file.linked => file.now.len() as u64,
            _ => 0,
        });
        lengths.sum()
    }

    /// The file at a path; creates it if there is none.
    fn open(&mut self, path: &Path, new: bool) -> io::Result<u64> {
        let (parent, name) = split(path)?;
        let parent = self.find(parent)?;
        match self.directory(parent)?.now.get(name) {
            Some(_) if new => Err(ErrorKind::AlreadyExists.into()),
            Some(id) => Ok(*id),
            None => {
                if self.faults.capacity.is_some_and(|most| self.used() >= most) {
                    return Err(ErrorKind::StorageFull.into());
                }
                self.add(parent, name, Node::File(FileNode::default()))
            }
        }
    }

    fn unlink_all(&mut self, id: u64) {
        match self.nodes.get(&id) {
            Some(Node::Directory(directory)) => {
                for child in directory.now.values().copied().collect::<Vec<_>>() {
                    self.unlink_all(child);
                }
            }
            _ => self.unlink(id),
        }
    }

    fn unlink(&mut self, id: u64) {
        if let Ok(file) = self.file(id) {
            file.linked = false;
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("simulated input/output error")
}

fn parts(path: &Path) -> impl Iterator<Item = &str> {
    path.iter()
        .filter_map(OsStr::to_str)
        .filter(|part| *part != "/")
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(OsStr::to_str);
    path.parent()
        .zip(name)
        .ok_or_else(|| ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests;
