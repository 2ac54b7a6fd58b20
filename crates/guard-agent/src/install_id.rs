//! The install id, stored on disk so that it survives restarts.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use uuid::Uuid;

/// Default file of the install id, below the home directory.
pub const DEFAULT_STATE_FILE: &str = ".guard-agent/install-id";

/// An install id and, if it could not be stored, the reason.
#[derive(Debug)]
pub struct InstallId {
    /// The id.
    pub id: String,
    /// Set if the id lasts only as long as this process.
    pub not_kept: Option<io::Error>,
}

/// The id of this installation: `id` if given, else the content of `state_file` (by default
/// [`DEFAULT_STATE_FILE`] in the home directory), else a new UUID that is written there.
/// Never fails: if the id cannot be stored, a new one is returned together with the reason.
///
/// ```
/// let chosen = guard_agent::install_id::resolve(None, Some("host-7"));
/// assert_eq!(chosen.id, "host-7");
/// ```
pub fn resolve(state_file: Option<&Path>, id: Option<&str>) -> InstallId {
    if let Some(id) = id.map(str::trim).filter(|id| !id.is_empty()) {
        return InstallId {
            id: id.to_owned(),
            not_kept: None,
        };
    }
    let fresh = || Uuid::new_v4().to_string();
    let Some(file) = state_file.map(PathBuf::from).or_else(default_file) else {
        let why = io::Error::new(io::ErrorKind::NotFound, "no home directory; set HOME");
        return InstallId {
            id: fresh(),
            not_kept: Some(why),
        };
    };
    match read_or_create(&file, fresh) {
        Ok(id) => InstallId { id, not_kept: None },
        Err(error) => InstallId {
            id: fresh(),
            not_kept: Some(error),
        },
    }
}

fn default_file() -> Option<PathBuf> {
    let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE"))?;
    Some(PathBuf::from(home).join(DEFAULT_STATE_FILE))
}

fn read_or_create(file: &Path, fresh: impl Fn() -> String) -> io::Result<String> {
    if let Some(id) = read(file)? {
        return Ok(id);
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // Written to a temporary file and linked into place. So if several processes start at
    // once, one wins and the others read its id.
    let aside = file.with_extension(fresh());
    let id = fresh();
    let kept = fs::File::create_new(&aside)
        .and_then(|mut target| target.write_all(id.as_bytes()))
        .and_then(|()| match fs::hard_link(&aside, file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
    // A remaining temporary file is harmless.
    drop(fs::remove_file(&aside));
    kept?;
    match read(file)? {
        Some(id) => Ok(id),
        None => fs::write(file, &id).map(|()| id),
    }
}

/// Reads the file. `None` if it holds no valid id.
fn read(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => {
            let id = text.trim();
            let is_usable =
                !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
            Ok(is_usable.then(|| id.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_lasts_and_is_shared_by_processes_that_start_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("deep/install-id");
        let ids: Vec<String> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| resolve(Some(&file), None).id);
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("ends"))
                .collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let entries = fs::read_dir(folder.path().join("deep"))
            .expect("listed")
            .count();
        assert_eq!(entries, 1);
    }

    #[test]
    fn a_damaged_file_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("install-id");
        fs::write(&file, [0xff, 0xfe]).expect("written");
        let id = resolve(Some(&file), None).id;
        assert_eq!(resolve(Some(&file), None).id, id);
    }

    #[test]
    fn an_unwritable_path_gives_a_new_identity_and_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let found = resolve(Some(&file.join("install-id")), None);
        assert!(!found.id.is_empty());
        assert!(found.not_kept.is_some());
    }
}
