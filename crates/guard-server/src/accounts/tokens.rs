//! Making and revoking tokens, for the API and the command line.

use jiff::Timestamp;
use serde_json::json;

use super::error::PeopleError;
use crate::people::credential::{self, CredentialHash};
use crate::people::person::check_name;
use crate::people::token::{TOKEN_PREFIX, Token};
use crate::people::{Actor, AuditEntry, Change, Role, Scope};
use crate::secret::Secret;
use crate::store::Stores;

/// The most tokens of a server.
pub const MAX_TOKENS: usize = 1000;

/// A token to make.
#[derive(Debug)]
pub struct NewToken {
    /// What people call it.
    pub label: String,
    /// The role.
    pub role: Role,
    /// Where the role applies.
    pub projects: Scope,
    /// When it stops to work.
    pub expires_at: Option<Timestamp>,
}

/// Makes a token. Returns its id, and its text, which is not stored.
///
/// # Errors
///
/// [`PeopleError`] if a field is not valid, there are too many tokens, or the store fails.
pub async fn add_token(
    stores: &Stores,
    new: NewToken,
    actor: &Actor,
    now: Timestamp,
) -> Result<(String, Secret), PeopleError> {
    check_name(&new.label).map_err(|problem| PeopleError::field("label", problem))?;
    check_scope(stores, &new.projects).await?;
    if let Some(expires) = new.expires_at.filter(|expires| *expires <= now) {
        let problem = format!("{expires} is over; give a later time, or none");
        return Err(PeopleError::field("expires_at", problem));
    }
    let count = stores.people.tokens().await?.len();
    if count >= MAX_TOKENS {
        return Err(PeopleError::Full {
            what: "tokens",
            limit: MAX_TOKENS,
        });
    }
    let (id, secret) = (credential::new_id()?, credential::random(TOKEN_PREFIX)?);
    let change = Change {
        action: "token.add",
        object: id.clone(),
        after: json!({ "label": new.label, "role": new.role, "projects": new.projects,
            "expires_at": new.expires_at }),
        ..Change::default()
    };
    let token = Token {
        id: id.clone(),
        label: new.label,
        role: new.role,
        projects: new.projects,
        created_at: now,
        created_by: actor.who.to_string(),
        expires_at: new.expires_at,
        last_used_at: None,
    };
    let hash = CredentialHash::of(secret.expose());
    let entry = AuditEntry::new(actor, change, now);
    stores.people.save_token(hash, token, Some(entry)).await?;
    Ok((id, secret))
}

/// Revokes a token. It is refused from the next request on.
///
/// # Errors
///
/// [`PeopleError::NotFound`] if there is no such token.
pub async fn revoke_token(
    stores: &Stores,
    id: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), PeopleError> {
    let none = || PeopleError::NotFound(format!("there is no token {id}"));
    let mut tokens = stores.people.tokens().await?.into_iter();
    let token = tokens.find(|token| token.id == id).ok_or_else(none)?;
    let change = Change {
        action: "token.revoke",
        object: token.id,
        before: json!({ "label": token.label, "role": token.role, "projects": token.projects }),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    let removed = stores.people.remove_token(id, Some(entry)).await?;
    removed.map(drop).ok_or_else(none)
}

/// Checks that the projects of a role exist.
pub(super) async fn check_scope(stores: &Stores, scope: &Scope) -> Result<(), PeopleError> {
    let Scope::Named(names) = scope else {
        return Ok(());
    };
    for name in names {
        if stores.projects.project_named(name).await?.is_none() {
            let problem = format!("there is no project {name:?}; create it first");
            return Err(PeopleError::field("projects", problem));
        }
    }
    Ok(())
}
