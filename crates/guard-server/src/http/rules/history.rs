//! What is in force, and what was.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::answers::{Changed, Entries, EntryAnswer, History, PublishedAnswer, RulesVersion, raw};
use super::asked::Asked;
use super::bodies::{Body, Note};
use crate::http::error::{ApiError, ErrorAnswer};
use crate::http::openapi::params::BeforeParams;
use crate::http::query::{self, ListQuery};
use crate::off_thread::off_thread;
use crate::rules::versions;
use crate::rules::versions::ChangeError;

/// The path of a version.
#[derive(Deserialize)]
pub(crate) struct VersionPath {
    version: i64,
}

fn number(path: Result<Path<VersionPath>, PathRejection>) -> Result<i64, ApiError> {
    let not_a_number = |_| ApiError::bad_request("a version is a whole number; see the history");
    path.map(|Path(VersionPath { version })| version)
        .map_err(not_a_number)
}

/// Lists the operations in force.
#[utoipa::path(
    get, path = "/rules/entries", operation_id = "list_entries", tag = "Rules",
    security(("token" = ["viewer"])), responses((status = OK, body = Entries))
)]
pub(crate) async fn entries(asked: Asked) -> Result<Json<Entries>, ApiError> {
    let ((store, project), now) = (asked.project(), asked.now());
    let listed = async move {
        let (version, entries) = versions::in_force(&*store, project, now).await?;
        let entries = entries.into_iter().map(EntryAnswer::from).collect();
        Ok::<_, ChangeError>(Entries { version, entries })
    };
    Ok(Json(off_thread(listed).await??))
}

/// Returns the published document, without operations.
#[utoipa::path(
    get, path = "/rules/published", operation_id = "get_published", tag = "Rules",
    security(("token" = ["viewer"])),
    responses((status = OK, body = PublishedAnswer,
        headers(("ETag" = String, description = "Names the document, for `If-Match`."))))
)]
pub(crate) async fn published(asked: Asked) -> Result<impl IntoResponse, ApiError> {
    let (store, project) = asked.project();
    let published = async move { versions::published(&*store, project).await };
    let published = off_thread(published).await??;
    let tag = [(header::ETAG, format!("\"{}\"", published.tag))];
    let document = published.rules;
    Ok((tag, Json(PublishedAnswer { document })))
}

/// Lists the versions, newest first: who changed what, when and why.
#[utoipa::path(
    get, path = "/rules/versions", operation_id = "list_versions", tag = "Rules",
    security(("token" = ["viewer"])), params(BeforeParams),
    responses((status = OK, body = History))
)]
pub(crate) async fn versions(
    asked: Asked,
    query: Result<Query<ListQuery<i64>>, QueryRejection>,
) -> Result<Json<History>, ApiError> {
    let (before, limit) = query::part(query)?;
    let (store, project) = asked.project();
    let history = store.rules_history(project, before.unwrap_or(i64::MAX), limit);
    let history = history.await?;
    // A full page may be the last one; then the next one is empty.
    let is_full = history.len() == usize::from(limit);
    let oldest = history.last().map(|(version, _)| *version);
    let next_before = oldest.filter(|_| is_full);
    let versions: Vec<_> = history
        .into_iter()
        .map(|(version, change)| RulesVersion {
            version,
            change,
            document: None,
        })
        .collect();
    Ok(Json(History {
        versions,
        next_before,
    }))
}

/// Returns a version, with the document that guards received.
#[utoipa::path(
    get, path = "/rules/versions/{version}", operation_id = "get_version", tag = "Rules",
    security(("token" = ["viewer"])),
    params(("version" = i64, Path, description = "The number of the version.", example = 1)),
    responses((status = OK, body = RulesVersion))
)]
pub(crate) async fn version(
    asked: Asked,
    path: Result<Path<VersionPath>, PathRejection>,
) -> Result<Json<RulesVersion>, ApiError> {
    let (store, project) = asked.project();
    let stored = versions::at(&*store, project, number(path)?).await?;
    let document = raw(stored.document)?;
    let (version, change) = (stored.version, stored.change);
    let version = RulesVersion {
        version,
        change,
        document: Some(document),
    };
    Ok(Json(version))
}

/// Makes a new version with the content of an old one.
#[utoipa::path(
    post, path = "/rules/versions/{version}/rollback", operation_id = "roll_back", tag = "Rules",
    security(("token" = ["operator"])),
    params(("version" = i64, Path, description = "The number of the version.", example = 1)),
    request_body = Option<Note>,
    responses(
        (status = OK, body = Changed),
        (status = 409, body = ErrorAnswer, description = "The change may lock out legitimate \
            clients. To make it anyway, add `\"confirm\": true`.")
    )
)]
pub(crate) async fn roll_back(
    asked: Asked,
    path: Result<Path<VersionPath>, PathRejection>,
    Body(note): Body<Note>,
) -> Result<Json<Changed>, ApiError> {
    let version = number(path)?;
    let by = asked.by(note, "rules.roll_back");
    let (store, project) = asked.project();
    let checking = async move { versions::rechecked(&*store, project, version).await };
    let old = asked.check_in_turn(checking).await??;
    let ((store, project), now) = (asked.project(), asked.now());
    let change = async move { versions::roll_back_to(&*store, project, &old, &by, now).await };
    asked.make(change).await
}
