//! Projects and their keys over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, ErrorAnswer};
use super::json::JsonBody;
use super::listed::Listed;
use super::principal::{Admin, In, Viewer};
use super::state::AppState;
use crate::project_admin::{self, ProjectDetails, ProjectError, ProjectView};
use crate::projects::{ApiKey, KeyId, SettingsChange};

/// A project to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProject {
    /// Its name, which cannot change.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,63}$", example = "shop")]
    name: String,
}

/// A change to a project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "settings": { "retention_days": 30, "quota_per_minute": 600_000 } }))]
pub(crate) struct ProjectChange {
    /// What changes.
    settings: SettingsChange,
}

/// The confirmation that a project and all its data may be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    /// True, to remove it for good.
    #[serde(default)]
    #[schema(example = true)]
    confirm: bool,
}

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// Tells it from the others.
    #[schema(min_length = 1, max_length = 100, example = "shop-eu")]
    label: String,
}

/// A key that was just made. It is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeKey {
    /// Identifies it in this API.
    id: KeyId,
    /// The key, `fg_...`.
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

/// Lists the projects that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/projects", operation_id = "list_projects", tag = "Projects",
    security(("token" = ["viewer"])), responses((status = OK, body = Listed<ProjectView>))
)]
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

/// Creates a project.
#[utoipa::path(
    post, path = "/api/v1/projects", operation_id = "create_project", tag = "Projects",
    security(("token" = ["admin"])), request_body = NewProject,
    responses((status = OK, body = ProjectDetails))
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    Admin(principal): Admin,
    JsonBody(new): JsonBody<NewProject>,
) -> Result<Json<ProjectDetails>, ApiError> {
    let (stores, now) = (&state.stores, state.clock.now());
    let project = project_admin::create_project(stores, &new.name, &principal.actor, now).await?;
    Ok(Json(project_admin::details(stores, project).await?))
}

/// Returns a project, its settings, and what it sent.
#[utoipa::path(
    get, path = "/", operation_id = "get_project", tag = "Projects",
    security(("token" = ["viewer"])), responses((status = OK, body = ProjectDetails))
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
) -> Result<Json<ProjectDetails>, ApiError> {
    // So that the counts are up to date.
    state.save_activity().await;
    Ok(Json(
        project_admin::details(&state.stores, asked.project).await?,
    ))
}

/// Changes the settings of a project.
///
/// A missing setting stays; null means none. No answer returns the secrets.
#[utoipa::path(
    patch, path = "/", operation_id = "change_project", tag = "Projects",
    security(("token" = ["admin"])), request_body = ProjectChange,
    responses(
        (status = OK, body = ProjectDetails),
        (status = 412, body = ErrorAnswer, description = "Others change the same settings all the \
            time. Nothing changed.")
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    asked: In<Admin>,
    JsonBody(change): JsonBody<ProjectChange>,
) -> Result<Json<ProjectDetails>, ApiError> {
    let (stores, now) = (&state.stores, state.clock.now());
    let (name, actor) = (&asked.project.name, &asked.principal.actor);
    let project = project_admin::change_project(stores, name, change.settings, actor, now).await?;
    Ok(Json(project_admin::details(stores, project).await?))
}

/// Removes a project with all its records, rules and keys.
///
/// The default project cannot be removed.
#[utoipa::path(
    delete, path = "/", operation_id = "delete_project", tag = "Projects",
    security(("token" = ["admin"])), request_body = Removal,
    responses(
        (status = NO_CONTENT),
        (status = 409, body = ErrorAnswer, description = "`confirm` is not true. Nothing was removed.")
    )
)]
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

/// Lists the keys of a project, without the keys themselves.
#[utoipa::path(
    get, path = "/keys", operation_id = "list_keys", tag = "Projects",
    security(("token" = ["viewer"])), responses((status = OK, body = Listed<ApiKey>))
)]
pub(crate) async fn keys(
    State(state): State<Arc<AppState>>,
    asked: In<Viewer>,
) -> Result<Json<Listed<ApiKey>>, ApiError> {
    let keys = state.stores.projects.keys(asked.project.id).await?;
    Ok(Json(Listed::whole(keys)))
}

/// Makes a key for agents.
///
/// The answer is the only place where the key appears. A project has at most 100 keys.
#[utoipa::path(
    post, path = "/keys", operation_id = "add_key", tag = "Projects",
    security(("token" = ["admin"])), request_body = NewKey,
    responses((status = OK, body = MadeKey))
)]
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

/// Revokes a key at once.
#[utoipa::path(
    delete, path = "/keys/{id}", operation_id = "revoke_key", tag = "Projects",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "The id of the key, from the list of keys.")),
    responses((status = NO_CONTENT))
)]
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
