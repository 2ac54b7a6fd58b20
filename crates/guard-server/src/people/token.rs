//! Tokens of programs, `gt_...`.

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::role::{Role, Scope};
use crate::secret::Secret;

/// What every token begins with.
pub const TOKEN_PREFIX: &str = "gt_";
/// The shortest token that an operator may choose, in characters.
pub const MIN_TOKEN_LEN: usize = 16;
/// The id and label of the token that `--admin-token` installs.
pub const INSTALLED_TOKEN: &str = "admin-token";

/// A token of a program. The text of the token is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Token {
    /// Identifies the token.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// The role.
    pub role: Role,
    /// Where the role applies.
    pub projects: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it stops to work.
    #[schema(required = true)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used. It is stored at intervals, not with each request.
    #[schema(required = true)]
    pub last_used_at: Option<Timestamp>,
}

impl Token {
    /// Whether it has expired at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires| expires <= now)
    }
}

/// Why a text cannot be a token. Contains nothing of the text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// It does not begin with the prefix.
    #[error("a token begins with {TOKEN_PREFIX}")]
    Prefix,
    /// It is too short to be safe.
    #[error("the token has {len} characters; give at least {MIN_TOKEN_LEN}")]
    TooShort {
        /// Its length.
        len: usize,
    },
    /// It has characters that are not allowed in an HTTP header.
    #[error(
        "the token holds a space, a control character or one that is not ASCII; give visible ASCII characters only"
    )]
    Characters,
}

/// Checks a token that the operator chose.
///
/// # Errors
///
/// [`TokenError`] if programs could not send it, or if it is too easy to guess.
pub fn check_token(token: &Secret) -> Result<(), TokenError> {
    let token = token.expose();
    if !token.starts_with(TOKEN_PREFIX) {
        return Err(TokenError::Prefix);
    }
    if token.len() < MIN_TOKEN_LEN {
        return Err(TokenError::TooShort { len: token.len() });
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Characters);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::credential;

    #[test]
    fn a_chosen_token_has_the_prefix_and_a_safe_length() {
        let check = |token: &str| check_token(&token.into());
        assert_eq!(check("gt_0123456789abc"), Ok(()));
        assert_eq!(check("fg_0123456789abc"), Err(TokenError::Prefix));
        assert_eq!(check("gt_short"), Err(TokenError::TooShort { len: 8 }));
        assert_eq!(check("gt_0123456789 abc"), Err(TokenError::Characters));
        assert_eq!(
            check_token(&credential::random(TOKEN_PREFIX).unwrap()),
            Ok(())
        );
    }
}
