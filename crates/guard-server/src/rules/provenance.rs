//! Who changes the rules, and why.

use std::net::IpAddr;

use guard_wire::rules::RulesError;
use jiff::Timestamp;
use serde_json::json;

use super::document::problem;
use crate::people::{Actor, AuditEntry, Change, Who};

/// The longest author or reason, in characters.
pub const MAX_NOTE: usize = 1000;

/// Who changes the rules, and why.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// The author of the change.
    pub author: Option<String>,
    /// The reason for the change.
    pub reason: Option<String>,
    /// Addresses that the change must not lock out unless it is confirmed.
    pub caller: Vec<IpAddr>,
    /// Whether the author confirms the risks of the change.
    pub confirmed: bool,
    /// Whether a program or the server makes the change, not a person. The history keeps what people
    /// did for longer.
    pub automatic: bool,
    /// What the audit log says about it. `None` is for changes that nobody decided.
    pub audited: Option<Audited>,
}

/// What the audit log says about a change of the rules.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Who makes the change.
    pub actor: Actor,
    /// What is done, such as `rules.add`.
    pub action: &'static str,
    /// The name of the project.
    pub project: String,
}

impl Provenance {
    /// The entry of the audit log for `version`. `object` is the text of the history.
    pub(super) fn entry(&self, object: &str, version: i64, now: Timestamp) -> Option<AuditEntry> {
        let audited = self.audited.as_ref()?;
        let mut after = json!({ "version": version });
        if let Some(reason) = &self.reason {
            after["reason"] = json!(reason);
        }
        // Others are the author themselves.
        if let (Who::Cli, Some(author)) = (&audited.actor.who, &self.author) {
            after["author"] = json!(author);
        }
        let change = Change {
            action: audited.action,
            project: Some(audited.project.clone()),
            object: object.to_owned(),
            after,
            ..Change::default()
        };
        Some(AuditEntry::new(&audited.actor, change, now))
    }

    /// Checks that author and reason fit into the history.
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
