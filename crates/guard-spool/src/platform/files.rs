//! Operations on files that take more than one step.

use std::io;
use std::path::Path;

use crate::error::{At, IoError};
use crate::platform::fs::{FileId, FileSystem};

/// Puts a file with these bytes, durable, in the place of another, by way of a
/// temporary one. Its name is not durable yet. Which file it is.
pub(crate) fn write_over(
    fs: &dyn FileSystem,
    tmp: &Path,
    path: &Path,
    bytes: &[u8],
) -> Result<FileId, IoError> {
    gone(fs.remove_file(tmp)).at("remove", tmp)?;
    let file = fs.create_new(tmp).at("create", tmp)?;
    let id = || file.id().at("look at", tmp);
    let written = file
        .append(bytes)
        .at("write", tmp)
        .and_then(|()| file.sync().at("sync", tmp))
        .and_then(|()| id())
        .and_then(|id| fs.rename(tmp, path).at("replace", path).map(|()| id));
    if written.is_err() {
        // If this fails too, the next attempt or whoever adopts it removes it.
        let _ = fs.remove_file(tmp);
    }
    written
}

/// Takes "it is not there" for done.
pub(crate) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
