//! Errors: a configuration that cannot be used, and a record that was not taken.

use thiserror::Error;

/// A configuration that cannot be used. Names the field and says what to give;
/// secrets are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A field holds what it must not.
    #[error("{field} = {value}: {remedy}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What to give instead.
        remedy: &'static str,
    },
    /// A secret cannot be used.
    #[error("{field}: {remedy}")]
    Secret {
        /// The name of the field.
        field: &'static str,
        /// What to give instead.
        remedy: String,
    },
    /// It was given on a thread of the agent's own, as in
    /// [`on_report`](crate::AgentBuilder::on_report), which cannot replace itself.
    #[error(
        "an agent's own thread cannot give it another configuration; do that on another thread"
    )]
    OwnThread,
}

impl ConfigError {
    /// An error where `is_wrong`.
    pub(crate) fn reject_if(
        is_wrong: bool,
        field: &'static str,
        value: impl ToString,
        remedy: &'static str,
    ) -> Result<(), ConfigError> {
        if is_wrong {
            let value = value.to_string();
            return Err(ConfigError::Field {
                field,
                value,
                remedy,
            });
        }
        Ok(())
    }
}

/// The record was not taken, and is not counted: the caller still has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the buffer is full ({limit} records); wait, or raise buffer_size or max_buffered")]
pub struct SendError {
    /// The bound that was reached.
    pub limit: usize,
}
