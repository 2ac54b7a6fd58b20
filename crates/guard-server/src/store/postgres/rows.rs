//! How stored values are read, and how text is written.

use std::borrow::Cow;
use std::error::Error;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::FromSqlOwned;

/// Why a stored value cannot be read.
pub(super) type ReadError = Box<dyn Error + Send + Sync>;

/// The first column of a row.
pub(super) fn column<T: FromSqlOwned>(row: &Row) -> Result<T, ReadError> {
    Ok(row.try_get(0)?)
}

/// A count in the first column of a row.
pub(super) fn count(row: &Row) -> Result<u64, ReadError> {
    Ok(u64::try_from(column::<i64>(row)?)?)
}

/// A time, which is stored as microseconds since the epoch.
pub(super) fn timestamp(row: &Row, column: usize) -> Result<Timestamp, ReadError> {
    Ok(Timestamp::from_microsecond(row.try_get(column)?)?)
}

/// A time that may be missing.
pub(super) fn optional_timestamp(row: &Row, column: usize) -> Result<Option<Timestamp>, ReadError> {
    let microseconds: Option<i64> = row.try_get(column)?;
    Ok(microseconds.map(Timestamp::from_microsecond).transpose()?)
}

/// A value that is stored as JSON text.
pub(super) fn json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, ReadError> {
    Ok(serde_json::from_str(row.try_get(column)?)?)
}

/// A value that is stored by its name.
pub(super) fn parsed<T>(row: &Row, column: usize) -> Result<T, ReadError>
where
    T: FromStr,
    T::Err: Into<ReadError>,
{
    row.try_get::<_, &str>(column)?.parse().map_err(Into::into)
}

/// Text as PostgreSQL can store it. It has no zero byte; other engines have. Whatever comes from
/// outside and is not checked otherwise goes through here.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{FFFD}").into()
    } else {
        text.into()
    }
}
