//! Why a query cannot be answered as it was asked.

use thiserror::Error;

/// A query that asks for something impossible.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct QueryError {
    /// Names the kind of error for programs.
    pub code: &'static str,
    /// The parameter.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub detail: String,
    /// Where in the parameter, in characters from 0; filters only.
    pub position: Option<usize>,
}

impl QueryError {
    pub(crate) fn new(code: &'static str, field: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            field,
            detail: detail.into(),
            position: None,
        }
    }
}
