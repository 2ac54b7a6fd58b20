//! What a backend answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer to a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IngestAnswer {
    /// Whether the batch was taken.
    pub success: bool,
    /// Events found in the batch.
    pub events_received: u64,
    /// Events left out because their timestamp cannot be read.
    pub events_dropped_invalid_timestamp: u64,
    /// Metrics found in the batch.
    pub metrics_received: u64,
    /// Events stored, or stored before.
    pub events_processed: u64,
    /// Metrics stored, or stored before.
    pub metrics_processed: u64,
    /// Null when all is well: agents send the whole batch again otherwise.
    pub errors: Option<Vec<String>>,
}

/// The answer to a status report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Whether the report was taken.
    pub success: bool,
    /// In words.
    pub message: String,
}

/// Whether the body of a 2xx answer says that the batch was not taken after
/// all: `success` is false, or `errors` holds anything. An empty body, one that
/// is not a JSON object, and `{}` say nothing of the kind.
///
/// ```
/// use guard_wire::answer::denies;
///
/// assert!(!denies(b""));
/// assert!(!denies(br#"{"success": true, "errors": []}"#));
/// assert!(denies(br#"{"success": false}"#));
/// assert!(denies(br#"{"success": true, "errors": ["disk full"]}"#));
/// ```
pub fn denies(body: &[u8]) -> bool {
    let Ok(Value::Object(answer)) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let failed = answer.get("success") == Some(&Value::Bool(false));
    let has_errors = match answer.get("errors") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Bool(true)) => true,
    };
    failed || has_errors
}
