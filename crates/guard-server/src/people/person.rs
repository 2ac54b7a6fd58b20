//! A person who can sign in.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::role::{Role, Scope};

/// The longest name of a person, or label of a token, in characters.
pub const MAX_NAME: usize = 64;

/// A person who can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Person {
    /// The name, which cannot change.
    pub name: String,
    /// The role.
    pub role: Role,
    /// Where the role applies.
    pub projects: Scope,
    /// Whether the person has chosen a password. Nobody can sign in without one.
    pub has_password: bool,
    /// When the person was added.
    pub created_at: Timestamp,
    /// When the person last signed in or used a session, to within a minute.
    #[schema(required = true)]
    pub last_seen_at: Option<Timestamp>,
}

/// A change to a person. `None` keeps the stored value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonUpdate {
    /// The new role.
    pub role: Option<Role>,
    /// The new projects.
    pub projects: Option<Scope>,
    /// The new password, hashed.
    pub password: Option<String>,
}

/// The outcome of a change to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonOutcome {
    /// The person was changed.
    Changed,
    /// There is no such person.
    NotFound,
    /// The change would have left nobody who can manage the server, so nothing changed.
    LastAdmin,
}

/// Checks a person's name or a token's label: one line that is safe in logs and in URLs.
///
/// # Errors
///
/// Says what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if !(1..=MAX_NAME).contains(&length) {
        return Err(format!("{length} characters; give 1 to {MAX_NAME}"));
    }
    let is_plain = |it: char| it.is_alphanumeric() || " ._@+-'".contains(it);
    if let Some(other) = name.chars().find(|it| !is_plain(*it)) {
        let other = other.escape_debug();
        return Err(format!(
            "it holds {other}; give letters, digits, spaces and . _ @ + - '"
        ));
    }
    if name.trim() != name || name.chars().all(|it| it == '.') {
        return Err("it begins or ends with a space, or holds only dots".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line_of_plain_characters() {
        for name in ["anna", "Zoë O'Neil", "ops@example.com", "ci-2"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        for name in [
            "",
            " a",
            "a ",
            "a/b",
            "a\nb",
            "a\u{202e}b",
            "a:b",
            "..",
            "*",
            &long,
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
