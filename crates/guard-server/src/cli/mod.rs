//! The command line: the options, `guard-server rules`, and serving.

pub mod config;
pub mod operation_command;
mod rules;
pub mod rules_command;
pub mod serve;

use std::fmt::Display;

pub use self::rules::rules;

/// Exit code of a command that failed.
pub const FAILED: u8 = 1;
/// Exit code for options that cannot be used; clap exits with the same code.
pub const USAGE: u8 = 2;

/// Turns an error into the exit code and the message of a command.
pub fn failed_with<E: Display>(code: u8) -> impl Fn(E) -> (u8, String) {
    move |error| (code, error.to_string())
}
