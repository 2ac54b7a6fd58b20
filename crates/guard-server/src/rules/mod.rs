//! Rules: decided by people ([`operation`], [`policy`]), composed into the document that
//! guards understand (`compose`), kept as versions that only rise ([`versions`]),
//! and given to agents, at once or when they change (`feed`).

mod compose;
pub(crate) mod document;
pub mod draft;
mod feed;
pub(crate) mod fields;
mod lease;
mod lockout;
mod network;
pub mod operation;
mod pattern;
pub mod policy;
pub mod provenance;
mod retention;
pub mod versions;

use jiff::Timestamp;

pub(crate) use self::feed::Feed;
pub use self::provenance::Provenance;
use self::versions::{ChangeError, Publishing};
use crate::store::{Project, RulesStore};

/// Checks a rules document and publishes it for `project` in place of the one
/// published before, under its own version; answers that version.
///
/// # Errors
///
/// [`ChangeError`] when the document is not valid, its version does not rise, it
/// is risky and not confirmed, or the store fails.
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
    };
    versions::publish(store, project.id, publishing, by, now).await
}
