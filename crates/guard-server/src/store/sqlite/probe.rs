//! Whether the store takes commits, and what a check of the whole finds.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};

/// Steps of SQLite's virtual machine between two looks at the clock.
const STEPS: i32 = 1000;

/// Writes `bytes` and the time, in place of what the last probe wrote. What it writes
/// is random: SQLite leaves out pages that do not change.
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

/// What SQLite's quick check finds wrong within `time`; a large file takes longer, its
/// rest is not looked at.
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
        // It tells the place in several lines.
        Ok(found) => Ok(Some(found.lines().collect::<Vec<_>>().join(" "))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
