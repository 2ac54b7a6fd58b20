//! Reads the settings. [`Args`] defines each one once: name, default, help, environment variable
//! and check. A setting is every option with an environment variable; the configuration file knows
//! it by the name of its flag. A flag wins over the environment, the environment over the file.
//!
//! The file is applied by making its values the defaults of the options.

mod file;
mod show;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use thiserror::Error;

use self::file::ConfigFile;
pub use self::file::FileError;
pub use self::show::show;
use crate::cli::config::Args;

/// The option that names the configuration file. It is no setting of the file itself.
const CONFIG: &str = "config";

/// The command line with the settings in force.
pub struct Loaded {
    /// The settings and the command.
    pub args: Args,
    command: Command,
    matches: ArgMatches,
    file: Option<ConfigFile>,
}

/// Why the command line or the settings cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The command line asks for the help or the version.
    #[error("{0}")]
    Help(clap::Error),
    /// An option is not valid. One line names it.
    #[error("{0}")]
    Usage(String),
    /// The configuration file is not valid.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where the value of a setting comes from.
enum Source {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

/// Reads the command line, the environment and the configuration file.
///
/// # Errors
///
/// [`LoadError`] for the first invalid setting.
pub fn load(line: impl IntoIterator<Item = OsString>) -> Result<Loaded, LoadError> {
    let line: Vec<_> = line.into_iter().collect();
    let mut command = Args::command();
    let failed = |error| LoadError::of(error, &line);
    let mut matches = command.try_get_matches_from_mut(&line).map_err(failed)?;
    let file = match matches.get_one::<PathBuf>(CONFIG) {
        Some(path) => Some(ConfigFile::read(path, &Args::command())?),
        None => None,
    };
    if let Some(file) = &file {
        command = file.apply_to(Args::command());
        matches = command.try_get_matches_from_mut(&line).map_err(failed)?;
    }
    let args = Args::from_arg_matches(&matches).map_err(failed)?;
    Ok(Loaded {
        args,
        command,
        matches,
        file,
    })
}

/// The options that are settings.
fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| arg.get_env().is_some() && arg.get_id() != CONFIG)
}

/// The name of a setting in the file, and of its flag.
fn name(setting: &Arg) -> &str {
    setting.get_long().unwrap_or_default()
}

/// Without the values as given, which may be secrets.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loaded").field(&self.args).finish()
    }
}

impl Loaded {
    fn source(&self, setting: &Arg) -> Source {
        match (
            self.matches.value_source(setting.get_id().as_str()),
            &self.file,
        ) {
            (Some(ValueSource::CommandLine), _) => Source::Flag,
            (Some(ValueSource::EnvVariable), _) => Source::Environment,
            (_, Some(file)) if file.has(name(setting)) => Source::File(file.path.clone()),
            _ => Source::Default,
        }
    }
}

fn environment(setting: &Arg) -> String {
    let variable = setting.get_env().unwrap_or_default();
    variable.to_string_lossy().into_owned()
}

impl LoadError {
    fn of(error: clap::Error, line: &[OsString]) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Self::Help(error),
            _ => Self::Usage(format!(
                "{}{}",
                one_line(&error),
                from_environment(&error, line)
            )),
        }
    }
}

/// The message of `error` and its tips, without the usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let lines: Vec<_> = lines
        .map(|line| {
            line.trim_start_matches("error: ")
                .trim_start_matches("tip: ")
        })
        .collect();
    lines.join("; ")
}

/// Names the environment variable that an invalid value comes from.
fn from_environment(error: &clap::Error, line: &[OsString]) -> String {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return String::new();
    };
    let flag = shown.split([' ', '=']).next().unwrap_or_default();
    let is_given = line
        .iter()
        .any(|part| part.to_string_lossy().split('=').next() == Some(flag));
    let command = Args::command();
    let setting = settings(&command).find(|arg| flag.strip_prefix("--") == Some(name(arg)));
    match setting.map(environment) {
        Some(variable) if !is_given && std::env::var_os(&variable).is_some() => {
            format!(" (from the environment variable {variable})")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
