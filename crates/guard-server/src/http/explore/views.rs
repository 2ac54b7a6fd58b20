//! Saved views.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use guard_wire::Kind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::fingerprint::fingerprint;
use crate::http::error::ApiError;
use crate::http::json::JsonBody;
use crate::http::listed::Listed;
use crate::http::principal::{In, Operator, Viewer};
use crate::http::state::AppState;
use crate::people::{AuditEntry, Change};
use crate::query::filter::Filter;
use crate::query::{TimeRange, Utc};
use crate::store::StoredView;

/// The most views of a project.
const MAX_VIEWS: usize = 200;
/// The longest name of a view, and of a column, in characters.
const MAX_NAME: usize = 100;
/// The most columns of a view.
const MAX_COLUMNS: usize = 50;

/// What a view shows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Attacks", "filter": "status_code:403", "from": "-7d",
    "columns": ["timestamp", "ip_address", "endpoint"],
}))]
pub(crate) struct ViewContent {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The filter.
    #[serde(default)]
    filter: String,
    /// The first moment of the range.
    #[serde(default)]
    from: Option<String>,
    /// The fields that are shown.
    #[serde(default)]
    #[schema(max_items = 50)]
    columns: Vec<String>,
}

/// A saved view.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ViewAnswer {
    /// Identifies it in its project.
    id: String,
    /// What people call it.
    name: String,
    /// The filter.
    filter: String,
    /// The first moment of the range.
    #[schema(required = true)]
    from: Option<String>,
    /// The fields that are shown.
    columns: Vec<String>,
    /// When it was saved.
    created_at: Utc,
    /// Who saved it.
    created_by: String,
}

/// Lists the saved views.
#[utoipa::path(
    get, path = "/views", operation_id = "list_views", tag = "Views",
    security(("token" = ["viewer"])), responses((status = OK, body = Listed<ViewAnswer>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    viewer: In<Viewer>,
) -> Result<Json<Listed<ViewAnswer>>, ApiError> {
    let views = state.stores.views.views(viewer.project.id).await?;
    let items = views.into_iter().filter_map(answer);
    Ok(Json(Listed::whole(items.collect())))
}

/// Saves a view. A project has at most 200.
#[utoipa::path(
    post, path = "/views", operation_id = "add_view", tag = "Views",
    security(("token" = ["operator"])), request_body = ViewContent,
    responses((status = CREATED, body = ViewAnswer))
)]
pub(crate) async fn add(
    State(state): State<Arc<AppState>>,
    operator: In<Operator>,
    JsonBody(content): JsonBody<ViewContent>,
) -> Result<(StatusCode, Json<ViewAnswer>), ApiError> {
    let now = state.clock.now();
    check(&content, now)?;
    let author = operator.principal.actor.who.to_string();
    let text = json!(content).to_string();
    let id = fingerprint(&[&text, &author, &now.to_string()])[..16].to_owned();
    let view = StoredView {
        id: id.clone(),
        created_at: now,
        created_by: author,
        content: text,
    };
    let change = change(
        "view.add",
        &operator.project.name,
        id,
        Value::Null,
        json!(content),
    );
    let entry = AuditEntry::new(&operator.principal.actor, change, now);
    let (views, project) = (&state.stores.views, operator.project.id);
    let saved = views.save_view(project, view.clone(), MAX_VIEWS, Some(entry));
    if !saved.await? {
        let detail = format!("The project has {MAX_VIEWS} views already; delete one first");
        return Err(ApiError::bad_request(detail).code("too_many_views"));
    }
    let answer = answer(view).ok_or_else(|| ApiError::unavailable("The view cannot be read"))?;
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Deletes a view.
#[utoipa::path(
    delete, path = "/views/{id}", operation_id = "delete_view", tag = "Views",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "The id of the view.")),
    responses((status = NO_CONTENT))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    operator: In<Operator>,
    Path((_, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let none = || ApiError::not_found("There is no such view").code("no_such_view");
    let (views, project) = (&state.stores.views, operator.project.id);
    let mut saved = views.views(project).await?.into_iter();
    let view = saved.find(|view| view.id == id).ok_or_else(none)?;
    let before = serde_json::from_str(&view.content).unwrap_or_default();
    let change = change(
        "view.remove",
        &operator.project.name,
        id.clone(),
        before,
        Value::Null,
    );
    let entry = AuditEntry::new(&operator.principal.actor, change, state.clock.now());
    let removed = views.remove_view(project, &id, Some(entry)).await?;
    removed.ok_or_else(none)?;
    Ok(StatusCode::NO_CONTENT)
}

fn change(
    action: &'static str,
    project: &str,
    object: String,
    before: Value,
    after: Value,
) -> Change {
    Change {
        action,
        project: Some(project.to_owned()),
        object,
        before,
        after,
    }
}

fn answer(view: StoredView) -> Option<ViewAnswer> {
    let content: ViewContent = serde_json::from_str(&view.content).ok()?;
    Some(ViewAnswer {
        id: view.id,
        name: content.name,
        filter: content.filter,
        from: content.from,
        columns: content.columns,
        created_at: Utc(view.created_at),
        created_by: view.created_by,
    })
}

fn check(content: &ViewContent, now: Timestamp) -> Result<(), ApiError> {
    let refuse = |field: &str, detail: String| {
        Err(ApiError::bad_request(detail)
            .code("invalid_view")
            .field(field))
    };
    let is_name = |text: &str| {
        let length = text.chars().count();
        (1..=MAX_NAME).contains(&length) && !text.chars().any(char::is_control)
    };
    if !is_name(&content.name) {
        return refuse(
            "name",
            format!("name: give 1 to {MAX_NAME} characters on one line"),
        );
    }
    if content.columns.len() > MAX_COLUMNS {
        return refuse("columns", format!("columns: give at most {MAX_COLUMNS}"));
    }
    if let Some(at) = content.columns.iter().position(|column| !is_name(column)) {
        let field = format!("columns[{at}]");
        return refuse(&field, format!("{field}: give 1 to {MAX_NAME} characters"));
    }
    TimeRange::parse(content.from.as_deref(), None, now)?;
    let filter = Filter::parse(Kind::Event, &content.filter);
    filter.map(drop).map_err(|error| {
        ApiError::bad_request(format!("filter: {error}"))
            .code("invalid_filter")
            .field("filter")
            .position(error.position)
    })
}
