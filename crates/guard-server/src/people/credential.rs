//! Random credentials: tokens, session ids and setup links. The server stores only their SHA-256:
//! 256 random bits need no slow hash.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

use crate::secret::Secret;

const RANDOM_BYTES: usize = 32;

/// The SHA-256 of a credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialHash([u8; 32]);

impl CredentialHash {
    /// The hash of `credential`.
    pub fn of(credential: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, credential.as_bytes()).as_ref());
        Self(bytes)
    }

    /// The hash, for storage.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CredentialHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialHash")
    }
}

/// The system returned no random bytes.
#[derive(Debug, Error)]
#[error("the system gave no random bytes for a new credential")]
pub struct NoRandomness;

/// Generates `prefix` and 256 random bits, as URL-safe text.
///
/// # Errors
///
/// [`NoRandomness`] if the system returns no random bytes.
pub fn random(prefix: &str) -> Result<Secret, NoRandomness> {
    let mut bytes = [0; RANDOM_BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| NoRandomness)?;
    Ok(Secret::from(
        [prefix, &URL_SAFE_NO_PAD.encode(bytes)].concat(),
    ))
}

/// Generates an identifier of 72 random bits, which is no secret.
///
/// # Errors
///
/// [`NoRandomness`] if the system returns no random bytes.
pub fn new_id() -> Result<String, NoRandomness> {
    let mut bytes = [0; 9];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_differ_and_are_hidden_by_debug() {
        let (one, other) = (random("gt_").unwrap(), random("gt_").unwrap());
        assert_ne!(one, other);
        assert!(one.expose().starts_with("gt_") && one.expose().len() == 46);
        assert_ne!(new_id().unwrap(), new_id().unwrap());
        let hash = CredentialHash::of(one.expose());
        assert_eq!(format!("{hash:?}"), "CredentialHash");
        assert_ne!(hash, CredentialHash::of(other.expose()));
    }
}
