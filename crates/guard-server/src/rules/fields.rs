//! Parses JSON into types, and names the wrong field in an error.

use guard_wire::rules::RulesError;
use serde::de::{DeserializeOwned, Deserializer};

use super::document::problem;

/// Parses `json`.
///
/// # Errors
///
/// [`RulesError::Field`] with the path of the field that is missing, unknown or of the wrong type.
pub(crate) fn read<'de, T, D>(json: D) -> Result<T, RulesError>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
    D::Error: std::fmt::Display,
{
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let field = full_path(path, named(&message));
        problem(&field, without_rust_terms(&message))
    })
}

/// The field that serde names in its message. The path of a missing field does not include it.
fn named(message: &str) -> Option<&str> {
    let starts = ["missing field `", "unknown field `", "duplicate field `"];
    let rest = starts.iter().find_map(|start| message.strip_prefix(start));
    rest?.split_once('`').map(|(field, _)| field)
}

/// The path of the field that serde names, or else the path of the value.
fn full_path(path: String, named: Option<&str>) -> String {
    match named {
        None => path,
        // The path of the whole document.
        Some(field) if path == "." || path == field => field.to_owned(),
        Some(field) if path.ends_with(&format!(".{field}")) => path,
        Some(field) => format!("{path}.{field}"),
    }
}

/// Serde's message without the names of Rust types.
fn without_rust_terms(message: &str) -> String {
    message
        .replace("expected i64", "expected a whole number")
        .replace("expected a sequence", "expected a list")
        .replace("expected a boolean", "expected true or false")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only read")]
        numbers: Vec<i64>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        #[expect(dead_code, reason = "only read")]
        inner: Sample,
    }

    #[test]
    fn an_error_within_an_object_names_the_whole_path() {
        for (json, expected) in [
            (json!({ "inner": { "other": 1 } }), "inner.other"),
            (json!({ "inner": {} }), "inner.numbers"),
            (
                json!({ "inner": { "numbers": [true] } }),
                "inner.numbers[0]",
            ),
            (json!({ "other": 1 }), "other"),
        ] {
            let error = read::<Nested, _>(json).unwrap_err().to_string();
            assert!(error.contains(&format!("`{expected}`:")), "{error}");
        }
    }

    fn error_of(json: Value) -> String {
        read::<Sample, _>(json).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_path_of_the_wrong_field() {
        for (json, expected) in [
            (
                json!({ "numbers": [1, "2"] }),
                "rules field `numbers[1]`: invalid type: string \"2\", expected a whole number",
            ),
            (
                json!({ "numbers": 7 }),
                "rules field `numbers`: invalid type: integer `7`, expected a list",
            ),
            (json!({}), "rules field `numbers`: missing field `numbers`"),
        ] {
            assert_eq!(error_of(json), expected);
        }
        let unknown = error_of(json!({ "numbers": [], "other": 1 }));
        assert!(unknown.starts_with("rules field `other`: unknown field"));
    }
}
