//! The Guard backend. It receives the data of guard agents, stores each record once, and gives
//! agents their rules. It consists of a library that builds a router, and a small binary.
//!
//! # The path of a request
//!
//! ```text
//! http::routes   one table of all routes
//!   -> http::caller  API key -> project, or 401
//!   -> http::body    reads the body within limits, checks its signature, inflates it
//!   -> ingest        repair: JSON as Python writes it becomes JSON
//!                    envelope: the JSON of a batch
//!                    record: each is checked by itself; a bad one is left out
//!   -> store         one writing thread; requests that wait share a commit
//!   -> 200, once the batch is committed
//! ```
//!
//! # Folders
//!
//! Dependencies point one way, which `make lint` checks: `cli`, `maintenance` -> `http`, `moving` -> `ingest`,
//! `rules`, `fleet`, `accounts`, `explore` -> [`store`] -> `projects`, `people`, `query`. `people`
//! has roles, sessions and the audit log as types; `accounts` adds and changes people and tokens.
//! `query` has the filter language, ranges and counters; `explore` puts answers together from
//! several queries. The domain (all but `cli`, `http`, `maintenance` and `store`) knows neither HTTP,
//! nor the command line, nor a database. An engine implements the traits of [`store`]; all state is
//! there.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod accounts;
pub mod alerts;
pub mod cli;
mod clock;
mod event_time;
pub mod explore;
mod fingerprint;
pub mod fleet;
pub mod http;
mod ingest;
mod log_gate;
pub mod maintenance;
pub mod monitoring;
pub mod moving;
pub mod network;
mod off_thread;
pub mod outbound;
pub mod people;
pub mod project_admin;
pub mod projects;
pub mod query;
pub mod rules;
mod schema;
pub mod secret;
pub mod store;
mod tail;
mod trouble;
pub mod visible;

pub use clock::{Clock, SystemClock};
pub use http::{AppState, Limits, PublicUrl, TrustedProxies, metrics_router, router};

/// The project that exists from the first start on.
pub const DEFAULT_PROJECT: &str = "default";
