//! HTTP: the routes, what their handlers share, and the connections.

mod assets;
mod body;
pub(crate) mod caller;
pub(crate) mod capacity;
pub(crate) mod client;
pub mod connections;
pub(crate) mod error;
mod explore;
mod ingest;
pub(crate) mod json;
mod monitor;
pub(crate) mod paces;
mod people;
mod pieces;
mod principal;
mod projects;
mod proxies;
mod public_url;
mod query;
mod rate;
mod ready;
mod request_id;
mod routes;
mod rules;
mod same_origin;
mod sender;
mod shield;
mod state;
mod storage_gate;
mod wrong_keys;

pub use self::monitor::metrics_router;
pub use self::proxies::TrustedProxies;
pub use self::public_url::{InvalidUrl, PublicUrl};
pub use self::routes::router;
pub use self::state::{AppState, Limits};
