//! The promises of every engine, and this engine's behaviour at start, with several nodes, and when
//! connections fail.

mod connections;
mod database;
mod nodes;
mod overlap;
mod start;

use std::sync::Arc;

use tempfile::TempDir;

pub(in crate::store) use self::database::Database;
use crate::store::conformance::control_suite;
use crate::store::{Node, Sqlite, Stores};

/// Telemetry is in another engine, as it is on several nodes.
async fn open() -> (Stores, (Database, TempDir)) {
    let database = Database::migrated().await;
    let directory = tempfile::tempdir().unwrap();
    let telemetry = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    let stores = Stores::split(database.open().await, Arc::new(telemetry), Node::alone());
    (stores, (database, directory))
}

control_suite!(super::open);
