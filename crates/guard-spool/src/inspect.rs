//! Inspects a spool from outside, for the command line. It changes nothing and takes no lock
//! from a running process.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guard_wire::Kind;

use crate::directory::{self, LOCK};
use crate::error::{At, IoError};
use crate::format::frame::{self, Header, Piece, Scan};
use crate::format::sidecar;
use crate::options::MAX_SEGMENT_BYTES;
use crate::platform::fs::{Entry, FileSystem};
use crate::quarantine::{self, OTHER_USERS, QUARANTINE};
use crate::segment::Name;
use crate::usage::Counts;

/// Whether the process of a directory is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A process holds the directory's lock: its own, or one that has adopted it.
    Running,
    /// No process does. The next process that starts adopts the directory.
    Gone,
}

/// The directory of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryReport {
    /// Its name: creation time in milliseconds, process id, a random number.
    pub name: String,
    /// Whether its process is running.
    pub owner: Owner,
    /// Wall time of its creation.
    pub created: SystemTime,
    /// Its segments, the oldest first.
    pub segments: Vec<SegmentReport>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// Wall time of its creation, or of the directory's if the header cannot be read.
    pub created: SystemTime,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Whether it has a seal.
    pub sealed: bool,
    /// Records that are not acknowledged.
    pub records: Counts,
    /// Records that are acknowledged and still in the file.
    pub acknowledged: u64,
    /// Unreadable bytes.
    pub unreadable: u64,
}

/// A file in the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its file.
    pub path: PathBuf,
    /// The kind of record; `None` for a damaged segment.
    pub kind: Option<Kind>,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Why it is there; empty if the reason cannot be read.
    pub reason: String,
    /// Wall time at which it was put there.
    pub at: SystemTime,
}

/// The directories below a spool's root, the oldest first. It reads every segment, one at a time.
/// A directory of another user that cannot be entered is reported as running and empty.
///
/// It briefly locks a directory whose process is gone. A process that starts at that moment
/// adopts the directory ten seconds later.
///
/// # Errors
///
/// The file system refused an operation. Files that their owner removes meanwhile are left out.
///
/// # Examples
///
/// ```
/// use guard_spool::{Disk, Kind, Options, Spool, inspect};
///
/// let root = tempfile::tempdir()?;
/// let mut spool = Spool::open(root.path(), Options::default())?;
/// spool.append(&[(Kind::Metric, b"{}".as_slice())])?;
/// let directories = inspect::directories(&Disk, root.path())?;
/// assert_eq!(directories[0].owner, inspect::Owner::Running);
/// assert_eq!(directories[0].segments[0].records.metrics, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn directories(fs: &dyn FileSystem, root: &Path) -> Result<Vec<DirectoryReport>, IoError> {
    let mut reports = Vec::new();
    for (created, name) in names(fs, root)? {
        let path = root.join(&name);
        let mut segments = Vec::new();
        for segment in segments_of(fs, &path)? {
            segments.extend(report(fs, &path, segment, time(created))?);
        }
        reports.push(DirectoryReport {
            name,
            owner: owner(fs, &path)?,
            created: time(created),
            segments,
        });
    }
    Ok(reports)
}

