//! Operations on files that take more than one step.

use std::io;
use std::path::Path;

use crate::error::{At, IoError};
use crate::platform::fs::{FileId, FileSystem};

/// Replaces a file: writes and syncs a temporary file and renames it. The name is not durable
/// yet. Returns the identity of the new file.
pub(crate) fn write_over(
    fs: &dyn FileSystem,
    tmp: &Path,
    path: &Path,
    bytes: &[u8],
) -> Result<FileId, IoError> {
    ignore_missing(fs.remove_file(tmp)).at("remove", tmp)?;
    let file = fs.create_new(tmp).at("create", tmp)?;
    let id = || file.id().at("look at", tmp);
    let written = file
        .append(bytes)
        .at("write", tmp)
        .and_then(|()| file.sync().at("sync", tmp))
        .and_then(|()| id())
        .and_then(|id| fs.rename(tmp, path).at("replace", path).map(|()| id));
    if written.is_err() {
        // If this fails too, the next attempt or an adopting process removes the file.
        let _ = fs.remove_file(tmp);
    }
    written
}

/// Treats a missing file as success, for removals and syncs.
pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
