//! A value of SQLite, as PostgreSQL takes it.

use std::error::Error;

use bytes::BytesMut;
use rusqlite::types::Value;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// A value of SQLite. The column says which type it has in PostgreSQL.
#[derive(Debug)]
pub(super) struct Cell<'a>(&'a Value);

impl<'a> Cell<'a> {
    pub(super) const fn of(value: &'a Value) -> Self {
        Self(value)
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(
        &self,
        r#type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self.0, r#type) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(number), &Type::BOOL) => (*number != 0).to_sql(r#type, out),
            (Value::Integer(number), &Type::INT8) => number.to_sql(r#type, out),
            (Value::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(r#type, out),
            // PostgreSQL stores no zero byte.
            (Value::Text(text), &Type::TEXT) => text.replace('\0', "\u{FFFD}").to_sql(r#type, out),
            (Value::Blob(bytes), &Type::BYTEA) => bytes.to_sql(r#type, out),
            (value, _) => {
                Err(format!("{} does not fit {}", value.data_type(), r#type.name()).into())
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
