//! The tables, and the migration of older databases.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Error, GenericClient};

use super::OpenError;
use super::connect::Server;
use super::locks::AdvisoryLock;
use crate::store::Progress;

/// One migration step per version. The table `schema_version` has the steps that were taken. A released
/// step never changes; later changes are new steps.
const STEPS: &[&str] = &[
    include_str!("schema/001_projects.sql"),
    include_str!("schema/002_people.sql"),
    include_str!("schema/003_rules.sql"),
    include_str!("schema/004_alerts.sql"),
    include_str!("schema/005_moves.sql"),
];

/// The version of a database with all steps.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a handful of steps"
)]
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// How often the lock is tried.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// Runs the missing steps, each in a transaction, while no other node does. If the process ends
/// meanwhile, the next call goes on after the last complete step.
///
/// The lock belongs to the session of `client`, so it ends with it. It is tried and not waited for: a
/// wait that is given up could still get it.
pub(super) async fn migrate(
    server: &Server,
    client: &mut Client,
    progress: &Progress,
    lock_time: Duration,
) -> Result<(), OpenError> {
    let failed = |error: Error| OpenError::statement(server, &error);
    // Usually there is nothing to migrate, so the lock is not needed, even if a dead session holds it.
    if known(server, version(client).await.map_err(failed)?)? == VERSION {
        return Ok(());
    }
    lock(server, client, progress, lock_time).await?;
    let mut taken = known(server, version(client).await.map_err(failed)?)?;
    client
        .batch_execute("SET statement_timeout = 0")
        .await
        .map_err(failed)?;
    while let Some(step) = usize::try_from(taken)
        .ok()
        .and_then(|taken| STEPS.get(taken))
    {
        progress.begin(format!(
            "step {} of {VERSION} to the schema of today",
            taken + 1
        ));
        taken += 1;
        run(client, step, taken).await.map_err(failed)?;
    }
    let unlock = "SELECT pg_advisory_unlock($1)";
    let key = AdvisoryLock::Migration.key();
    client.execute(unlock, &[&key]).await.map_err(failed)?;
    Ok(())
}

/// The version of the schema. It is 0 if there is none yet.
pub(super) async fn version(client: &impl GenericClient) -> Result<i32, Error> {
    let exists = "SELECT to_regclass('schema_version') IS NOT NULL";
    if !client.query_one(exists, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM schema_version";
    client.query_one(newest, &[]).await?.try_get(0)
}

pub(super) fn known(server: &Server, found: i32) -> Result<i32, OpenError> {
    if found <= VERSION {
        return Ok(found);
    }
    Err(OpenError::Newer {
        server: server.to_string(),
        found,
        known: VERSION,
    })
}

async fn run(client: &mut Client, step: &str, version: i32) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    if version == 1 {
        let create = "CREATE TABLE schema_version (
            version integer PRIMARY KEY,
            taken_at timestamptz NOT NULL DEFAULT now()
        )";
        transaction.batch_execute(create).await?;
    }
    transaction.batch_execute(step).await?;
    let note = "INSERT INTO schema_version (version) VALUES ($1)";
    transaction.execute(note, &[&version]).await?;
    transaction.commit().await
}

/// Takes the lock of the migration.
async fn lock(
    server: &Server,
    client: &Client,
    progress: &Progress,
    lock_time: Duration,
) -> Result<(), OpenError> {
    let failed = |error: Error| OpenError::statement(server, &error);
    let take = "SELECT pg_try_advisory_lock($1)";
    let (key, begun) = (AdvisoryLock::Migration.key(), Instant::now());
    loop {
        let row = client.query_one(take, &[&key]).await.map_err(failed)?;
        if row.try_get(0).map_err(failed)? {
            return Ok(());
        }
        if begun.elapsed() >= lock_time {
            return Err(OpenError::Locked {
                server: server.to_string(),
                waited: lock_time.as_secs(),
                holder: holder(client, key).await.map_err(failed)?,
            });
        }
        progress.begin("waiting for another node that migrates the schema");
        sleep(TRY_EVERY).await;
    }
}

/// Who holds an advisory lock.
async fn holder(client: &Client, key: i64) -> Result<String, Error> {
    let find = "SELECT format('PID %s, %s, from %s, since %s', pid,
            coalesce(nullif(application_name, ''), 'without a name'),
            coalesce(host(client_addr), 'this machine'),
            to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'))
        FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND ((classid::bigint << 32) | objid::bigint) = $1";
    let row = client.query_opt(find, &[&key]).await?;
    row.map_or_else(|| Ok("unknown".to_owned()), |row| row.try_get(0))
}
