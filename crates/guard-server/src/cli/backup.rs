//! `guard-server backup` and `guard-server restore`.

use std::path::Path;

use crate::cli::config::Args;
use crate::cli::{FAILED, Outcome, USAGE, failed_with, say};
use crate::store;

/// What to do about shared databases.
const INSTEAD: &str =
    "use pg_dump and pg_restore for PostgreSQL, and BACKUP and RESTORE in ClickHouse";

/// Runs `guard-server backup`.
///
/// # Errors
///
/// The exit code, and a message that says why there is no backup.
pub fn back_up(args: &Args, file: &Path) -> Outcome<()> {
    let database = args.stores.only_file(INSTEAD).map_err(failed_with(USAGE))?;
    let made = store::back_up(&database, file).map_err(failed_with(FAILED))?;
    say(&format!(
        "{}: {} bytes, {} rows, checked",
        file.display(),
        made.bytes,
        made.rows
    ))
}

/// Runs `guard-server restore`.
///
/// # Errors
///
/// The exit code, and a message that says why nothing was restored.
pub fn restore(args: &Args, file: &Path, may_replace: bool) -> Outcome<()> {
    let database = args.stores.only_file(INSTEAD).map_err(failed_with(USAGE))?;
    let restored = store::restore(file, &database, may_replace);
    let (found, aside) = restored.map_err(failed_with(FAILED))?;
    if let Some(aside) = aside {
        say(&format!("the database before is now {}", aside.display()))?;
    }
    say(&format!(
        "{} restored: {} bytes, {} rows, checked",
        database.display(),
        found.bytes,
        found.rows
    ))
}
