//! `guard-server migrate`: moves a database of SQLite to databases that several servers share.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;

use super::config::{StoreArgsError, sqlite_file};
use super::{FAILED, Outcome, USAGE, failed_with, say};
use crate::moving::{self, MovingError};
use crate::secret::Secret;
use crate::store::{Lock, Move, Progress, Shared, Sqlite, Stores};

/// How often the command says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What to move, and where to.
#[derive(Debug, ClapArgs)]
pub struct MigrateArgs {
    /// The database, sqlite://PATH. Its server must not run
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// The database of PostgreSQL, as --control-url
    #[arg(long, value_name = "URL")]
    pub to_control: Secret,
    /// The database of ClickHouse, as --telemetry-url
    #[arg(long, value_name = "URL")]
    pub to_telemetry: Secret,
}

/// Runs `guard-server migrate`.
///
/// # Errors
///
/// The exit code, and a message that says why the move is not finished.
pub async fn migrate(args: &MigrateArgs, cluster: Option<&str>) -> Outcome<()> {
    let path = sqlite_file(&args.from).map_err(|error| match error {
        StoreArgsError::DatabaseUrl { url } => (
            USAGE,
            format!("--from: {url:?} is not supported; give sqlite://PATH"),
        ),
        error => (USAGE, error.to_string()),
    })?;
    let target = Shared::new(&args.to_control, &args.to_telemetry, cluster);
    let target = target.map_err(failed_with(USAGE))?;
    let failed = failed_with(FAILED);
    if !path.exists() {
        return Err((FAILED, format!("--from: there is no {}", path.display())));
    }
    // No server may write to it, nor start.
    let _lock = Lock::take(&path).map_err(failed_with(FAILED))?;
    let file = Arc::new(Sqlite::open_existing(&path).map_err(failed_with(FAILED))?);
    let from = Stores::of(Arc::clone(&file));
    let to = target.open_target(&Progress::default()).await;
    let to = to.map_err(failed_with(FAILED))?;
    let mut work = Move::begin(&file, &target)
        .await
        .map_err(failed_with(FAILED))?;
    if !work.is_continued {
        let empty = moving::check_empty(&from, &to).await;
        empty.map_err(failed_with(FAILED))?;
    }
    let tables = work.copy_tables().await.map_err(failed_with(FAILED))?;
    let rows: u64 = tables.iter().map(|(_, rows)| rows).sum();
    say(&format!(
        "{} tables with {rows} rows, compared",
        tables.len()
    ))?;
    let projects = from
        .projects
        .projects()
        .await
        .map_err(failed_with(FAILED))?;
    for project in &projects {
        let mut said = Instant::now();
        let progress = |kind: &str, records: u64| {
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                let line = format!("{}: {records} {kind}s so far", project.name);
                // It does not matter whether anybody reads it.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        };
        let moved = moving::move_records((&from, &to), &work, project, progress).await;
        let moved = moved.map_err(|error: MovingError| failed(error))?;
        say(&format!(
            "{}: {} events and {} metrics, counted on both sides; {} events compared",
            project.name, moved.events, moved.metrics, moved.compared
        ))?;
    }
    work.finish().await.map_err(failed_with(FAILED))?;
    say("done: start the nodes with --control-url and --telemetry-url")
}
