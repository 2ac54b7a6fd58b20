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

pub mod cli;
mod clock;
mod fingerprint;
pub mod fleet;
pub mod http;
mod ingest;
mod log_gate;
pub mod maintenance;
mod off_thread;
pub mod projects;
pub mod query;
pub mod rules;
pub mod secret;
pub mod store;
mod trouble;
pub mod visible;

pub use clock::{Clock, SystemClock};
pub use http::{Access, AppState, Limits, router};

/// The project that exists from the first start on.
pub const DEFAULT_PROJECT: &str = "default";
