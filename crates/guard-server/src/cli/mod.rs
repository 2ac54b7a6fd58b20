//! The command line: the settings, the commands, and serving.

mod alerts;
pub mod alerts_command;
mod backup;
pub mod client;
pub mod config;
pub mod doctor;
pub mod explore;
pub mod logging;
pub mod migrate;
mod opening;
pub mod operation_command;
mod people;
pub mod people_command;
mod projects;
pub mod projects_command;
mod rules;
pub mod rules_command;
mod secret_file;
pub mod serve;
pub mod settings;
mod table;
mod terminal;

use std::fmt::Display;
use std::io::Write as _;

pub use self::alerts::{alerts, channels};
pub use self::backup::{back_up, restore};
pub use self::doctor::doctor;
pub use self::explore::{export, query, series, tail, top};
pub use self::migrate::migrate;
pub use self::people::{people, tokens};
pub use self::projects::{keys, projects};
pub use self::rules::rules;
use crate::cli::config::Args;
use crate::store::Stores;

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

/// Prints a line of what a command has done.
fn say(line: &str) -> Outcome<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| {
        let message = format!("cannot write to the standard output: {error}");
        (FAILED, message)
    })
}

/// Opens the stores for a command, while servers may be running.
async fn opened(args: &Args) -> Outcome<Stores> {
    let location = args.stores.location().map_err(failed_with(USAGE))?;
    location.open_existing().await.map_err(failed_with(FAILED))
}

/// Runs `guard-server check-config`.
///
/// # Errors
///
/// The exit code, and a message that names the first invalid setting.
pub fn check_config(loaded: settings::Loaded) -> Result<(), (u8, String)> {
    let shown = settings::show(&loaded);
    let written = std::io::stdout().write_all(shown.as_bytes());
    written.map_err(|error| (FAILED, format!("cannot write: {error}")))?;
    loaded.args.check().map_err(failed_with(USAGE))?;
    Ok(())
}
