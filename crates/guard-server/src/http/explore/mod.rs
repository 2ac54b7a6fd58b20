//! What people and their programs ask about the records of a project.

mod csv;
mod events;
mod export;
mod listing;
mod metrics;
mod pages;
mod params;
mod tail;
mod views;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::params::Params;
use super::state::AppState;

/// The routes of a project.
pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::default()
        .routes(routes!(events::list))
        .routes(routes!(events::series))
        .routes(routes!(events::top))
        .routes(routes!(export::export))
        .routes(routes!(events::one))
        .routes(routes!(metrics::list))
        .routes(routes!(metrics::series))
        .routes(routes!(metrics::top))
        .routes(routes!(pages::overview))
        .routes(routes!(pages::address))
        .routes(routes!(pages::passive))
        .routes(routes!(pages::agents))
        .routes(routes!(pages::losses))
        .routes(routes!(views::list, views::add))
        .routes(routes!(views::remove))
}

/// The live stream of a project.
pub(crate) fn live() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::default().routes(routes!(tail::tail))
}
