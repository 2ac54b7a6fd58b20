//! What is set aside: poison records and damaged segments, each with a reason
//! beside it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use guard_wire::Kind;

use crate::error::{AppendError, At, IoError};
use crate::platform::clock::milliseconds;
use crate::platform::files::gone;
use crate::platform::fs::FileSystem;
use crate::spool::{Spool, Token};

/// The directory below the spool's root.
pub(crate) const QUARANTINE: &str = "quarantine";
/// What the names of the others start with, in a root that several users share.
pub(crate) const OTHER_USERS: &str = "quarantine-";
/// What is set aside counts in whole blocks of so many bytes: 4 KiB.
pub const QUARANTINE_BLOCK: u64 = 4096;
/// A reason is cut to so many characters.
pub const MAX_REASON: usize = 1024;
/// Bytes that are requeued with one write.
const REQUEUE_BYTES: usize = 1 << 20;

/// The directory of what is set aside, shared by all processes of a root.
#[derive(Debug)]
pub(crate) struct Quarantine {
    root: PathBuf,
    directory: PathBuf,
    limit: u64,
    /// Files without their reasons, by name and so by age, and the bytes they
    /// take with them.
    entries: BTreeMap<String, u64>,
}

impl Quarantine {
    /// Opens that of a root, or the user's who owns `own` if another user's is there.
    pub(crate) fn open(
        fs: &dyn FileSystem,
        root: &Path,
        own: &Path,
        limit: u64,
    ) -> Result<Self, IoError> {
        let directory = root.join(QUARANTINE);
        let (directory, entries) = match fs.list(&directory) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let directory = root.join(format!("{OTHER_USERS}{}", owner(fs, root, own)?));
                let entries = fs.list(&directory);
                (directory, entries)
            }
            entries => (directory, entries),
        };
        let entries = match entries {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries.at("list", &directory)?,
        };
        let entries = entries
            .into_iter()
            .filter(|entry| is_content(&entry.name))
            .map(|entry| (entry.name, cost(entry.len)))
            .collect();
        Ok(Self {
            root: root.to_owned(),
            directory,
            limit,
            entries,
        })
    }

    pub(crate) fn records(&self) -> u64 {
        let records = self.entries.keys().filter(|name| kind(name).is_some());
        records.count() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.values().sum()
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    /// Puts bytes there with their reason, durable when it returns.
    pub(crate) fn write(
        &mut self,
        fs: &dyn FileSystem,
        stamp: &str,
        kind: &str,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), IoError> {
        let name = self.prepare(fs, stamp, kind, bytes.len() as u64, reason)?;
        put(fs, &self.directory().join(&name), bytes)?;
        self.finish(fs, name, bytes.len() as u64)
    }

    /// Moves a damaged segment there.
    pub(crate) fn move_segment(
        &mut self,
        fs: &dyn FileSystem,
        stamp: &str,
        path: &Path,
        len: u64,
        reason: &str,
    ) -> Result<(), IoError> {
        if !fs.exists(path).at("look for", path)? {
            return Ok(());
        }
        let name = self.prepare(fs, stamp, "segment", len, reason)?;
        let target = self.directory().join(&name);
        fs.rename(path, &target).at("set aside", path)?;
        // Done is done: no record depends on what is kept of the segment.
        let _ = self.finish(fs, name, len);
        Ok(())
    }

    /// Makes room, and writes the reason.
    fn prepare(
        &mut self,
        fs: &dyn FileSystem,
        stamp: &str,
        kind: &str,
        len: u64,
        reason: &str,
    ) -> Result<String, IoError> {
        let directory = self.directory();
        if !fs.exists(&directory).at("look for", &directory)? {
            fs.create_dir_all(&directory).at("create", &directory)?;
            fs.sync_dir(&self.root).at("sync", &self.root)?;
            self.entries.clear();
        }
        while self.bytes() + cost(len) > self.limit {
            let Some(oldest) = self.entries.keys().next().cloned() else {
                break;
            };
            self.remove(fs, &oldest)?;
        }
        let reason: String = reason.chars().take(MAX_REASON).collect();
        let facts = serde_json::json!({ "kind": kind, "bytes": len, "reason": reason });
        put(
            fs,
            &directory.join(format!("{stamp}.json")),
            facts.to_string().as_bytes(),
        )?;
        Ok(format!("{stamp}.{kind}"))
    }

    fn finish(&mut self, fs: &dyn FileSystem, name: String, len: u64) -> Result<(), IoError> {
        self.entries.insert(name, cost(len));
        let directory = self.directory();
        fs.sync_dir(&directory).at("sync", &directory)
    }

    fn remove(&mut self, fs: &dyn FileSystem, name: &str) -> Result<(), IoError> {
        let path = self.directory().join(name);
        gone(fs.remove_file(&path)).at("remove", &path)?;
        let reason = path.with_extension("json");
        gone(fs.remove_file(&reason)).at("remove", &reason)?;
        self.entries.remove(name);
        Ok(())
    }
}

