//! Records in a real Redis.

mod agents;
mod server;
mod store;
