//! What the server answers while it opens its store, which takes long when an older database is
//! converted: it is alive, and not ready.

use axum::Router;
use axum::routing::get;

use super::error::ApiError;
use super::public_url::{self, PublicUrl};
use super::ready::alive;
use crate::store::Progress;

/// Seconds after which a client may ask again.
const RETRY_AFTER: u16 = 5;

/// Answers `GET /health`. Everything else gets a 503 that says how far the opening is.
pub(crate) fn router(progress: Progress, public_url: Option<&PublicUrl>) -> Router {
    let not_yet = move || {
        let detail = format!("The server is starting ({progress}); send the request again later");
        async {
            ApiError::unavailable(detail)
                .code("starting")
                .retry_after(RETRY_AFTER)
        }
    };
    let app = Router::new().route("/health", get(alive)).fallback(not_yet);
    public_url::mounted(public_url.map_or("", PublicUrl::base), app)
}
