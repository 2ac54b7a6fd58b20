//! By what records are grouped: the key of a record.

use std::net::IpAddr;

use guard_wire::Kind;
use serde_json::Value;

use super::QueryError;
use super::filter::{Field, FieldType, Subject};

/// The key of a group. `None` is the group of the records that have no value.
pub type Key = Option<String>;

/// The field that records are grouped by.
///
/// # Errors
///
/// [`QueryError`] if records of this kind have no such field.
pub fn field(kind: Kind, name: &str) -> Result<Field, QueryError> {
    let found = Field::find(kind, name).map(|(field, _)| field);
    found.map_err(|nearest| {
        let detail = format!("by is {name:?}, which is not a field; did you mean {nearest}?");
        QueryError::new("invalid_field", "by", detail)
    })
}

/// The key of a record.
///
/// Numbers, booleans, lists and objects have their JSON as key. An address has one key however it
/// is written.
pub fn key_of(field: &Field, record: Subject<'_>) -> Key {
    match field {
        Field::Named("timestamp") => record.timestamp.map(|at| at.to_string()),
        Field::Named("install_id") => record.install_id.map(str::to_owned),
        _ => record.value(field).map(|value| match value {
            Value::String(text) if field.field_type() == FieldType::Address => address(text),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }),
    }
}

fn address(text: &str) -> String {
    let address = text.parse::<IpAddr>();
    address.map_or_else(|_| text.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_record_has_one_key() {
        let event = json!({
            "event_type": "x", "ip_address": "2001:DB8::1", "status_code": 403, "country": null,
            "response_time": 0.25, "reason": "",
            "metadata": { "guard.rule.id": "r", "list": [1, "a"], "flag": true },
        });
        let record = Subject {
            body: event.as_object().unwrap(),
            timestamp: "2026-01-31T12:00:00Z".parse().ok(),
            install_id: None,
        };
        for (name, key) in [
            ("event_type", Some("x")),
            ("ip_address", Some("2001:db8::1")),
            ("status_code", Some("403")),
            ("response_time", Some("0.25")),
            ("country", None),
            ("reason", Some("")),
            ("user_agent", None),
            ("install_id", None),
            ("timestamp", Some("2026-01-31T12:00:00Z")),
            ("metadata.guard.rule.id", Some("r")),
            ("metadata.list", Some("[1,\"a\"]")),
            ("metadata.flag", Some("true")),
            ("metadata.none", None),
        ] {
            let field = field(Kind::Event, name).unwrap();
            assert_eq!(key_of(&field, record).as_deref(), key, "{name}");
        }
    }

    #[test]
    fn an_unknown_field_names_the_nearest() {
        let error = field(Kind::Event, "ip_adress").unwrap_err();
        assert_eq!((error.code, error.field), ("invalid_field", "by"));
        assert!(error.detail.contains("ip_address"), "{error}");
    }
}