/// Calls `each` for the records that are not acknowledged, in one directory or in all, the oldest
/// directory first, until `each` breaks. It keeps one segment at a time in memory.
///
/// # Errors
///
/// The file system refused an operation. Files that their owner removes meanwhile are left out.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
///
/// use guard_spool::{Disk, Kind, Options, Spool, inspect};
///
/// let root = tempfile::tempdir()?;
/// let mut spool = Spool::open(root.path(), Options::default())?;
/// spool.append(&[(Kind::Event, b"one".as_slice()), (Kind::Event, b"two")])?;
/// let mut found = Vec::new();
/// inspect::records(&Disk, root.path(), None, |_kind, bytes| {
///     found.push(bytes.to_vec());
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(found, [b"one", b"two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn records(
    fs: &dyn FileSystem,
    root: &Path,
    directory: Option<&str>,
    mut each: impl FnMut(Kind, &[u8]) -> ControlFlow<()>,
) -> Result<(), IoError> {
    for (_, name) in names(fs, root)? {
        if directory.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let path = root.join(name);
        for segment in segments_of(fs, &path)? {
            let Some((bytes, acknowledged)) = read(fs, &path, segment)? else {
                continue;
            };
            for piece in Scan::new(segment.salt, &bytes) {
                if let Piece::Record {
                    index,
                    kind,
                    payload,
                } = piece
                    && !acknowledged.contains(index)
                    && each(kind, payload).is_break()
                {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The files in the quarantine of a spool's root that this user may read, the oldest first.
///
/// # Errors
///
/// The file system refused an operation.
pub fn quarantined(fs: &dyn FileSystem, root: &Path) -> Result<Vec<Quarantined>, IoError> {
    let mut found = Vec::new();
    let entries = there(fs.list(root)).at("list", root)?.unwrap_or_default();
    for directory in entries {
        if directory.name == QUARANTINE || directory.name.starts_with(OTHER_USERS) {
            let path = root.join(directory.name);
            let entries = entries_of(fs, &path)?;
            found.extend(
                entries
                    .into_iter()
                    .filter_map(|it| set_aside(fs, &path, &it)),
            );
        }
    }
    found.sort_unstable_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
    Ok(found)
}

fn set_aside(fs: &dyn FileSystem, directory: &Path, entry: &Entry) -> Option<Quarantined> {
    if !quarantine::is_content(&entry.name) {
        return None;
    }
    let path = directory.join(&entry.name);
    let stamp = entry.name.split('-').next().and_then(|ms| ms.parse().ok());
    Some(Quarantined {
        kind: quarantine::kind(&entry.name),
        bytes: entry.len,
        reason: reason(fs, &path),
        at: time(stamp.unwrap_or(0)),
        path,
    })
}

/// The entries of a directory; none if it is gone or belongs to another user.
fn entries_of(fs: &dyn FileSystem, path: &Path) -> Result<Vec<Entry>, IoError> {
    match there(fs.list(path)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
        entries => Ok(entries.at("list", path)?.unwrap_or_default()),
    }
}

fn reason(fs: &dyn FileSystem, path: &Path) -> String {
    let bytes = fs.read(&path.with_extension("json"), 0, MAX_SEGMENT_BYTES);
    let facts: Option<serde_json::Value> = bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let reason = facts.as_ref().and_then(|facts| facts["reason"].as_str());
    reason.unwrap_or_default().to_owned()
}

/// Creation times and names of the processes' directories, the oldest first.
fn names(fs: &dyn FileSystem, root: &Path) -> Result<Vec<(u64, String)>, IoError> {
    let entries = there(fs.list(root)).at("list", root)?.unwrap_or_default();
    let mut names: Vec<(u64, String)> = entries
        .into_iter()
        .filter(|entry| entry.directory)
        .filter_map(|entry| Some((directory::created(&entry.name)?, entry.name)))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The segments of a directory, the oldest first.
fn segments_of(fs: &dyn FileSystem, path: &Path) -> Result<Vec<Name>, IoError> {
    let entries = entries_of(fs, path)?;
    let mut names: Vec<Name> = entries
        .iter()
        .filter(|entry| entry.len <= MAX_SEGMENT_BYTES)
        .filter_map(|entry| Name::parse(&entry.name))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The bytes and the acknowledged indices of a segment, if it still exists.
fn read(
    fs: &dyn FileSystem,
    directory: &Path,
    name: Name,
) -> Result<Option<(Vec<u8>, crate::format::bits::Bits)>, IoError> {
    let (log, ack) = (
        directory.join(name.file("log")),
        directory.join(name.file("ack")),
    );
    // Read the sidecar first, because the owner removes a segment before its sidecar.
    let sidecar = there(fs.read(&ack, 0, MAX_SEGMENT_BYTES)).at("read", &ack)?;
    let bytes = there(fs.read(&log, 0, MAX_SEGMENT_BYTES)).at("read", &log)?;
    let (acknowledged, _) = sidecar::decode(name.salt, &sidecar.unwrap_or_default());
    Ok(bytes.map(|bytes| (bytes, acknowledged)))
}

fn report(
    fs: &dyn FileSystem,
    directory: &Path,
    name: Name,
    created: SystemTime,
) -> Result<Option<SegmentReport>, IoError> {
    let Some((bytes, acknowledged)) = read(fs, directory, name)? else {
        return Ok(None);
    };
    let mut report = SegmentReport {
        path: directory.join(name.file("log")),
        created: match frame::read_header(name.salt, &bytes) {
            Header::Known { created } => time(created),
            Header::Foreign { .. } | Header::Damaged => created,
        },
        bytes: bytes.len() as u64,
        sealed: false,
        records: Counts::default(),
        acknowledged: 0,
        unreadable: 0,
    };
    for piece in Scan::new(name.salt, &bytes) {
        match piece {
            Piece::Record { index, .. } if acknowledged.contains(index) => {
                report.acknowledged += 1;
            }
            Piece::Record { kind, .. } => report.records.add(kind, 1),
            Piece::Seal { .. } => report.sealed = true,
            Piece::Unreadable { len, .. } => report.unreadable += len,
        }
    }
    Ok(Some(report))
}

/// Whether a process holds a directory's lock.
fn owner(fs: &dyn FileSystem, directory: &Path) -> Result<Owner, IoError> {
    let lock = directory.join(LOCK);
    match fs.exists(&lock) {
        // It belongs to another user; only processes of that user can check the lock.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Owner::Running);
        }
        Ok(false) => return Ok(Owner::Gone),
        there => drop(there.at("look for", &lock)?),
    }
    match there(fs.try_lock(&lock)).at("lock", &lock)?.flatten() {
        Some(_) => Ok(Owner::Gone),
        None => Ok(Owner::Running),
    }
}

fn time(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// `None` if the file does not exist.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
