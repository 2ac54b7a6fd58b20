//! The operations of the simulated file system.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::MutexGuard;

use super::node::{Change, Directory, Node};
use super::{Does, ROOT, SimFs, State, broken, parts, split};
use crate::platform::fs::{Entry, File, FileId, FileSystem, Lock};

impl FileSystem for SimFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Change)?;
        let mut id = ROOT;
        for part in parts(path) {
            id = match state.directory(id)?.now.get(part) {
                Some(there) => *there,
                None => state.add(id, part, Node::Directory(Directory::default()))?,
            };
        }
        state.directory(id).map(|_| ())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Read)?;
        let directory = state.directory(state.find(path)?)?;
        let entry = |(name, node): (&String, &u64)| {
            let (directory, len) = match state.nodes.get(node)? {
                Node::Directory(_) => (true, 0),
                Node::File(file) => (false, file.now.len() as u64),
            };
            let name = name.clone();
            Some(Entry {
                name,
                directory,
                len,
                id: file_id(*node),
                owner: u32::from(state.foreign.contains(node)),
            })
        };
        Ok(directory.now.iter().filter_map(entry).collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Change)?;
        let id = state.open(path, true)?;
        Ok(self.handle(&state, id))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Change)?;
        let id = state.open(path, false)?;
        Ok(self.handle(&state, id))
    }

    fn read(&self, path: &Path, from: u64, len: u64) -> io::Result<Vec<u8>> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Read)?;
        let id = state.find(path)?;
        let bytes = &state.file(id)?.now;
        let at = |n: u64| usize::try_from(n).map_or(bytes.len(), |n| n.min(bytes.len()));
        let read = bytes[at(from)..at(from.saturating_add(len))].to_vec();
        state.read_bytes += read.len() as u64;
        Ok(read)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Change)?;
        let id = state.find(from)?;
        let ((from, old), (to, new)) = (split(from)?, split(to)?);
        let (source, target) = (state.find(from)?, state.find(to)?);
        if let Some(over) = state.directory(target)?.now.get(new).copied() {
            state.unlink(over);
        }
        if source == target {
            return state.change(source, Change::renames(old, new, id));
        }
        state.change(target, Change::adds(new, id))?;
        state.change(source, Change::removes(old))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Change)?;
        let id = state.find(path)?;
        state.file(id)?;
        state.unlink(id);
        let (parent, name) = split(path)?;
        let parent = state.find(parent)?;
        state.change(parent, Change::removes(name))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Change)?;
        if !state.directory(state.find(path)?)?.now.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = split(path)?;
        let parent = state.find(parent)?;
        state.change(parent, Change::removes(name))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.wait();
        let mut state = self.state();
        // Names are journalled: a failed sync leaves them pending.
        state.enter(Does::Sync)?;
        let id = state.find(path)?;
        if let Some(Node::Directory(directory)) = state.nodes.get_mut(&id) {
            directory.durable = directory.now.clone();
            directory.pending.clear();
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Read)?;
        match state.find(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
            found => Ok(found.is_ok()),
        }
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Read)?;
        state.find(path).map(file_id)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.wait();
        let mut state = self.state();
        state.enter(Does::Change)?;
        let id = state.open(path, false)?;
        if state.faults.locks {
            return Err(ErrorKind::Unsupported.into());
        }
        if state.locked.contains_key(&id) {
            return Ok(None);
        }
        let epoch = state.epoch;
        state.locked.insert(id, epoch);
        Ok(Some(Box::new(self.held(id, epoch))))
    }
}

/// An open file, or a lock on one.
#[derive(Debug)]
struct Handle {
    fs: SimFs,
    id: u64,
    epoch: u64,
}

#[derive(Debug)]
struct Held(Handle);

impl SimFs {
    fn handle(&self, state: &State, id: u64) -> Box<dyn File> {
        let (fs, epoch) = (self.clone(), state.epoch);
        Box::new(Handle { fs, id, epoch })
    }

    fn held(&self, id: u64, epoch: u64) -> Held {
        let fs = self.clone();
        Held(Handle { fs, id, epoch })
    }
}

impl Handle {
    fn enter(&self, does: Does) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.fs.state();
        if state.epoch != self.epoch {
            return Err(broken());
        }
        state.enter(does).map(|()| state)
    }
}

impl File for Handle {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let entered = self.enter(Does::Write).map(drop);
        let mut state = self.fs.state();
        if state.epoch != self.epoch || state.faults.read_only {
            return entered;
        }
        let room = match (&entered, state.faults.capacity) {
            (Err(_), _) => state.rng.usize(..=bytes.len()),
            (Ok(()), None) => bytes.len(),
            (Ok(()), Some(most)) => {
                let free = most.saturating_sub(state.used());
                usize::try_from(free).unwrap_or(usize::MAX)
            }
        };
        let stored = &bytes[..room.min(bytes.len())];
        state.file(self.id)?.append(stored);
        if entered.is_ok() && stored.len() < bytes.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        entered
    }

    fn sync(&self) -> io::Result<()> {
        let covered = self.fs.state().file(self.id).map(|file| file.pending.len());
        self.fs.wait();
        let entered = self.enter(Does::Sync).map(drop);
        let mut state = self.fs.state();
        if state.epoch != self.epoch || state.faults.read_only {
            return entered;
        }
        let State { nodes, rng, .. } = &mut *state;
        if let Some(Node::File(file)) = nodes.get_mut(&self.id) {
            match entered {
                // What was written meanwhile is not covered.
                Ok(()) => file.persist(covered?),
                Err(_) => file.settle(rng),
            }
        }
        entered
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let id = self.id;
        let mut state = self.enter(Does::Change)?;
        state
            .file(id)?
            .truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn id(&self) -> io::Result<FileId> {
        self.enter(Does::Read).map(|_| file_id(self.id))
    }
}

impl Lock for Held {
    fn id(&self) -> io::Result<FileId> {
        self.0.id()
    }
}

fn file_id(inode: u64) -> FileId {
    FileId { device: 0, inode }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Handle { fs, id, epoch } = &self.0;
        let mut state = fs.state();
        if state.locked.get(id) == Some(epoch) {
            state.locked.remove(id);
        }
    }
}
