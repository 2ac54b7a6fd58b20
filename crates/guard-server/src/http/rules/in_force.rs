//! The operations in force and the bans of the published document, in pages.

use std::collections::BTreeMap;

use axum::Json;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use crate::http::error::ApiError;
use crate::http::explore::Params;
use crate::off_thread::off_thread;
use crate::rules::in_force::{self, Position, Rule, Wanted};
use crate::store::{Cursor, StoreError};

const DEFAULT_LIMIT: u16 = 200;

/// Which rules are listed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the description is used")]
struct InForceParams {
    /// Only operations of this kind.
    #[param(example = "ban")]
    kind: Option<String>,
    /// Only those with this text in what they name, in their reason or their author. ASCII case
    /// does not matter.
    #[param(example = "203.0.113")]
    search: Option<String>,
    /// How many items the page has at most.
    #[param(minimum = 1, maximum = 1000, default = 200, example = 200)]
    limit: Option<u16>,
    /// `next` of the page before, for the same query.
    cursor: Option<String>,
}

/// A page of what is in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct InForce {
    /// The version in force; null while there are no rules.
    #[schema(required = true)]
    version: Option<i64>,
    /// The page, newest first. Bans of the document come last.
    items: Vec<RuleAnswer>,
    /// How many match in all.
    total: usize,
    /// How many there are of each kind, whether they match or not.
    kinds: BTreeMap<&'static str, usize>,
    /// The cursor of the next page; null if there is none.
    #[schema(required = true)]
    next: Option<String>,
}

/// A rule in an answer. [`described`](super::described) has its schema.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct RuleAnswer(Rule);

/// Lists the operations in force and the bans of the published document, in pages with a search.
#[utoipa::path(
    get, path = "/rules/in-force", operation_id = "list_in_force", tag = "Rules",
    security(("token" = ["viewer"])), params(InForceParams),
    responses((status = OK, body = InForce))
)]
pub(crate) async fn in_force(asked: Asked, params: Params) -> Result<Json<InForce>, ApiError> {
    let params = params.only(&["kind", "search", "limit", "cursor"])?;
    let text = |name| params.get(name).map(str::to_owned);
    let wanted = Wanted {
        kind: text("kind"),
        search: text("search"),
        after: params.get("cursor").map(position).transpose()?,
        limit: params.limit(DEFAULT_LIMIT)?.into(),
    };
    let ((store, project), now) = (asked.project(), asked.now());
    let listing =
        off_thread(async move { in_force::in_force(&*store, project, &wanted, now).await });
    let found = listing.await??;
    Ok(Json(InForce {
        version: found.version,
        items: found.items.into_iter().map(RuleAnswer).collect(),
        total: found.total,
        kinds: found.kinds,
        next: found.next.as_ref().map(cursor).transpose()?,
    }))
}

fn position(cursor: &str) -> Result<Position, StoreError> {
    let cursor: Cursor = cursor.parse()?;
    serde_json::from_slice(cursor.bytes()).map_err(|_| StoreError::InvalidCursor)
}

fn cursor(position: &Position) -> Result<String, ApiError> {
    let bytes = serde_json::to_vec(position).map_err(|_| StoreError::InvalidCursor)?;
    Ok(Cursor::new(&bytes).to_string())
}
