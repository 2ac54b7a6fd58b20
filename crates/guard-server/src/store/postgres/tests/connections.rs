//! What becomes of connections that fail, and of transactions that do not end.

use deadpool_postgres::{PoolError, TimeoutType};
use jiff::Timestamp;
use tokio_postgres::Client;

use super::Database;
use crate::people::{Actor, AuditEntry, Change};
use crate::store::postgres::Postgres;
use crate::store::postgres::health::Health;
use crate::store::postgres::rows::column;
use crate::store::{AddOutcome, People as _, Projects as _, StoreError};

const AT: Timestamp = Timestamp::UNIX_EPOCH;

async fn create(store: &Postgres, name: &str) -> Result<AddOutcome, StoreError> {
    store.create_project(name, AT, 100, None).await
}

/// Ends all other sessions in the database, as a restart or an administrator does.
async fn end_others(client: &Client) {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    client.execute(end, &[]).await.unwrap();
}

#[tokio::test]
async fn a_dead_connection_is_not_handed_out() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let taken = [store.session().await, store.session().await];
    drop(taken);
    assert_eq!(store.pool.status().available, 2);
    end_others(&database.client().await).await;
    assert_eq!(create(&store, "shop").await, Ok(AddOutcome::Added));
    assert_eq!(store.pool.status().size, 1);
}

#[tokio::test]
async fn a_connection_that_dies_in_use_fails_one_call() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let change = store.begin().await.unwrap();
    end_others(&database.client().await).await;
    let failed = change.execute("DELETE FROM projects", &[]).await;
    assert_eq!(failed, Err(StoreError::Unavailable));
    assert_eq!(change.commit().await, Err(StoreError::Unavailable));
    assert_eq!(store.pool.status().size, 0);
    assert_eq!(create(&store, "shop").await, Ok(AddOutcome::Added));
}

/// Makes the session of a pooled connection as one on a demoted primary: it takes no writes.
const DEMOTE: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";

#[tokio::test]
async fn a_connection_to_a_demoted_primary_is_not_handed_out() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let session = store.session().await.unwrap();
    session.execute(DEMOTE, &[]).await.unwrap();
    drop(session);
    assert_eq!(store.pool.status().available, 1);
    assert_eq!(create(&store, "shop").await, Ok(AddOutcome::Added));
}

#[tokio::test]
async fn a_connection_to_a_primary_that_is_demoted_in_use_fails_one_call() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let session = store.session().await.unwrap();
    session.execute(DEMOTE, &[]).await.unwrap();
    // SQLSTATE 25006.
    let failed = session.execute("DELETE FROM projects", &[]).await;
    assert_eq!(failed, Err(StoreError::Unavailable));
    drop(session);
    assert_eq!(store.pool.status().size, 0);
    assert_eq!(create(&store, "shop").await, Ok(AddOutcome::Added));
}

#[tokio::test]
async fn a_dropped_transaction_changes_nothing_and_its_connection_is_closed() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let change = store.begin().await.unwrap();
    let add = "INSERT INTO projects (name, created_at) VALUES ('shop', 0)";
    assert_eq!(change.execute(add, &[]).await, Ok(1));
    drop(change);
    assert_eq!(store.pool.status().size, 0);
    assert_eq!(store.project_named("shop").await, Ok(None));
}

#[tokio::test]
async fn a_transaction_that_was_rolled_back_returns_its_connection() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let change = store.begin().await.unwrap();
    change.execute("DELETE FROM projects", &[]).await.unwrap();
    change.roll_back().await.unwrap();
    assert_eq!(store.pool.status().available, 1);
}

#[tokio::test]
async fn a_change_after_a_failed_statement_is_not_committed() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let change = store.begin().await.unwrap();
    let add = "INSERT INTO projects (name, created_at) VALUES ('shop', 0)";
    change.execute(add, &[]).await.unwrap();
    let failed = change.execute(add, &[]).await;
    assert_eq!(failed, Err(StoreError::Unavailable));
    assert_eq!(change.commit().await, Err(StoreError::Unavailable));
    assert_eq!(store.project_named("shop").await, Ok(None));
}

#[tokio::test]
async fn a_change_whose_entry_cannot_be_stored_is_not_made() {
    let database = Database::migrated().await;
    let store = database.open().await;
    database.run("ALTER TABLE audit ADD CHECK (false)").await;
    let entry = AuditEntry::new(&Actor::CLI, Change::default(), AT);
    let made = store.create_project("shop", AT, 9, Some(entry)).await;
    assert_eq!(made, Err(StoreError::Unavailable));
    assert_eq!(store.project_named("shop").await, Ok(None));
}

#[tokio::test]
async fn a_probe_fails_while_nothing_can_be_stored() {
    let database = Database::migrated().await;
    let store = database.open().await;
    assert_eq!([store.probe().await, store.probe().await], [Ok(()), Ok(())]);
    database
        .run("ALTER TABLE probes ADD CHECK (at < 0) NOT VALID")
        .await;
    assert_eq!(store.probe().await, Err(StoreError::Unavailable));
}

#[tokio::test]
async fn a_call_that_finds_no_free_connection_is_told_that_the_store_is_busy() {
    let health = Health::default();
    let waited = PoolError::Timeout(TimeoutType::Wait);
    assert_eq!(health.no_connection(&waited), StoreError::Busy);
    let unreached = PoolError::Timeout(TimeoutType::Create);
    assert_eq!(health.no_connection(&unreached), StoreError::Unavailable);
}

#[tokio::test]
async fn a_lock_that_another_node_keeps_makes_the_store_busy() {
    let database = Database::migrated().await;
    let store = database.open().await;
    let other = database.client().await;
    other
        .batch_execute("BEGIN; LOCK TABLE projects")
        .await
        .unwrap();
    let session = store.session().await.unwrap();
    session
        .execute("SET lock_timeout = '1ms'", &[])
        .await
        .unwrap();
    let waited = session
        .first("SELECT id FROM projects", &[], column::<i64>)
        .await;
    assert_eq!(waited, Err(StoreError::Busy));
}

#[tokio::test]
async fn a_commit_is_durable_whatever_the_settings_of_the_database_are() {
    let database = Database::migrated().await;
    let name = database.name();
    for setting in [
        "synchronous_commit TO off",
        "default_transaction_isolation TO serializable",
        "statement_timeout TO 0",
    ] {
        database
            .run(&format!("ALTER DATABASE {name} SET {setting}"))
            .await;
    }
    let store = database.open().await;
    let session = store.session().await.unwrap();
    let ask = "SELECT current_setting('synchronous_commit') || ', ' ||
        current_setting('transaction_isolation') || ', ' || current_setting('statement_timeout')";
    let found: String = session.one(ask, &[], column).await.unwrap();
    assert_eq!(found, "on, read committed, 10s");
}

#[tokio::test]
async fn a_name_with_a_zero_byte_is_found_nowhere() {
    let database = Database::migrated().await;
    let store = database.open().await;
    assert_eq!(store.project_named("a\0b").await, Ok(None));
    assert_eq!(store.person("a\0b").await, Ok(None));
    assert_eq!(store.password_of("a\0b").await, Ok(None));
    assert_eq!(store.remove_token("a\0b", None).await, Ok(None));
}
