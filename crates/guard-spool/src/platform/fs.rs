//! The file system. It is injected, so that tests can make it fail.

use std::fmt;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The operations that the spool needs. [`Disk`] is the real file system; tests use a simulated
/// one that loses unsynced data.
///
/// Every error may be temporary. The spool tries again later.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Creates a directory and its missing parents, for the owner only (0700). It does not
    /// change existing ones.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Creates a file that must not exist, for the owner only (0600).
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file for appending; creates it (0600) if there is none.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Reads up to `len` bytes, starting at `from`; fewer if the file ends.
    fn read(&self, path: &Path, from: u64, len: u64) -> io::Result<Vec<u8>>;

    /// Renames a file within a directory and replaces an existing one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes all creations, renames and removals in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether a file or directory exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Identifies the file or directory at a path.
    fn id(&self, path: &Path) -> io::Result<FileId>;

    /// Takes the exclusive lock of a file, and creates the file if there is none. Returns `None`
    /// if another process holds the lock. The lock lasts until it is dropped or the process
    /// ends, for whatever reason.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// A file open for appending. One thread changes it; another may sync it meanwhile.
pub trait File: fmt::Debug + Send + Sync {
    /// Appends all bytes. After an error the file may contain some of them.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes all bytes durable that were appended before the call. After an error, treat the
    /// bytes since the last success as lost, even if a later call succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Truncates the file.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Identifies the file, whatever its path is now.
    fn id(&self) -> io::Result<FileId>;
}

/// A lock; dropping it releases it.
pub trait Lock: fmt::Debug + Send {
    /// Identifies the locked file, whatever its path is now.
    fn id(&self) -> io::Result<FileId>;
}

/// Identifies a file or directory while it exists. On systems other than Unix all are equal:
/// the spool then notices removals only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileId {
    /// Number of its file system.
    pub device: u64,
    /// Its number in that file system.
    pub inode: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its file name. Names that are not UTF-8 are not listed.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// The length of a file in bytes.
    pub len: u64,
    /// Its identity.
    pub id: FileId,
    /// The user who owns it; 0 on systems other than Unix.
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
            // Another process may have removed it.
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

    // Other systems cannot open a directory. They rely on the journal of the file system.
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
