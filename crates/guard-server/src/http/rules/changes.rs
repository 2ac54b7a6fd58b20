//! Operations, and the published document. `P` stands for `/api/v1/projects/{project}`.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::answers::Changed;
use super::asked::Asked;
use super::bodies::{Body, DocumentBody, Note, OperationBody};
use super::serve;
use crate::http::error::{ApiError, ErrorAnswer};
use crate::off_thread::off_thread;
use crate::rules::document;
use crate::rules::operation::{Operation, Schema};
use crate::rules::policy::Entry;
use crate::rules::versions::{self, ChangeError, Publishing};

/// A collection of operations.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only the description is used")]
struct CollectionParam {
    /// The kind of operation: `bans`, `unbans`, `countries`, `limits`, `rate-limit`, `user-agents`,
    /// `patterns`, `clouds`, `features`, `auto-ban` or `emergency`.
    #[param(example = "bans")]
    collection: String,
}

/// The path of a collection of operations.
#[derive(Deserialize)]
pub(crate) struct InCollection {
    collection: String,
}

/// The path of an entry.
#[derive(Deserialize)]
pub(crate) struct EntryPath {
    collection: String,
    id: String,
}

/// The kind of operation in a collection.
fn kind(collection: &str) -> Result<&'static Schema, ApiError> {
    let no_such_path = || ApiError::new(StatusCode::NOT_FOUND, "No such path");
    Operation::in_collection(collection).ok_or_else(no_such_path)
}

/// Adds an operation, which starts now.
///
/// It replaces an operation about the same thing, such as another ban of the address. `unbans` lifts
/// every ban of an address: that of an operation, of the published document, or of a guard itself.
#[utoipa::path(
    post, path = "/rules/{collection}", operation_id = "add_operation", tag = "Rules",
    security(("token" = ["operator"])), params(CollectionParam),
    request_body(content = OperationBody, examples(
        ("bans" = (value = json!({ "ip": "203.0.113.7", "reason": "attack", "duration_s": 3600 }))),
        ("unbans" = (value = json!({ "ip": "198.51.100.7" }))),
        ("countries" = (value = json!({ "country": "KP" }))),
        ("limits" = (value = json!({ "endpoint": "/login", "requests": 10, "window_s": 60 }))),
        ("rate-limit" = (value = json!({ "requests": 600, "window_s": 60 }))),
        ("user-agents" = (value = json!({ "pattern": "sqlmap/.*" }))),
        ("patterns" = (value = json!({ "pattern": "union\\s+select" }))),
        ("clouds" = (value = json!({ "cloud": "AWS" }))),
        ("features" = (value = json!({ "feature": "rate_limiting", "enabled": true }))),
        ("auto-ban" = (value = json!({ "threshold": 10, "ban_s": 3600 }))),
        ("emergency" = (value = json!({ "allowed": ["203.0.113.7"], "duration_s": 600,
            "confirm": true }))),
    )),
    responses(
        (status = OK, body = Changed),
        (status = 409, body = ErrorAnswer, description = "The change may lock out legitimate \
            clients. To make it anyway, add `\"confirm\": true`.")
    )
)]
pub(crate) async fn put(
    asked: Asked,
    Path(InCollection { collection }): Path<InCollection>,
    Body(mut body): Body<OperationBody>,
) -> Result<Json<Changed>, ApiError> {
    let (schema, now) = (kind(&collection)?, asked.now());
    let by = asked.by(body.note(), "rules.add");
    let operation = Operation::read(schema, body.fields).map_err(ChangeError::from)?;
    let seconds = body.duration_s;
    // Checking a pattern may take long.
    let checked = async move { Entry::new(operation, seconds, &by, now).map(|entry| (entry, by)) };
    let (entry, by) = off_thread(checked).await?.map_err(ChangeError::from)?;
    let id = entry.operation.id();
    let (store, project) = asked.project();
    let change = async move { versions::put(&*store, project, &entry, &by, now).await };
    let Json(changed) = asked.make(change).await?;
    Ok(Json(Changed {
        id: Some(id),
        ..changed
    }))
}

/// Removes an operation.
#[utoipa::path(
    delete, path = "/rules/{collection}/{id}", operation_id = "remove_operation", tag = "Rules",
    security(("token" = ["operator"])),
    params(CollectionParam, ("id" = String, Path, description = "The id of the entry.")),
    request_body = Option<Note>,
    responses(
        (status = OK, body = Changed),
        (status = 409, body = ErrorAnswer, description = "The change may lock out legitimate \
            clients. To make it anyway, add `\"confirm\": true`.")
    )
)]
pub(crate) async fn remove_entry(
    asked: Asked,
    Path(EntryPath { collection, id }): Path<EntryPath>,
    Body(note): Body<Note>,
) -> Result<Json<Changed>, ApiError> {
    let (schema, now) = (kind(&collection)?, asked.now());
    let by = asked.by(note, "rules.remove");
    let (store, project) = asked.project();
    let change =
        async move { versions::remove_entry(&*store, project, schema, &id, &by, now).await };
    asked.make(change).await
}

/// Replaces the published document. Operations stay.
///
/// The server sets version and timestamp. With `If-Match`, it replaces only a document with one of
/// these tags.
#[utoipa::path(
    put, path = "/rules/published", operation_id = "publish_rules", tag = "Rules",
    security(("token" = ["operator"])),
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the document to replace.")),
    request_body = DocumentBody,
    responses(
        (status = OK, body = Changed),
        (status = 409, body = ErrorAnswer, description = "The change may lock out legitimate \
            clients. To make it anyway, add `\"confirm\": true`."),
        (status = 412, body = ErrorAnswer, description = "Another document is published than \
            `If-Match` names.")
    )
)]
pub(crate) async fn publish(
    asked: Asked,
    headers: HeaderMap,
    Body(body): Body<DocumentBody>,
) -> Result<Json<Changed>, ApiError> {
    let ((document, note), now) = (body.parts(), asked.now());
    let by = asked.by(note, "rules.publish");
    let checking = async move { document::read(document.get().as_bytes(), now) };
    let rules = asked
        .check_in_turn(checking)
        .await?
        .map_err(ChangeError::from)?;
    let (store, project) = asked.project();
    let change = async move {
        let tags = serve::tags(&headers, &header::IF_MATCH).map(|tag| tag.trim_matches('"'));
        let tags: Vec<_> = tags.collect();
        let is_any = tags.contains(&"*") || !headers.contains_key(header::IF_MATCH);
        let publishing = Publishing {
            rules: &rules,
            expected: (!is_any).then_some(&tags),
            version: None,
            action: "publish",
            draft: None,
        };
        versions::publish(&*store, project, publishing, &by, now).await
    };
    asked.make(change).await
}
