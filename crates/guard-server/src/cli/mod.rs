//! The command line: the options, `guard-server rules`, and serving.

pub mod config;
pub mod operation_command;
mod rules;
pub mod rules_command;
pub mod serve;
mod table;

use std::fmt::Display;

pub use self::rules::rules;

/// The result of a command: the exit code and message if it failed.
type Outcome<T> = Result<T, (u8, String)>;

/// Exit code of a failed command.
pub const FAILED: u8 = 1;
/// Exit code for invalid options. clap uses the same code.
pub const USAGE: u8 = 2;

/// Turns an error into the exit code and message of a command.
pub fn failed_with<E: Display>(code: u8) -> impl Fn(E) -> (u8, String) {
    move |error| (code, error.to_string())
}
