//! What people and their programs ask about the records of a project.

mod csv;
mod events;
mod export;
mod listing;
mod metrics;
mod pages;
mod params;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get};

use super::state::AppState;

/// The routes of a project.
pub(crate) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/events", get(events::list))
        .route("/events/series", get(events::series))
        .route("/events/top", get(events::top))
        .route("/events/export", get(export::export))
        .route("/events/{id}", get(events::one))
        .route("/metrics/series", get(metrics::series))
        .route("/metrics/top", get(metrics::top))
        .route("/overview", get(pages::overview))
        .route("/addresses/{ip}", get(pages::address))
        .route("/passive", get(pages::passive))
        .route("/agents", get(pages::agents))
        .route("/losses", get(pages::losses))
        .route("/views", get(views::list).post(views::add))
        .route("/views/{id}", delete(views::remove))
}
