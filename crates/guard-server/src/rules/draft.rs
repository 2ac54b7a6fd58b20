//! A document that is prepared before it is published.

use guard_wire::rules::{DynamicRules, RulesError};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::document;
use super::provenance::{self, Provenance};
use super::versions::{self, ChangeError};
use crate::people::AuditEntry;
use crate::store::{Draft, ProjectId, RulesStore};

/// A change to one field that publishing would make.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// The published value; null if the field is not set.
    pub published: Value,
    /// The value in the draft.
    pub draft: Value,
}

/// Saves a document as the draft, in place of the draft before, if it could be published.
///
/// # Errors
///
/// [`ChangeError`]; the draft before then stays.
pub async fn save(
    store: &dyn RulesStore,
    project: ProjectId,
    document: &[u8],
    author: Option<String>,
    now: Timestamp,
    entry: Option<AuditEntry>,
) -> Result<(), ChangeError> {
    provenance::check_note("author", author.as_deref())?;
    let document = document::read(document, now)?;
    let document = serde_json::to_string(&document).map_err(RulesError::from)?;
    let draft = Draft {
        document,
        base: Some(versions::published(store, project).await?.tag),
        saved_at: now,
        author,
    };
    Ok(store.save_draft(project, draft, entry).await?)
}

/// The draft.
///
/// # Errors
///
/// [`ChangeError::NotFound`] if there is none.
pub async fn get(store: &dyn RulesStore, project: ProjectId) -> Result<Draft, ChangeError> {
    let draft = store.draft(project).await?;
    draft.ok_or_else(|| ChangeError::NotFound("there is no draft; save one first".to_owned()))
}

/// Discards the draft. Nothing else changes.
///
/// # Errors
///
/// [`ChangeError`], also when there is no draft.
pub async fn discard(
    store: &dyn RulesStore,
    project: ProjectId,
    entry: Option<AuditEntry>,
) -> Result<(), ChangeError> {
    let draft = get(store, project).await?;
    // Another draft may have been saved meanwhile. It stays.
    store.remove_draft(project, draft, entry).await?;
    Ok(())
}

/// A draft that was checked and can be published.
#[derive(Debug)]
pub struct Checked {
    draft: Draft,
    rules: DynamicRules,
}

/// Parses and checks the draft, to publish it at `now`.
///
/// # Errors
///
/// [`ChangeError`] if it cannot be published, or if there is no draft.
pub async fn check(
    store: &dyn RulesStore,
    project: ProjectId,
    now: Timestamp,
) -> Result<Checked, ChangeError> {
    let draft = get(store, project).await?;
    let rules = document::read(draft.document.as_bytes(), now)?;
    Ok(Checked { draft, rules })
}

/// What publishing the draft would change in the published document. The version is left out,
/// because the server assigns it.
///
/// # Errors
///
/// [`ChangeError`], also when there is no draft.
pub async fn diff(
    store: &dyn RulesStore,
    project: ProjectId,
) -> Result<Vec<Difference>, ChangeError> {
    let draft = get(store, project).await?;
    let draft = document::read_again(draft.document.as_bytes())?;
    let published = versions::published(store, project).await?.rules;
    let (mut published, draft) = (fields(&published)?, fields(&draft)?);
    let mut differences = Vec::new();
    for (field, draft) in draft {
        let published = published.shift_remove(&field).unwrap_or_default();
        if published != draft {
            differences.push(Difference {
                field,
                published,
                draft,
            });
        }
    }
    let gone = published.into_iter().filter(|(_, value)| !value.is_null());
    differences.extend(gone.map(|(field, published)| Difference {
        field,
        published,
        draft: Value::Null,
    }));
    Ok(differences)
}

fn fields(rules: &DynamicRules) -> Result<Map<String, Value>, ChangeError> {
    let json = serde_json::to_value(rules).map_err(RulesError::from)?;
    let Value::Object(mut fields) = json else {
        return Ok(Map::new());
    };
    fields.shift_remove("version");
    fields.shift_remove("timestamp");
    Ok(fields)
}

/// Publishes and removes the draft, with one commit. Operations stay. If somebody else published after the draft was
/// saved, the draft replaces that document only with a confirmation. Returns the version.
///
/// # Errors
///
/// [`ChangeError`]; the draft then stays.
pub async fn publish(
    store: &dyn RulesStore,
    project: ProjectId,
    Checked { draft, rules }: Checked,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    let expected = draft.base.as_deref().filter(|_| !by.confirmed);
    let expected = expected.as_ref().map(std::slice::from_ref);
    let publishing = versions::Publishing {
        rules: &rules,
        expected,
        version: None,
        action: "publish the draft",
        draft: Some(&draft),
    };
    let version = versions::publish(store, project, publishing, by, now).await;
    version.map_err(|error| match error {
        ChangeError::Unmatched => ChangeError::Replaced,
        other => other,
    })
}
