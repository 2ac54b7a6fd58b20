//! The last good rules on disk, for a start while the backend is unavailable.
//!
//! The file is one JSON object: the unchanged document, its entity tag, whether the
//! backend signed it, and a seal. The seal is an HMAC under the agent's key and signing
//! secret, over all of this, the endpoint and the project. So rules of another project,
//! and rules that somebody wrote into the file, are not used. The file reveals no
//! secret, but only its owner can read it anyway.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_wire::rules::{DynamicRules, MAX_BYTES, RulesError};
use guard_wire::sign;
use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;

use super::Rules;
use crate::config::Config;

/// Escaping makes a document at most six times as long. The other fields are small.
const MAX_FILE: u64 = 6 * MAX_BYTES as u64 + 64 * 1024;

/// Rules stored on disk.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) rules: Arc<Rules>,
    pub(crate) tag: Option<String>,
    pub(crate) is_signed: bool,
}

/// Why stored rules are not used.
#[derive(Debug, Error)]
pub(crate) enum KeptError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is longer than {MAX_FILE} bytes")]
    TooLarge,
    #[error("it is damaged, or not a file of this agent's")]
    Damaged,
    #[error("it was written under another key, secret, project or endpoint")]
    Seal,
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("its rules have ended")]
    Ended,
}

/// The file for the rules, and the identity that they are sealed for.
#[derive(Clone)]
pub(crate) struct Place {
    path: PathBuf,
    /// The key of the seal. It is not in the file.
    key: String,
    /// The identity that the seal covers in addition to the rules.
    scope: String,
}

impl Place {
    /// `None` if `rules_cache_path` is not set.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let path = config.settings.rules_cache_path.clone()?;
        let secret = config.signing_secret.as_deref().unwrap_or_default();
        let project = config.settings.project_id.as_deref().unwrap_or_default();
        Some(Self {
            path,
            key: [&config.api_key, "\n", secret].concat(),
            scope: [config.endpoint.as_str(), "\n", project].concat(),
        })
    }

    /// Loads the stored rules, if there are any.
    pub(crate) fn load(&self, now: Timestamp) -> Result<Option<Kept>, KeptError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut text = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(KeptError::TooLarge);
        }
        self.open(&text, now).map(Some)
    }

    fn open(&self, text: &[u8], now: Timestamp) -> Result<Kept, KeptError> {
        let value: Value = serde_json::from_slice(text).map_err(|_| KeptError::Damaged)?;
        let field = |name: &str| value[name].as_str();
        let (Some(json), Some(seal)) = (field("rules"), field("seal")) else {
            return Err(KeptError::Damaged);
        };
        let tag = field("tag").map(str::to_owned);
        let is_signed = value["is_signed"] == Value::Bool(true);
        let sealed = self.sealed(json, tag.as_deref(), is_signed);
        if !sign::verify(sealed.as_bytes(), seal, &self.key) {
            return Err(KeptError::Seal);
        }
        let document = DynamicRules::from_json(json.as_bytes())?;
        if document.is_expired(now) {
            return Err(KeptError::Ended);
        }
        let json = json.to_owned();
        Ok(Kept {
            rules: Arc::new(Rules { document, json }),
            tag,
            is_signed,
        })
    }

    /// Replaces the stored rules. The file is complete at any moment.
    pub(crate) fn save(&self, kept: &Kept) -> io::Result<()> {
        let json = &kept.rules.json;
        let sealed = self.sealed(json, kept.tag.as_deref(), kept.is_signed);
        let text = json!({
            "rules": json,
            "tag": kept.tag,
            "is_signed": kept.is_signed,
            "seal": sign::sign(sealed.as_bytes(), &self.key),
        })
        .to_string();
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut name = self.path.as_os_str().to_owned();
        // Several processes may store the rules of one project in the same place.
        name.push(format!(".{}.tmp", std::process::id()));
        let fresh = PathBuf::from(name);
        let outcome = write(&fresh, text.as_bytes()).and_then(|()| fs::rename(&fresh, &self.path));
        if outcome.is_err() {
            // The original error explains the failure. The file may not exist.
            let _ = fs::remove_file(&fresh);
        }
        outcome
    }

    /// Removes the stored rules, because there are none any more.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn sealed(&self, json: &str, tag: Option<&str>, is_signed: bool) -> String {
        json!([self.scope, json, tag, is_signed]).to_string()
    }
}

/// Creates a new file that only its owner can read.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        // Left behind by an earlier process with the same id.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &tempfile::TempDir) -> Place {
        Place {
            path: folder.path().join("rules").join("kept.json"),
            key: "the-api-key\nthe-secret".to_owned(),
            scope: "http://backend\nshop".to_owned(),
        }
    }

    fn kept(json: &str) -> Kept {
        let document = DynamicRules::from_json(json.as_bytes()).expect("rules");
        let json = json.to_owned();
        Kept {
            rules: Arc::new(Rules { document, json }),
            tag: Some("\"7\"".to_owned()),
            is_signed: true,
        }
    }

    fn load(place: &Place) -> Result<Option<Kept>, KeptError> {
        place.load("2026-11-22T12:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn saved_rules_are_loaded_and_cleared_rules_are_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        assert!(matches!(load(&place), Ok(None)));
        for json in [r#"{"version": 1}"#, r#"{"version": 2, "message": "\"é\""}"#] {
            place.save(&kept(json)).expect("saved");
            assert_eq!(load(&place).expect("readable"), Some(kept(json)));
        }
        place.clear().expect("removed");
        place.clear().expect("nothing to remove");
        assert!(matches!(load(&place), Ok(None)));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_private_holds_no_secret_and_leaves_no_temporary_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        place.save(&kept("{}")).expect("saved");
        let mode = fs::metadata(place.path())
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(place.path()).expect("text");
        assert!(!text.contains("the-api-key") && !text.contains("the-secret"));
        let files = fs::read_dir(folder.path().join("rules")).expect("a folder");
        assert_eq!(files.count(), 1);
    }

    #[test]
    fn rules_of_another_key_or_project_and_edited_rules_are_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        place.save(&kept(r#"{"version": 1}"#)).expect("saved");
        let other = |key: &str, scope: &str| Place {
            key: key.to_owned(),
            scope: scope.to_owned(),
            ..place.clone()
        };
        for place in [
            other("another-key\nthe-secret", &place.scope),
            other(&place.key, "http://backend\nbank"),
        ] {
            assert!(matches!(load(&place), Err(KeptError::Seal)));
        }
        let text = fs::read_to_string(place.path()).expect("text");
        let tampered = text.replace(r#"\"version\": 1"#, r#"\"version\": 9"#);
        assert_ne!(tampered, text);
        fs::write(place.path(), tampered).expect("written");
        assert!(matches!(load(&place), Err(KeptError::Seal)));
    }

    #[test]
    fn a_damaged_file_and_expired_rules_are_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        place
            .save(&kept(r#"{"expires_at": "2026-11-22T11:59:59Z"}"#))
            .expect("saved");
        assert!(matches!(load(&place), Err(KeptError::Ended)));
        let text = fs::read_to_string(place.path()).expect("text");
        for damaged in [&text[..text.len() / 2], "", "{}", "[1]"] {
            fs::write(place.path(), damaged).expect("written");
            assert!(matches!(load(&place), Err(KeptError::Damaged)), "{damaged}");
        }
    }
}
