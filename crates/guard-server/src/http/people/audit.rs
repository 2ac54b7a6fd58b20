//! The audit log.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::http::error::ApiError;
use crate::http::listed::Listed;
use crate::http::principal::{Principal, Viewer};
use crate::http::query::limit_of;
use crate::http::state::AppState;
use crate::people::{AuditEntry, Role};
use crate::store::AuditFilter;
use crate::store::Cursor;

/// How many entries of an export are read at once.
const EXPORT_PAGE: u16 = 500;
const CSV_HEAD: &str = "at,who,address,action,project,object,before,after\r\n";

/// Which entries, and how many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// Only changes by this author, such as `person:anna`, `token:ci`, `cli` or `server`.
    #[param(example = "token:admin-token")]
    who: Option<String>,
    /// Only this action.
    #[param(example = "token.add")]
    action: Option<String>,
    /// Only changes in this project.
    project: Option<String>,
    /// The first moment: RFC 3339, `now`, or relative to now as in `-24h` and `-7d`.
    #[param(example = "-7d")]
    from: Option<String>,
    /// The first moment after the range, in the same form.
    #[param(example = "now")]
    to: Option<String>,
    /// How many items the page has at most.
    #[param(minimum = 1, maximum = 1000, default = 50, example = 50)]
    limit: Option<u16>,
    /// `next` of the page before, for the same query.
    cursor: Option<String>,
    /// The form of an export.
    #[param(inline)]
    #[serde(default)]
    format: Format,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// One JSON object a line.
    #[default]
    Ndjson,
    Csv,
}

impl AuditQuery {
    fn filter(&self, principal: Principal, now: Timestamp) -> Result<AuditFilter, ApiError> {
        if principal.role < Role::Admin {
            let detail = "Only admins read the audit log";
            return Err(ApiError::forbidden(detail).code("role_needed"));
        }
        let time = |field: &str, text: &Option<String>, default| match text {
            Some(text) => time(text, now).ok_or_else(|| {
                let detail = format!("{field}: {text:?} is no time; give RFC 3339, now or -24h");
                ApiError::bad_request(detail).field(field)
            }),
            None => Ok(default),
        };
        Ok(AuditFilter {
            who: self.who.clone(),
            action: self.action.clone(),
            project: self.project.clone(),
            from: time("from", &self.from, Timestamp::MIN)?,
            to: time("to", &self.to, Timestamp::MAX)?,
            scope: principal.projects,
        })
    }
}

/// A time as in RFC 3339, `now`, or relative to now as in `-24h` and `-7d`.
fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if text == "now" {
        return Some(now);
    }
    let Some(ago) = text.strip_prefix('-') else {
        return text.parse().ok();
    };
    let (unit_at, unit) = ago.char_indices().last()?;
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let number: u32 = ago[..unit_at].parse().ok()?;
    let ago = SignedDuration::from_secs(i64::from(number) * seconds);
    now.checked_sub(ago).ok()
}

/// Lists changes, newest first.
///
/// Admins of some projects see the changes in these, admins of all projects see everything.
#[utoipa::path(
    get, path = "/api/v1/audit", operation_id = "list_audit", tag = "People and tokens",
    security(("token" = ["admin"])), params(AuditQuery),
    responses((status = OK, body = Listed<AuditEntry>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Viewer(principal): Viewer,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Listed<AuditEntry>>, ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let filter = query.filter(principal, state.clock.now())?;
    let limit = limit_of(query.limit)?;
    let cursor = query.cursor.map(|text| text.parse::<Cursor>()).transpose();
    let page = state.stores.audit.audit(filter, cursor?, limit).await?;
    Ok(Json(Listed {
        items: page.items,
        next: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// Returns all changes that match as a file. A failure cuts it off.
#[utoipa::path(
    get, path = "/api/v1/audit/export", operation_id = "export_audit", tag = "People and tokens",
    security(("token" = ["admin"])), params(AuditQuery),
    responses((status = OK, description = "The changes: one JSON object a line, or CSV.",
        content((String = "application/x-ndjson"), (String = "text/csv"))))
)]
pub(crate) async fn export(
    State(state): State<Arc<AppState>>,
    Viewer(principal): Viewer,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let filter = query.filter(principal, state.clock.now())?;
    let format = query.format;
    let (kind, head) = match format {
        Format::Ndjson => ("application/x-ndjson", ""),
        Format::Csv => ("text/csv; charset=utf-8", CSV_HEAD),
    };
    let pages = stream::try_unfold(Some((head.to_owned(), None)), move |rest| {
        let (state, filter) = (Arc::clone(&state), filter.clone());
        async move {
            let Some((mut text, cursor)) = rest else {
                return Ok(None);
            };
            let page = state
                .stores
                .audit
                .audit(filter, cursor, EXPORT_PAGE)
                .await?;
            for entry in &page.items {
                text.push_str(&line(entry, format));
            }
            let rest = page.next.map(|next| (String::new(), Some(next)));
            Ok::<_, crate::store::StoreError>(Some((Bytes::from(text), rest)))
        }
    });
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(pages)).into_response())
}

fn line(entry: &AuditEntry, format: Format) -> String {
    match format {
        Format::Ndjson => serde_json::json!(entry).to_string() + "\n",
        Format::Csv => {
            let json = |value: &serde_json::Value| match value {
                serde_json::Value::Null => String::new(),
                value => value.to_string(),
            };
            let cells = [
                entry.at.to_string(),
                entry.who.to_string(),
                entry.address.map(|it| it.to_string()).unwrap_or_default(),
                entry.action.clone(),
                entry.project.clone().unwrap_or_default(),
                entry.object.clone(),
                json(&entry.before),
                json(&entry.after),
            ];
            cells.map(|it| cell(&it)).join(",") + "\r\n"
        }
    }
}

/// A quoted cell. A spreadsheet would run a text that begins like a formula.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_relative_to_now() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("now", Some("2026-11-30T12:00:00Z")),
            ("-24h", Some("2026-11-29T12:00:00Z")),
            ("-7d", Some("2026-11-23T12:00:00Z")),
            ("-90s", Some("2026-11-30T11:58:30Z")),
            ("2026-01-31T00:00:00+01:00", Some("2026-01-30T23:00:00Z")),
            ("-", None),
            ("-h", None),
            ("-1y", None),
            ("--1h", None),
            ("yesterday", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(time(text, now), expected, "{text}");
        }
    }

    #[test]
    fn a_cell_is_quoted_and_runs_no_formula() {
        assert_eq!(cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
        for text in ["=1+1", "+1", "-1", "@x", "\tx"] {
            assert_eq!(cell(text), format!("\"'{text}\""));
        }
    }
}
