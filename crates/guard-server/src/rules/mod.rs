//! Rules: decided by people ([`operation`], [`policy`]), composed into the document that
//! guards understand (`compose`), kept as versions that only rise ([`book`]),
//! and answered to agents, at once or when they change (`feed`, `answer`).

pub mod adoption;
mod answer;
pub(crate) mod api;
pub mod book;
pub mod command;
mod compose;
mod document;
pub mod draft;
mod feed;
mod fields;
mod network;
pub mod operation;
mod pattern;
pub mod policy;
mod risk;
mod sightings;

use jiff::Timestamp;

pub(crate) use self::answer::get;
use self::book::{By, ChangeError, Publishing};
pub(crate) use self::feed::Feed;
pub(crate) use self::sightings::Sightings;
use crate::store::{Control, Project};

/// Checks a rules document and publishes it for `project` in place of the one
/// published before, under its own version; answers that version.
///
/// # Errors
///
/// [`ChangeError`] when the document is not valid, its version does not rise, it
/// is risky and not confirmed, or the store fails.
pub async fn set(
    control: &dyn Control,
    project: &Project,
    document: &[u8],
    by: &By,
) -> Result<i64, ChangeError> {
    let now = Timestamp::now();
    let rules = document::read(document, now)?;
    let publishing = Publishing {
        rules: &rules,
        expected: None,
        version: Some(rules.version),
        action: "publish",
    };
    book::publish(control, project.id, publishing, by, now).await
}
