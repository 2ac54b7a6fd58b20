//! Rules. People decide them ([`operation`], [`policy`]). The server composes them into the
//! document that guards understand (`compose`), keeps them as versions with rising numbers
//! ([`versions`]), and serves them to agents, at once or when they change (`feed`).

pub mod bans;
mod compose;
pub(crate) mod document;
pub mod draft;
mod feed;
pub(crate) mod fields;
pub mod in_force;
mod lease;
mod lockout;
pub mod operation;
mod pattern;
pub mod policy;
pub mod provenance;
mod retention;
pub mod versions;

use jiff::Timestamp;

pub(crate) use self::feed::{Current, Feed};
pub use self::provenance::{Audited, Provenance};
use self::versions::{ChangeError, Publishing};
use crate::network;
use crate::store::{Project, RulesStore};

/// Checks a rules document and publishes it for `project` in place of the published one, with the
/// document's own version. Returns that version.
///
/// # Errors
///
/// [`ChangeError`] if the document is not valid, its version is not above the stored one, it is
/// risky and not confirmed, or the store fails.
pub async fn set(
    store: &dyn RulesStore,
    project: &Project,
    document: &[u8],
    by: &Provenance,
) -> Result<i64, ChangeError> {
    let now = Timestamp::now();
    let rules = document::read(document, now)?;
    let publishing = Publishing {
        rules: &rules,
        expected: None,
        version: Some(rules.version),
        action: "publish",
        draft: None,
    };
    versions::publish(store, project.id, publishing, by, now).await
}
