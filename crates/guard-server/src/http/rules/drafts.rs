//! The draft: a document that is prepared before it is published.

use axum::Json;
use axum::http::StatusCode;

use super::answers::{Changed, Differences, DraftAnswer, raw};
use super::asked::Asked;
use super::bodies::{Body, DraftBody, Note};
use crate::http::error::{ApiError, ErrorAnswer};
use crate::rules::draft;

/// Returns the draft.
#[utoipa::path(
    get, path = "/rules/draft", operation_id = "get_draft", tag = "Rules",
    security(("token" = ["viewer"])), responses((status = OK, body = DraftAnswer))
)]
pub(crate) async fn draft(asked: Asked) -> Result<Json<DraftAnswer>, ApiError> {
    let (store, project) = asked.project();
    let draft = draft::get(&*store, project).await?;
    Ok(Json(DraftAnswer {
        document: raw(draft.document)?,
        saved_at: draft.saved_at,
        author: draft.author,
    }))
}

/// Saves the draft, and returns what publishing it would change.
#[utoipa::path(
    put, path = "/rules/draft", operation_id = "save_draft", tag = "Rules",
    security(("token" = ["operator"])), request_body = DraftBody,
    responses((status = OK, body = Differences))
)]
pub(crate) async fn save_draft(
    asked: Asked,
    Body(body): Body<DraftBody>,
) -> Result<Json<Differences>, ApiError> {
    let DraftBody { document } = body;
    let author = Some(asked.author());
    let now = asked.now();
    let entry = Some(asked.of_draft("rules.save_draft"));
    let (store, project) = asked.project();
    let save = async move {
        let document = document.get().as_bytes();
        draft::save(&*store, project, document, author, now, entry).await
    };
    asked.check_in_turn(save).await??;
    diff(asked).await
}

/// Discards the draft.
#[utoipa::path(
    delete, path = "/rules/draft", operation_id = "discard_draft", tag = "Rules",
    security(("token" = ["operator"])), responses((status = NO_CONTENT))
)]
pub(crate) async fn discard_draft(asked: Asked) -> Result<StatusCode, ApiError> {
    let (store, project) = asked.project();
    let entry = asked.of_draft("rules.discard_draft");
    draft::discard(&*store, project, Some(entry)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns what publishing the draft would change.
#[utoipa::path(
    get, path = "/rules/draft/diff", operation_id = "get_draft_diff", tag = "Rules",
    security(("token" = ["viewer"])), responses((status = OK, body = Differences))
)]
pub(crate) async fn diff(asked: Asked) -> Result<Json<Differences>, ApiError> {
    let (store, project) = asked.project();
    let diff = async move { draft::diff(&*store, project).await };
    let changes = asked.check_in_turn(diff).await??;
    Ok(Json(Differences { changes }))
}

/// Publishes the draft, and removes it.
#[utoipa::path(
    post, path = "/rules/draft/publish", operation_id = "publish_draft", tag = "Rules",
    security(("token" = ["operator"])), request_body = Option<Note>,
    responses(
        (status = OK, body = Changed),
        (status = 409, body = ErrorAnswer, description = "The change may lock out legitimate \
            clients. To make it anyway, add `\"confirm\": true`."),
        (status = 412, body = ErrorAnswer, description = "Another document was published since the \
            draft was saved. To publish it anyway, add `\"confirm\": true`.")
    )
)]
pub(crate) async fn publish_draft(
    asked: Asked,
    Body(note): Body<Note>,
) -> Result<Json<Changed>, ApiError> {
    let (by, now) = (asked.by(note, "rules.publish_draft"), asked.now());
    let (store, project) = asked.project();
    let check = async move { draft::check(&*store, project, now).await };
    let checked = asked.check_in_turn(check).await??;
    let ((store, project), now) = (asked.project(), asked.now());
    let change = async move { draft::publish(&*store, project, checked, &by, now).await };
    asked.make(change).await
}
