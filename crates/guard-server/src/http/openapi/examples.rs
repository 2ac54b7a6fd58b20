//! Examples of answers: what a real server answered to the examples of requests.
//!
//! `tests/openapi` calls every operation and keeps this file complete:
//! `GUARD_UPDATE_DOCS=1 .build/venv/bin/python -m pytest tests/openapi` records it again.

use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;

/// The answers by operation.
const EXAMPLES: &str = include_str!("examples.json");

/// The examples. A file that cannot be read has none, which the tests notice.
pub(super) fn read() -> Map<String, Value> {
    serde_json::from_str(EXAMPLES).unwrap_or_default()
}

/// Adds the example of an operation to its answer.
pub(super) fn add(operation: &mut Operation, examples: &mut Map<String, Value>) {
    let id = operation.operation_id.as_deref().unwrap_or_default();
    let Some(example) = examples.remove(id) else {
        return;
    };
    let mut answers = operation.responses.responses.iter_mut();
    let success = answers.find(|(status, _)| status.starts_with('2'));
    if let Some((_, RefOr::T(response))) = success
        && let Some(RefOr::T(content)) = response.content.values_mut().next()
    {
        content.example = Some(example);
    }
}
