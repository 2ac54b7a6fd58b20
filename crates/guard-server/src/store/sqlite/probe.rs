//! Checks whether the store accepts commits, and whether the file is damaged.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};

/// How many steps SQLite's virtual machine takes between two checks of the time.
const STEPS: i32 = 1000;

/// Writes `bytes` bytes and the time, in place of the last probe's data. The bytes are random,
/// because SQLite does not write pages that did not change.
pub(super) fn write(connection: &Connection, bytes: usize, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO probes (id, at, content)
             VALUES (1, ?1, CASE ?2 WHEN 0 THEN x'' ELSE randomblob(?2) END)
             ON CONFLICT DO UPDATE SET at = excluded.at, content = excluded.content",
        )?
        .execute(params![
            now.as_microsecond(),
            i64::try_from(bytes).unwrap_or(0)
        ])
        .map(drop)
}

/// The damage that SQLite's quick check finds within `time`. The check of a large file stops there,
/// and the rest stays unchecked.
pub(super) fn check(
    connection: &mut Connection,
    time: Duration,
) -> rusqlite::Result<Option<String>> {
    let end = Instant::now() + time;
    connection.progress_handler(STEPS, Some(move || Instant::now() >= end))?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(None),
        // SQLite describes the place in several lines.
        Ok(found) => Ok(Some(found.lines().collect::<Vec<_>>().join(" "))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
