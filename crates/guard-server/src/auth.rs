//! API keys: how they are made, stored and checked.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use guard_wire::header::API_KEY;
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::error::ApiError;
use crate::secret::Secret;
use crate::state::AppState;
use crate::store::Project;

/// What agents accept as a key, and so do we.
const MIN_KEY_LEN: usize = 10;
const KEY_PREFIX: &str = "fg_";
const KEY_BYTES: usize = 32;

/// The SHA-256 of an API key: all that is stored of it.
#[derive(Clone)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of `key`.
    pub fn of(key: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
        Self(bytes)
    }

    /// A hash as it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash, to be stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are of the same key, in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash")
    }
}

/// Why a text cannot be an API key. Says nothing of the text itself.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Agents refuse such a short key.
    #[error("the API key has {len} characters; give at least {MIN_KEY_LEN}")]
    TooShort {
        /// Its length.
        len: usize,
    },
    /// It cannot stand in an HTTP header.
    #[error(
        "the API key holds a space, a control character or one that is not ASCII; give visible ASCII characters only"
    )]
    Characters,
}

/// Checks a key that the operator chose.
///
/// # Errors
///
/// [`KeyError`] when agents could not send it.
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

/// The system gave no random bytes.
#[derive(Debug, Error)]
#[error("the system gave no random bytes for a new API key")]
pub struct NoRandomness;

/// Makes a key of 256 random bits, `fg_...`.
///
/// # Errors
///
/// [`NoRandomness`] when the system gives none.
pub fn new_key() -> Result<Secret, NoRandomness> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(Secret::from(
        [KEY_PREFIX, &URL_SAFE_NO_PAD.encode(bytes)].concat(),
    ))
}

/// Who asks: the project whose key came with the request.
pub(crate) struct Caller(pub(crate) Project);

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, Self::Rejection> {
        let mut given = false;
        for key in keys(&parts.headers) {
            given = true;
            if let Some(project) = state.control.project_of_key(KeyHash::of(key)).await? {
                return Ok(Self(project));
            }
        }
        Err(ApiError::unauthorized(if given {
            "Unknown API key"
        } else {
            "No API key: send it as X-API-Key or as Authorization: Bearer"
        }))
    }
}

/// The keys a request carries: agents send one header, or both.
fn keys(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| credentials(value.to_str().ok()?, "bearer"));
    let plain = headers
        .get(API_KEY)
        .and_then(|value| value.to_str().ok())
        .map(str::trim);
    plain.into_iter().chain(bearer)
}

/// The password of HTTP Basic authentication; the user name does not matter.
pub(crate) fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(credentials(value, "basic")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    Some(decoded.split_once(':')?.1.to_owned())
}

/// What follows the scheme, whose name may be in any case.
fn credentials<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = value.trim().split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn keys_of(pairs: &[(&str, &str)]) -> Vec<String> {
        keys(&headers(pairs)).map(str::to_owned).collect()
    }

    #[test]
    fn a_key_is_read_from_either_header_in_any_case() {
        assert_eq!(keys_of(&[("x-api-KEY", " fg_1 ")]), ["fg_1"]);
        assert_eq!(keys_of(&[("AUTHORIZATION", "bEaReR fg_2")]), ["fg_2"]);
        assert_eq!(keys_of(&[("authorization", "Basic fg_2")]), [""; 0]);
        assert_eq!(
            keys_of(&[("authorization", "Bearer fg_2"), ("x-api-key", "fg_1")]),
            ["fg_1", "fg_2"]
        );
    }

    #[test]
    fn the_password_of_basic_authentication_may_hold_colons() {
        let value = format!("basic {}", STANDARD.encode("me:fg_1:2"));
        let headers = headers(&[("authorization", &value)]);
        assert_eq!(basic_password(&headers).as_deref(), Some("fg_1:2"));
    }

    #[test]
    fn basic_authentication_that_cannot_be_read_holds_no_password() {
        for value in ["Basic ***", "Basic bm9jb2xvbg==", "Basic", "Bearer YTpi"] {
            assert_eq!(basic_password(&headers(&[("authorization", value)])), None);
        }
    }

    #[test]
    fn new_keys_are_unlike_and_pass_the_check() {
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

    #[test]
    fn hashes_match_only_for_the_same_key() {
        assert!(KeyHash::of("a").matches(&KeyHash::of("a")));
        assert!(!KeyHash::of("a").matches(&KeyHash::of("b")));
    }
}
