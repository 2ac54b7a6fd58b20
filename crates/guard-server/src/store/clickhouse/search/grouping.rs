//! The keys of groups, as SQL.

use guard_wire::Kind;

use super::columns::{Kept, kept};
use super::condition::TIME_TEXT;
use super::json::Json;
use super::params::Params;
use crate::query::filter::Field;

/// How records are grouped by a field.
pub(super) struct Grouping {
    pub(super) field: Field,
    /// The key of a row, as text; NULL is the key of rows without a value.
    pub(super) key: String,
    /// Whether only the body of a row tells its key. `None` if that is never so.
    pub(super) is_unclear: Option<String>,
}

impl Grouping {
    pub(super) fn new(kind: Kind, field: Field, params: &mut Params) -> Self {
        let (key, is_unclear) = match (kept(kind, &field), &field) {
            (Some(Kept::Time), _) => (TIME_TEXT.to_owned(), None),
            (Some(Kept::Address), _) => ("ip_address".to_owned(), None),
            (Some(Kept::Text(column, None)), _) => (column.to_owned(), None),
            (Some(Kept::Text(column, Some(number))), _) => (or_untyped(column, number), None),
            (Some(Kept::Whole(column, number)), _) => {
                (or_untyped(&format!("toString({column})"), number), None)
            }
            // The body tells how a number is written.
            (Some(Kept::Real(column, None)), _) => {
                ("NULL".to_owned(), Some(format!("isNotNull({column})")))
            }
            (Some(Kept::Real(column, Some(number))), _) => (
                Json::untyped(number).group(),
                Some(format!("isNotNull({column})")),
            ),
            (None, Field::Key { object, key }) => {
                let json = Json::key(object, key, params);
                (json.group(), json.is_nested)
            }
            (None, Field::Named(_)) => ("NULL".to_owned(), Some("1".to_owned())),
        };
        Self {
            field,
            key: format!("CAST({key}, 'Nullable(String)')"),
            is_unclear,
        }
    }
}

fn or_untyped(column: &str, number: u8) -> String {
    format!("ifNull({column}, {})", Json::untyped(number).group())
}
