//! The directory of one process: its name and its lock.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{At, IoError};
use crate::platform::fs::{FileId, FileSystem, Lock};

/// The file that the owner of a directory keeps locked.
pub(crate) const LOCK: &str = "lock";
/// Limits how many directories of dead processes a process holds at once. Each takes a file
/// descriptor.
pub const MAX_ADOPTED: usize = 64;
/// Names that a process tries for its directory before it gives up.
const ATTEMPTS: usize = 16;

/// The locks of a spool's directories, shared by its clones.
///
/// The child of a fork inherits the locks of its parent. While it holds them, other processes
/// cannot adopt the directories if the parent dies. The child must therefore call
/// [`abandon`](Self::abandon).
#[derive(Debug, Clone, Default)]
pub struct Lease {
    locks: Arc<Mutex<BTreeMap<PathBuf, Held>>>,
}

/// A locked directory.
#[derive(Debug)]
pub(crate) struct Held {
    /// Dropping it releases the lock.
    _lock: Box<dyn Lock>,
    pub(crate) ids: Ids,
}

/// Identifies the directory and its lock file, as they were when the lock was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) directory: FileId,
    pub(crate) lock: FileId,
}

impl Lease {
    /// Releases the inherited locks in the child of a fork; the parent keeps its own. It does
    /// nothing if the fork happened while the spool was using them.
    ///
    /// It does not touch the spool itself, which the child must not use.
    pub fn abandon(&self) {
        if let Ok(mut locks) = self.locks.try_lock() {
            locks.clear();
        }
    }

    pub(crate) fn keep(&self, directory: &Path, held: Held) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.insert(directory.to_owned(), held);
    }

    pub(crate) fn ids(&self, directory: &Path) -> Option<Ids> {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.get(directory).map(|held| held.ids)
    }

    pub(crate) fn unlock(&self, directory: &Path) {
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

/// Creates and locks a directory for this process. Its name is not durable yet.
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
        let held = lock(fs, &path).map_err(|error| {
            // The next attempt uses another name. If this removal fails, the process that adopts
            // the directory removes it.
            let _ = fs.remove_file(&path.join(LOCK));
            let _ = fs.remove_dir(&path);
            let (action, path) = ("lock a directory in", root.to_owned());
            IoError {
                action,
                path,
                ..error
            }
        })?;
        if let Some(held) = held {
            lease.keep(&path, held);
            return Ok(path.into());
        }
    }
    let busy = io::Error::new(io::ErrorKind::WouldBlock, "other processes took every one");
    Err(busy).at("lock a directory in", root)
}

/// Creates the spool's root and makes its name and those of new parents durable.
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
pub(crate) fn lock(fs: &dyn FileSystem, directory: &Path) -> Result<Option<Held>, IoError> {
    let path = directory.join(LOCK);
    let lock = match fs.try_lock(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock.at("lock", &path)?,
    };
    let Some(lock) = lock else {
        return Ok(None);
    };
    let locked = lock.id().at("look at", &path)?;
    // The last holder may have removed the file after this process opened it.
    if find(fs, &path)? != Some(locked) {
        return Ok(None);
    }
    let directory = find(fs, directory)?;
    Ok(directory.map(|directory| Held {
        _lock: lock,
        ids: Ids {
            directory,
            lock: locked,
        },
    }))
}

/// Identifies the file or directory at a path; `None` if there is none.
pub(crate) fn find(fs: &dyn FileSystem, path: &Path) -> Result<Option<FileId>, IoError> {
    match fs.id(path) {
        Err(error) if is_missing(&error) => Ok(None),
        id => id.map(Some).at("look for", path),
    }
}

/// Whether an error means that nothing is at a path.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The creation time in the name of a process's directory; `None` for other names.
pub(crate) fn created(name: &str) -> Option<u64> {
    let mut parts = name.split('-');
    let created = parts.next().filter(|part| part.len() >= 13)?;
    let process = parts.next()?.parse::<u32>().ok();
    let random = u32::from_str_radix(parts.next()?, 16).ok();
    process.and(random).filter(|_| parts.next().is_none())?;
    created.parse().ok()
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
