//! Projects and their keys over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ApiError;
use super::json::JsonBody;
use super::people::Listed;
use super::principal::{Admin, In, Viewer};
use super::state::AppState;
use crate::project_admin::{self, ProjectError, ProjectView};
use crate::projects::{ApiKey, KeyId, SettingsChange};

/// A project to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProject {
    name: String,
}

/// A change to a project.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectChange {
    settings: SettingsChange,
}

/// The confirmation that a project and all its data may be removed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    #[serde(default)]
    confirm: bool,
}

/// A key to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    label: String,
}

/// A key that was just made. It is never shown again.
#[derive(Debug, Serialize)]
pub(crate) struct MadeKey {
    id: KeyId,
    key: String,
}

impl From<ProjectError> for ApiError {
    fn from(error: ProjectError) -> Self {
        let detail = error.to_string();
        match error {
            ProjectError::Name(_) => Self::bad_request(detail).field("name"),
            ProjectError::Label(_) => Self::bad_request(detail).field("label"),
            ProjectError::Settings(error) => {
                Self::bad_request(detail).field(format!("settings.{}", error.field))
            }
            ProjectError::Exists(_) => Self::bad_request(detail).code("exists").field("name"),
            ProjectError::TooManyProjects | ProjectError::TooManyKeys => {
                Self::bad_request(detail).code("too_many")
            }
            ProjectError::Default => Self::bad_request(detail).code("default_project"),
            ProjectError::NoSuchProject(_) => Self::not_found(detail).code("no_such_project"),
            ProjectError::NoSuchKey { .. } => Self::not_found(detail).code("no_such_key"),
            ProjectError::Busy => Self::new(StatusCode::PRECONDITION_FAILED, detail),
            ProjectError::Store(error) => error.into(),
            ProjectError::NoRandomness(_) => Self::unavailable(detail),
        }
    }
}

/// `GET /api/v1/projects`: those that the caller may see.
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Viewer(principal): Viewer,
) -> Result<Json<Listed<ProjectView>>, ApiError> {
    let projects = state.stores.projects.projects().await?.into_iter();
    let visible = projects.filter(|project| principal.projects.covers(&project.name));
    Ok(Json(Listed::whole(
        visible.map(ProjectView::from).collect(),
    )))
}

/// `POST /api/v1/projects`.
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    JsonBody(new): JsonBody<NewProject>,
) -> Result<Json<Value>, ApiError> {
    let (stores, now) = (&state.stores, state.clock.now());
    let project = project_admin::create_project(stores, &new.name, &principal.actor, now).await?;
    Ok(Json(project_admin::details(stores, project).await?))
}

/// `GET /api/v1/projects/{project}`.
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
) -> Result<Json<Value>, ApiError> {
    // So that the counts are up to date.
    state.save_activity().await;
    Ok(Json(
        project_admin::details(&state.stores, asked.project).await?,
    ))
}

/// `PATCH /api/v1/projects/{project}`.
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    asked: In<Admin>,
    JsonBody(change): JsonBody<ProjectChange>,
) -> Result<Json<Value>, ApiError> {
    let (stores, now) = (&state.stores, state.clock.now());
    let (name, actor) = (&asked.project.name, &asked.principal.actor);
    let project = project_admin::change_project(stores, name, change.settings, actor, now).await?;
    Ok(Json(project_admin::details(stores, project).await?))
}

/// `DELETE /api/v1/projects/{project}`.
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    asked: In<Admin>,
    JsonBody(removal): JsonBody<Removal>,
) -> Result<StatusCode, ApiError> {
    if !removal.confirm {
        let name = &asked.project.name;
        let detail = format!(
            "this removes the project {name} with all its records, rules and keys, for good; to do \
             it, add \"confirm\": true"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, detail).field("confirm"));
    }
    let (actor, now) = (&asked.principal.actor, state.clock.now());
    let keys = project_admin::remove_project(&state.stores, asked.project, actor, now).await?;
    for key in keys {
        state.held_keys.revoked(&key);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/projects/{project}/keys`.
pub(crate) async fn keys(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
) -> Result<Json<Listed<ApiKey>>, ApiError> {
    let keys = state.stores.projects.keys(asked.project.id).await?;
    Ok(Json(Listed::whole(keys)))
}

/// `POST /api/v1/projects/{project}/keys`.
pub(crate) async fn add_key(
    State(state): State<Arc<AppState>>,
    asked: In<Admin>,
    JsonBody(new): JsonBody<NewKey>,
) -> Result<Json<MadeKey>, ApiError> {
    let (actor, now) = (&asked.principal.actor, state.clock.now());
    let made = project_admin::add_key(&state.stores, &asked.project, &new.label, actor, now);
    let (id, key) = made.await?;
    let key = key.expose().to_owned();
    Ok(Json(MadeKey { id, key }))
}

/// `DELETE /api/v1/projects/{project}/keys/{id}`.
pub(crate) async fn revoke_key(
    State(state): State<Arc<AppState>>,
    asked: In<Admin>,
    Path((_, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (actor, now) = (&asked.principal.actor, state.clock.now());
    let id = project_admin::revoke_key(&state.stores, &asked.project, &id, actor, now).await?;
    state.held_keys.revoked(&id);
    Ok(StatusCode::NO_CONTENT)
}
