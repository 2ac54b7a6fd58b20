//! The quarantine (a dead-letter queue): rejected records and damaged segments, each with a file
//! that says why it is there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use guard_wire::Kind;

use crate::error::{At, IoError};
use crate::platform::files::ignore_missing;
use crate::platform::fs::FileSystem;

/// Name of the directory below the spool's root.
pub(crate) const QUARANTINE: &str = "quarantine";
/// Prefix of the further directories in a root that several users share.
pub(crate) const OTHER_USERS: &str = "quarantine-";
/// The size of the quarantine is counted in blocks of this many bytes: 4 KiB.
pub const QUARANTINE_BLOCK: u64 = 4096;
/// Maximum length of a reason in characters; longer ones are cut.
pub const MAX_REASON: usize = 1024;

/// The quarantine directory, which all processes of a root share.
#[derive(Debug)]
pub(crate) struct Quarantine {
    root: PathBuf,
    directory: PathBuf,
    limit: u64,
    /// Bytes on disk by file name, and so by age. The bytes include the file with the reason.
    entries: BTreeMap<String, u64>,
}

impl Quarantine {
    /// Opens the quarantine of a root. If that belongs to another user, it opens one for the
    /// user who owns `own`.
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

    /// Name and kind of the file of each record, the oldest first.
    pub(crate) fn record_files(&self) -> Vec<(String, Kind)> {
        let names = self.entries.keys();
        names
            .filter_map(|name| Some((name.clone(), kind(name)?)))
            .collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes bytes and their reason. Both are durable when it returns.
    pub(crate) fn write(
        &mut self,
        fs: &dyn FileSystem,
        stamp: &str,
        kind: &str,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), IoError> {
        let name = self.prepare(fs, stamp, kind, bytes.len() as u64, reason)?;
        put(fs, &self.path(&name), bytes)?;
        self.finish(fs, name, bytes.len() as u64)
    }

    /// Moves a damaged segment to the quarantine.
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
        let target = self.path(&name);
        fs.rename(path, &target).at("set aside", path)?;
        // The segment was moved. No record depends on the rest, so a failure does not matter.
        let _ = self.finish(fs, name, len);
        Ok(())
    }

    /// Makes room and writes the reason. Returns the name for the content.
    fn prepare(
        &mut self,
        fs: &dyn FileSystem,
        stamp: &str,
        kind: &str,
        len: u64,
        reason: &str,
    ) -> Result<String, IoError> {
        let directory = self.directory.clone();
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
        let directory = self.directory.clone();
        fs.sync_dir(&directory).at("sync", &directory)
    }

    pub(crate) fn remove(&mut self, fs: &dyn FileSystem, name: &str) -> Result<(), IoError> {
        let path = self.path(name);
        ignore_missing(fs.remove_file(&path)).at("remove", &path)?;
        let reason = path.with_extension("json");
        ignore_missing(fs.remove_file(&reason)).at("remove", &reason)?;
        self.entries.remove(name);
        Ok(())
    }
}

fn put(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    // A failed attempt may have left a file of this name.
    ignore_missing(fs.remove_file(path)).at("remove", path)?;
    let file = fs.create_new(path).at("create", path)?;
    file.append(bytes).at("write", path)?;
    file.sync().at("sync", path)
}

/// The user who owns a directory below the root.
fn owner(fs: &dyn FileSystem, root: &Path, directory: &Path) -> Result<u32, IoError> {
    let name = directory.file_name().and_then(OsStr::to_str);
    let entries = fs.list(root).at("list", root)?;
    let entry = entries.iter().find(|e| Some(e.name.as_str()) == name);
    Ok(entry.map_or(0, |entry| entry.owner))
}

/// Bytes on disk of a file and its reason.
fn cost(len: u64) -> u64 {
    (len.div_ceil(QUARANTINE_BLOCK) + 1) * QUARANTINE_BLOCK
}

pub(crate) fn is_content(name: &str) -> bool {
    kind(name).is_some() || name.ends_with(".segment")
}

/// The kind of record in a file; `None` for other files.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    let (_, extension) = name.rsplit_once('.')?;
    Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == extension)
}
