//! Errors: an invalid configuration, and a record that was not accepted.

use thiserror::Error;

/// An invalid configuration. The message names the field and the remedy. It does not repeat
/// secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A field has an invalid value.
    #[error("{field} = {value}: {remedy}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// The invalid value.
        value: String,
        /// The remedy.
        remedy: String,
    },
    /// A secret is invalid.
    #[error("{field}: {remedy}")]
    Secret {
        /// The name of the field.
        field: &'static str,
        /// The remedy.
        remedy: String,
    },
    /// `reconfigure` was called on a thread of the agent, as in
    /// [`on_report`](crate::AgentBuilder::on_report). The thread cannot replace itself.
    #[error(
        "an agent's own thread cannot give it another configuration; do that on another thread"
    )]
    OwnThread,
}

impl ConfigError {
    /// Returns an error if `is_wrong`.
    pub(crate) fn reject_if(
        is_wrong: bool,
        field: &'static str,
        value: impl ToString,
        remedy: impl Into<String>,
    ) -> Result<(), ConfigError> {
        if is_wrong {
            let (value, remedy) = (value.to_string(), remedy.into());
            return Err(ConfigError::Field {
                field,
                value,
                remedy,
            });
        }
        Ok(())
    }
}

/// The record was not accepted and is not counted. The caller still has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the buffer is full ({limit} records); wait, or raise buffer_size or max_buffered")]
pub struct SendError {
    /// The limit that was reached.
    pub limit: usize,
}
