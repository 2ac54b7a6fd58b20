//! API keys: how they are generated, stored and checked.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::secret::Secret;
use crate::visible::visible;

/// The shortest key that agents accept.
const MIN_KEY_LEN: usize = 10;
const KEY_PREFIX: &str = "fg_";
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 12;
/// The longest label, in characters.
const MAX_LABEL: usize = 100;

/// The SHA-256 of an API key. Only this is stored.
#[derive(Clone)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of `key`.
    pub fn of(key: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
        Self(bytes)
    }

    /// The hash, for storage.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash")
    }
}

/// Identifies a key in the operator API. It says nothing about the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
pub struct KeyId(pub String);

impl KeyId {
    /// A random id.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] if the system returns no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; ID_BYTES];
        fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }
}

/// A live key of a project, without the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Tells it from the others.
    pub label: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it, such as `person:ann`, `cli`, or `server` when it started.
    pub created_by: String,
    /// When it was last used, at most about a minute late. Null if it was not.
    #[schema(required = true)]
    pub last_used_at: Option<Timestamp>,
}

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The hash of the key.
    pub hash: KeyHash,
    /// Its id.
    pub id: KeyId,
    /// Tells it from the others.
    pub label: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
}

/// Why a text is no label of a key.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a label has 1 to {MAX_LABEL} characters, not only spaces, and no control characters")]
pub struct InvalidLabel;

/// Checks the label of a new key.
///
/// # Errors
///
/// [`InvalidLabel`] says how labels look.
pub fn check_label(label: &str) -> Result<(), InvalidLabel> {
    let is_shown = !label.trim().is_empty() && visible(label) == label;
    (is_shown && label.chars().count() <= MAX_LABEL)
        .then_some(())
        .ok_or(InvalidLabel)
}

/// Why a text is not a valid API key. Contains nothing of the text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The key is shorter than agents accept.
    #[error("the API key has {len} characters; give at least {MIN_KEY_LEN}")]
    TooShort {
        /// Its length.
        len: usize,
    },
    /// The key has characters that are not allowed in an HTTP header.
    #[error(
        "the API key holds a space, a control character or one that is not ASCII; give visible ASCII characters only"
    )]
    Characters,
}

/// Checks a key that the operator chose.
///
/// # Errors
///
/// [`KeyError`] if agents could not send it.
pub fn check_key(key: &Secret) -> Result<(), KeyError> {
    let key = key.expose();
    if key.len() < MIN_KEY_LEN {
        return Err(KeyError::TooShort { len: key.len() });
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyError::Characters);
    }
    Ok(())
}

/// The system returned no random bytes.
#[derive(Debug, Error)]
#[error("the system gave no random bytes for a new API key")]
pub struct NoRandomness;

/// Generates a key of 256 random bits, `fg_...`.
///
/// # Errors
///
/// [`NoRandomness`] if the system returns no random bytes.
pub fn new_key() -> Result<Secret, NoRandomness> {
    let mut bytes = [0; KEY_BYTES];
    fill(&mut bytes)?;
    Ok(Secret::from(
        [KEY_PREFIX, &URL_SAFE_NO_PAD.encode(bytes)].concat(),
    ))
}

fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    SystemRandom::new().fill(bytes).map_err(|_| NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_visible() {
        for label in ["web", "web 1: Zürich", &"x".repeat(MAX_LABEL)] {
            assert_eq!(check_label(label), Ok(()), "{label}");
        }
        for label in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(MAX_LABEL + 1)] {
            assert_eq!(check_label(label), Err(InvalidLabel), "{label:?}");
        }
    }

    #[test]
    fn new_keys_differ_and_pass_the_check() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        assert_ne!(one, other);
        assert!(one.expose().starts_with("fg_") && one.expose().len() == 46);
        assert_eq!(check_key(&one), Ok(()));
    }

    #[test]
    fn a_key_that_agents_could_not_send_is_refused() {
        assert_eq!(
            check_key(&"short".into()),
            Err(KeyError::TooShort { len: 5 })
        );
        assert_eq!(
            check_key(&"has a space in it".into()),
            Err(KeyError::Characters)
        );
    }
}
