//! Records in a real Redis.

mod agents;
mod others;
mod server;
mod store;
