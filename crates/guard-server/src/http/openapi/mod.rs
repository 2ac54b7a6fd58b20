//! The description of the API: `GET /api/openapi.json`.
//!
//! Each handler has an attribute `utoipa::path`, which says where it is, who may call it, and what
//! it takes and answers. The table of routes is made from these attributes, so no route is missing
//! here. What operations have in common, such as errors, is added by [`complete`].

mod complete;
pub(crate) mod contract;
mod errors;
mod examples;
pub(crate) mod params;

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Api;
use utoipa_axum::router::OpenApiRouter;

use super::state::AppState;

/// What the document says of the whole API. The tags are the groups of the reference, in this order.
#[derive(OpenApi)]
#[openapi(
    info(title = "guard-server", description = include_str!("about.md")),
    tags(
        (name = "Agents", description = "Agents send records and their status, and fetch rules. \
            They use the API key of their project."),
        (name = "Session", description = "People sign in with name and password, and get a cookie."),
        (name = "People and tokens", description = "Who may use this API, and what was changed."),
        (name = "Projects", description = "Projects, their settings, and the keys of their agents."),
        (name = "Events", description = "Lists, counts, files and the live stream of events."),
        (name = "Metrics", description = "Statistics of metrics, which are kept per minute."),
        (name = "Pages", description = "The answers that the pages of the dashboard are made of."),
        (name = "Views", description = "Saved views of events."),
        (name = "Alerts", description = "Conditions of a project, and the channels that are told."),
        (name = "Rules", description = "What guards enforce: a published document, and operations \
            on top of it that end on their own."),
        (name = "Server", description = "Whether the server works, what it measures, and this \
            description."),
    )
)]
struct Described;

/// A router for operations: its description has what is true of the whole API.
pub(crate) fn router() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::with_openapi(Described::openapi())
}

/// The document as it is sent.
#[derive(Clone)]
pub(crate) struct Document(Bytes);

impl Document {
    /// The document of a server at this base path.
    pub(crate) fn new(mut api: Api, base: &str) -> Self {
        complete::complete(&mut api, base);
        // It holds nothing that JSON cannot express.
        Self(api.to_json().unwrap_or_default().into())
    }
}

/// Returns this description.
///
/// It is OpenAPI 3.1, made from the server's code. `/api/docs` shows it to people.
#[utoipa::path(
    get, path = "/api/openapi.json", operation_id = "get_openapi", tag = "Server", security(()),
    responses((status = OK, body = Object))
)]
pub(crate) async fn get(Extension(Document(json)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], json)
}
