//! Why an alert or a channel is refused.

use guard_wire::rules::RulesError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::rules::fields;

/// A field of an alert or of a channel is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct AlertError {
    /// Names the kind of error for programs: `invalid_alert`, `invalid_channel`, `invalid_filter`.
    pub code: &'static str,
    /// The path of the field, such as `condition.window_s`.
    pub field: String,
    /// The problem and its remedy. Never contains a secret.
    pub problem: String,
    /// Where in the field, in characters from 0; filters only.
    pub position: Option<usize>,
}

impl AlertError {
    /// A field of an alert is wrong.
    pub fn alert(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new("invalid_alert", field, problem)
    }

    /// A field of a channel is wrong.
    pub fn channel(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new("invalid_channel", field, problem)
    }

    pub(super) fn new(
        code: &'static str,
        field: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            code,
            field: field.into(),
            problem: problem.into(),
            position: None,
        }
    }

    /// The same error of a field of the object at `path`.
    #[must_use]
    pub(super) fn below(self, path: &str) -> Self {
        let field = if self.field.is_empty() || self.field == "." {
            path.to_owned()
        } else {
            format!("{path}.{}", self.field)
        };
        Self { field, ..self }
    }
}

/// Reads an object of an alert; the error names the path of the wrong field.
pub(super) fn read<T: DeserializeOwned>(json: Value) -> Result<T, AlertError> {
    fields::read(json).map_err(|error| match error {
        RulesError::Field { field, problem } => AlertError::alert(field, problem),
        other => AlertError::alert("", other.to_string()),
    })
}

/// A number outside its limits.
pub(super) fn within<T>(field: &str, value: T, least: T, most: T) -> Result<(), AlertError>
where
    T: PartialOrd + std::fmt::Display,
{
    if (&least..=&most).contains(&&value) {
        return Ok(());
    }
    let problem = format!("{value} is out of range; give {least} to {most}");
    Err(AlertError::alert(field, problem))
}
