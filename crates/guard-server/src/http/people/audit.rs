//! The audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;

use super::Listed;
use crate::http::error::ApiError;
use crate::http::principal::Viewer;
use crate::http::query::limit_of;
use crate::http::state::AppState;
use crate::people::{AuditEntry, AuditFilter, Role};
use crate::store::Cursor;

/// Which entries, and how many.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    who: Option<String>,
    action: Option<String>,
    project: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    limit: Option<u16>,
    cursor: Option<String>,
}

/// `GET /api/v1/audit`: what admins of a project changed in it; for admins of all projects,
/// everything.
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Viewer(principal): Viewer,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Listed<AuditEntry>>, ApiError> {
    if principal.role < Role::Admin {
        let detail = "Only admins read the audit log";
        return Err(ApiError::forbidden(detail).code("role_needed"));
    }
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let limit = limit_of(query.limit)?;
    let cursor = query.cursor.map(|text| text.parse::<Cursor>()).transpose();
    let filter = AuditFilter {
        who: query.who,
        action: query.action,
        project: query.project,
        from: query.from.unwrap_or(Timestamp::MIN),
        to: query.to.unwrap_or(Timestamp::MAX),
        scope: principal.projects,
    };
    let page = state.stores.audit.audit(filter, cursor?, limit).await?;
    Ok(Json(Listed {
        items: page.items,
        next: page.next.map(|cursor| cursor.to_string()),
    }))
}
