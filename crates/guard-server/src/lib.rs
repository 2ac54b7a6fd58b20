//! The Guard backend: takes what guard agents send, stores it once, and
//! answers their rules. A library that makes a router, and a small binary.
//!
//! # The path of a request
//!
//! ```text
//! routes   one table of all routes
//!   -> auth     API key -> project, or 401
//!   -> ingest   body: read within limits, signature, inflate, decrypt
//!               repair: what Python writes and JSON lacks
//!               envelope: the JSON of a batch
//!               record: each one checked by itself; a bad one is left out
//!   -> store    one writing thread, commits shared by the requests that wait
//!   -> 200, once the batch is committed
//! ```
//!
//! Reading goes `routes -> auth -> query | rules | page -> store`, on
//! connections of its own. All state is in the store, so that several servers
//! could share one; [`store::Control`] and [`store::Telemetry`] are what a
//! database must offer.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod answering;
pub mod auth;
mod clock;
pub mod config;
pub mod connections;
mod error;
mod fingerprint;
mod ingest;
mod listing;
mod lock;
mod log_gate;
mod memory;
mod off_thread;
mod page;
mod query;
mod ready;
mod routes;
pub mod rules;
pub mod secret;
mod sender;
pub mod serve;
mod state;
pub mod store;
mod trouble;
pub mod visible;
mod workers;

pub use clock::{Clock, SystemClock};
pub use routes::router;
pub use state::{Access, AppState, Limits};

/// The project that exists from the first start on.
pub const DEFAULT_PROJECT: &str = "default";
