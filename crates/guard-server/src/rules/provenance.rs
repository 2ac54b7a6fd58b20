//! Who changes the rules, and why.

use std::net::IpAddr;

use guard_wire::rules::RulesError;

use super::document::problem;

/// The longest author or reason, in characters.
pub const MAX_NOTE: usize = 1000;

/// Who changes the rules, and why.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// Who does it.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Addresses the change must not lock out unless it is confirmed.
    pub caller: Vec<IpAddr>,
    /// Whether whatever risk it has is wanted.
    pub confirmed: bool,
}

impl Provenance {
    /// Checks that the history can hold the author and the reason.
    pub(super) fn check(&self) -> Result<(), RulesError> {
        check_note("author", self.author.as_deref())?;
        check_note("reason", self.reason.as_deref())
    }
}

/// Checks that a note is one line of text of at most [`MAX_NOTE`] characters.
pub(super) fn check_note(field: &str, note: Option<&str>) -> Result<(), RulesError> {
    let note = note.unwrap_or_default();
    let length = note.chars().count();
    if length > MAX_NOTE {
        let why = format!("{length} characters; give {MAX_NOTE} at most");
        return Err(problem(field, why));
    }
    if note.chars().any(char::is_control) {
        return Err(problem(
            field,
            "holds a control character; give one line of text",
        ));
    }
    Ok(())
}
