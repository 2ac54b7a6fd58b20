//! The file system, as the spool uses it. Injected, so that tests can break it.

use std::fmt;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What the spool asks of a file system. [`Disk`] is the real one; tests use
/// a simulated one that loses what was not synced.
///
/// Every error may be temporary: the spool tries again when it is asked to.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Makes a directory and those above it, for the owner alone (0700).
    /// Existing ones are left as they are.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// What stands in a directory, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Makes a file that must not exist, for the owner alone (0600).
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file to append to; makes it (0600) if there is none.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Reads up to `len` bytes from `from` on; fewer where the file ends.
    fn read(&self, path: &Path, from: u64, len: u64) -> io::Result<Vec<u8>>;

    /// Renames a file within a directory, over one that is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes durable what was created, renamed and removed in a directory.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Which file or directory a path leads to.
    fn id(&self, path: &Path) -> io::Result<FileId>;

    /// Takes the exclusive lock of a file, which is made if there is none.
    /// `None` when another process holds it. The lock lasts until it is dropped
    /// or the process ends, however it ends.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// A file open for appending. One thread changes it; another may sync it meanwhile.
pub trait File: fmt::Debug + Send + Sync {
    /// Appends all the bytes. After an error some of them may stand in the file.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes durable that were appended before the call. After an error,
    /// those since the last success must be taken for lost even if a later call
    /// succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to a length.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Which file it is, whatever path leads to it now.
    fn id(&self) -> io::Result<FileId>;
}

/// A held lock; dropping it lets go.
pub trait Lock: fmt::Debug + Send {
    /// Which file is locked, whatever path leads to it now.
    fn id(&self) -> io::Result<FileId>;
}

/// Identifies a file or directory for as long as it exists. On systems other than
/// Unix all are equal, so that only a removal is noticed there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileId {
    /// The file system that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path. Names that are no UTF-8 are not listed.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// The length of a file in bytes.
    pub len: u64,
    /// Which file or directory it is.
    pub id: FileId,
    /// The user that it belongs to; 0 on systems other than Unix.
    pub owner: u32,
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Another process may remove it in between.
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry {
                    name,
                    directory: metadata.is_dir(),
                    len: metadata.len(),
                    id: id(&metadata),
                    owner: owner(&metadata),
                });
            }
        }
        Ok(entries)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = private().append(true).create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = private().append(true).create(true).open(path)?;
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path, from: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(len).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    #[cfg(unix)]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    // Elsewhere a directory cannot be opened; its journal has to do.
    #[cfg(not(unix))]
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        Ok(id(&fs::metadata(path)?))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = private().append(true).create(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl File for fs::File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(id(&self.metadata()?))
    }
}

impl Lock for fs::File {
    fn id(&self) -> io::Result<FileId> {
        File::id(self)
    }
}

#[cfg(unix)]
fn id(metadata: &fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

#[cfg(not(unix))]
fn id(_metadata: &fs::Metadata) -> FileId {
    FileId::default()
}

#[cfg(unix)]
fn owner(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}

#[cfg(not(unix))]
fn owner(_metadata: &fs::Metadata) -> u32 {
    0
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