fn put(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    // What an attempt that failed has left is of the same name.
    gone(fs.remove_file(path)).at("remove", path)?;
    let file = fs.create_new(path).at("create", path)?;
    file.append(bytes).at("write", path)?;
    file.sync().at("sync", path)
}

/// The user that a directory below the root belongs to.
fn owner(fs: &dyn FileSystem, root: &Path, directory: &Path) -> Result<u32, IoError> {
    let name = directory.file_name().and_then(OsStr::to_str);
    let entries = fs.list(root).at("list", root)?;
    let entry = entries.iter().find(|e| Some(e.name.as_str()) == name);
    Ok(entry.map_or(0, |entry| entry.owner))
}

/// What a file and its reason take on disk.
fn cost(len: u64) -> u64 {
    (len.div_ceil(QUARANTINE_BLOCK) + 1) * QUARANTINE_BLOCK
}

pub(crate) fn is_content(name: &str) -> bool {
    kind(name).is_some() || name.ends_with(".segment")
}

/// The kind of record in a file.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    let (_, extension) = name.rsplit_once('.')?;
    Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == extension)
}

impl Spool {
    /// Sets a poison record aside with the reason, and acknowledges it. Durable
    /// when it returns. At [`Options::quarantine_bytes`] the oldest that is set
    /// aside gives way; reasons are cut to [`MAX_REASON`] characters.
    ///
    /// [`Options::quarantine_bytes`]: crate::Options::quarantine_bytes
    ///
    /// # Errors
    ///
    /// The file system refused. Unless it refused the acknowledgement alone, the
    /// record stays as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use guard_spool::{Kind, Options, Spool};
    ///
    /// let root = tempfile::tempdir()?;
    /// let mut spool = Spool::open(root.path(), Options::default())?;
    /// let tokens = spool.append(&[(Kind::Event, b"{}".as_slice())])?;
    /// spool.quarantine(tokens[0], Kind::Event, b"{}", "400: unknown field")?;
    /// assert_eq!((spool.usage().records, spool.usage().quarantined), (0, 1));
    ///
    /// spool.requeue_quarantined()?;
    /// assert_eq!(spool.load(1 << 20)?[0].bytes, b"{}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn quarantine(
        &mut self,
        token: Token,
        kind: Kind,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), IoError> {
        let stamp = self.stamp();
        self.quarantine
            .write(&*self.fs, &stamp, kind.as_str(), bytes, reason)?;
        self.acknowledge(&[token])
    }

    /// Appends every record that is set aside, the oldest first, for
    /// [`load`](Self::load) to give, and removes it from the quarantine; returns
    /// how many. Damaged segments stay where they are.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append). What was requeued until then stays
    /// requeued.
    pub fn requeue_quarantined(&mut self) -> Result<u64, AppendError> {
        // Other processes set records aside in the same place.
        self.open_quarantine()?;
        let names: Vec<String> = self.quarantine.entries.keys().cloned().collect();
        let mut requeued = 0;
        let mut batch = Vec::new();
        let mut size = 0;
        for name in names {
            let Some(kind) = kind(&name) else {
                continue;
            };
            let path = self.quarantine.directory().join(&name);
            let bytes = self.fs.read(&path, 0, u64::MAX).at("read", &path)?;
            size += bytes.len();
            batch.push((name, kind, bytes));
            if size >= REQUEUE_BYTES {
                requeued += self.requeue(&mut batch)?;
                size = 0;
            }
        }
        Ok(requeued + self.requeue(&mut batch)?)
    }

    /// Looks at what is set aside, where it is now.
    pub(crate) fn open_quarantine(&mut self) -> Result<(), IoError> {
        let limit = self.options.quarantine_bytes;
        self.quarantine = Quarantine::open(&*self.fs, &self.root, &self.own, limit)?;
        Ok(())
    }

    fn requeue(&mut self, batch: &mut Vec<(String, Kind, Vec<u8>)>) -> Result<u64, AppendError> {
        let records: Vec<(Kind, &[u8])> = batch
            .iter()
            .map(|(_, kind, bytes)| (*kind, bytes.as_slice()))
            .collect();
        let tokens = self.append(&records)?;
        self.release(&tokens);
        self.sync_records()?;
        for (name, _, _) in batch.drain(..) {
            self.quarantine.remove(&*self.fs, &name)?;
        }
        Ok(tokens.len() as u64)
    }

    /// A name for what is set aside now, by which it sorts by age.
    pub(crate) fn stamp(&mut self) -> String {
        let now = milliseconds(self.clock.wall());
        format!("{now:013}-{:08x}", self.rng.u32(..))
    }
}
