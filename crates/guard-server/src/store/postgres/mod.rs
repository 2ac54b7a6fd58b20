//! The control store of several nodes: projects, people, rules, fleet and alerts in PostgreSQL 13 or
//! later. `docs/adr/0022` says why, and what a transaction guarantees.
//!
//! A call takes a connection from the pool ([`Postgres::session`], [`Postgres::begin`]), which checks it
//! first. Several nodes write at the same time. Where SQLite has one writer, a change here locks what
//! its decision depends on: the row of its project, or an [`AdvisoryLock`].

mod alerts;
mod audit;
mod connect;
mod fleet;
mod health;
mod locks;
mod losses;
mod node;
mod open;
mod people;
mod projects;
mod rows;
mod rules;
mod schema;
mod session;
mod sweep;
mod tls;
mod views;

use deadpool_postgres::Pool;

pub(crate) use self::connect::Server;
use self::health::Health;
pub(crate) use self::locks::AdvisoryLock;
pub(crate) use self::node::join;
pub use self::open::OpenError;

/// The control store of several nodes.
#[derive(Debug)]
pub struct Postgres {
    /// For connections beside the pool.
    server: Server,
    pool: Pool,
    health: Health,
}

#[cfg(test)]
pub(super) mod tests;
