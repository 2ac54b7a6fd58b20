//! HTTP: the routes, what their handlers share, and the connections.

mod body;
pub(crate) mod caller;
pub(crate) mod capacity;
pub mod connections;
pub(crate) mod error;
mod ingest;
mod page;
mod query;
mod ready;
mod routes;
mod rules;
mod sender;
mod state;
mod wrong_keys;

pub use self::routes::router;
pub use self::state::{Access, AppState, Limits};
