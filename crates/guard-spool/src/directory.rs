//! The directory of one process: its name and its lock.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{At, IoError};
use crate::fs::{FileSystem, Lock};
use crate::spool::Spool;

/// The file in a directory that its owner holds locked.
pub(crate) const LOCK: &str = "lock";
/// Directories of dead processes that a process holds at a time; each takes a
/// file descriptor.
pub const MAX_ADOPTED: usize = 64;
/// Names tried for a process's directory before giving up.
const ATTEMPTS: usize = 16;

/// The locks of a spool's directories, shared by its clones.
///
/// A lock of a file belongs to all processes that inherited it: the child of a
/// fork holds its parent's locks too, which keeps others from adopting the
/// directories should the parent die. The child therefore calls
/// [`abandon`](Self::abandon).
#[derive(Debug, Clone, Default)]
pub struct Lease {
    locks: Arc<Mutex<BTreeMap<PathBuf, Box<dyn Lock>>>>,
}

impl Lease {
    /// Closes the inherited locks, in the child of a fork; the parent keeps its
    /// own. Does nothing if the fork came while the spool used them.
    ///
    /// The spool itself, which the child must not use, is left as it is.
    pub fn abandon(&self) {
        if let Ok(mut locks) = self.locks.try_lock() {
            locks.clear();
        }
    }

    pub(crate) fn keep(&self, directory: &Path, lock: Box<dyn Lock>) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.insert(directory.to_owned(), lock);
    }

    pub(crate) fn let_go(&self, directory: &Path) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.remove(directory);
    }

    pub(crate) fn holds(&self, directory: &Path) -> bool {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.contains_key(directory)
    }

    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.len()
    }
}

/// Makes and locks a directory for this process, whose name is not durable yet.
pub(crate) fn create(
    fs: &dyn FileSystem,
    root: &Path,
    created: u64,
    rng: &mut fastrand::Rng,
    lease: &Lease,
) -> Result<Arc<Path>, IoError> {
    create_root(fs, root)?;
    let process = std::process::id();
    for _ in 0..ATTEMPTS {
        let name = format!("{created:013}-{process}-{:08x}", rng.u32(..));
        let path = root.join(name);
        fs.create_dir_all(&path).at("create", &path)?;
        if let Some(lock) = lock(fs, &path)? {
            lease.keep(&path, lock);
            return Ok(path.into());
        }
    }
    let busy = io::Error::new(io::ErrorKind::WouldBlock, "other processes took every one");
    Err(busy).at("lock a directory in", root)
}

/// Makes the spool's root, and its name and those above it durable.
fn create_root(fs: &dyn FileSystem, root: &Path) -> Result<(), IoError> {
    let missing = |path: &&Path| fs.exists(path).is_ok_and(|there| !there);
    let made: Vec<&Path> = root.ancestors().take_while(missing).collect();
    fs.create_dir_all(root).at("create", root)?;
    for path in made {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new("."));
        fs.sync_dir(parent).at("sync", parent)?;
    }
    Ok(())
}

/// Locks a directory, unless another process holds it or has just removed it.
pub(crate) fn lock(
    fs: &dyn FileSystem,
    directory: &Path,
) -> Result<Option<Box<dyn Lock>>, IoError> {
    let path = directory.join(LOCK);
    let lock = match fs.try_lock(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock.at("lock", &path)?,
    };
    // Its last holder may have removed it after it was opened here.
    let there = fs.exists(&path).at("look for", &path)?;
    Ok(lock.filter(|_| there))
}

/// When a process's directory was made, if this is the name of one.
pub(crate) fn created(name: &str) -> Option<u64> {
    let mut parts = name.split('-');
    let created = parts.next().filter(|part| part.len() >= 13)?;
    let process = parts.next()?.parse::<u32>().ok();
    let random = u32::from_str_radix(parts.next()?, 16).ok();
    process.and(random).filter(|_| parts.next().is_none())?;
    created.parse().ok()
}

impl Spool {
    /// Makes this process's directory again if somebody removed it.
    pub(crate) fn restore_own(&mut self) -> Result<(), IoError> {
        let own = self.own.clone();
        if self.fs.exists(&own.join(LOCK)).at("look for", &own)? {
            return Ok(());
        }
        self.fs.create_dir_all(&own).at("create", &own)?;
        match lock(&*self.fs, &own)? {
            Some(lock) => self.lease.keep(&own, lock),
            None => return Err(io::ErrorKind::WouldBlock.into()).at("lock", &own),
        }
        self.unsynced_dirs.insert(self.root.as_path().into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_processes_directories_are_read_as_such() {
        assert_eq!(
            created("1763942400123-4711-00c0ffee"),
            Some(1_763_942_400_123)
        );
        for name in [
            "quarantine",
            "1763942400123-4711",
            "1-2-3",
            "1763942400123-x-00",
            "1763942400123-1-2-3",
        ] {
            assert_eq!(created(name), None, "{name}");
        }
    }
}
