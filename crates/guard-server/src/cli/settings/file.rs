//! The configuration file: TOML, one key for each setting, named as its flag.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Arg, ArgAction, Command};
use thiserror::Error;
use toml::{Table, Value};

use super::{name, one_line, settings};

/// How similar a known name must be to be suggested, from 0 to 1.
const SIMILAR: f64 = 0.7;

/// Why the configuration file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("--config: cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's message.
        what: String,
    },
    /// No setting has this name.
    #[error("{}: unknown setting {key:?}{hint}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        key: String,
        /// The nearest known name, as a part of the message.
        hint: String,
    },
    /// A setting has a value that it does not take.
    #[error("{}: {key}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: String,
        /// What is wrong.
        what: String,
    },
}

/// The values of a configuration file, as the flags would have them.
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    values: BTreeMap<String, Vec<String>>,
}

impl ConfigFile {
    /// Reads the file at `path`, and checks each of its values by itself.
    pub(super) fn read(path: &Path, command: &Command) -> Result<Self, FileError> {
        let text = fs::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let table: Table = toml::from_str(&text).map_err(|error| FileError::Syntax {
            path: path.to_owned(),
            line: line_of(&text, error.span().map_or(0, |span| span.start)),
            what: error.message().to_owned(),
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let Some(setting) = settings(command).find(|arg| name(arg) == key) else {
                return Err(FileError::Unknown {
                    path: path.to_owned(),
                    hint: hint(&key, command),
                    key,
                });
            };
            let read = texts(setting, value).and_then(|texts| checked(setting, texts));
            let texts = read.map_err(|what| FileError::Value {
                path: path.to_owned(),
                key: key.clone(),
                what,
            })?;
            values.insert(key, texts);
        }
        let path = path.to_owned();
        Ok(Self { path, values })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Makes the values of the file the defaults of the options.
    pub(super) fn apply_to(&self, command: Command) -> Command {
        command.mut_args(|arg| match self.values.get(name(&arg)) {
            Some(values) => arg.default_values(values.clone()),
            None => arg,
        })
    }
}

/// The value as the flag would have it. Only options that repeat take a list.
fn texts(setting: &Arg, value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(values) if matches!(setting.get_action(), ArgAction::Append) => {
            values.into_iter().map(text).collect()
        }
        Value::Array(_) => Err("takes one value, not a list".to_owned()),
        value => Ok(vec![text(value)?]),
    }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is_on) => Ok(is_on.to_string()),
        other => Err(format!("a {} is no value of a setting", other.type_str())),
    }
}

/// Applies the check of the option to each value.
fn checked(setting: &Arg, texts: Vec<String>) -> Result<Vec<String>, String> {
    if matches!(setting.get_action(), ArgAction::SetTrue) {
        return match texts.as_slice() {
            [text] if text == "true" || text == "false" => Ok(texts),
            _ => Err("is true or false".to_owned()),
        };
    }
    let alone = Arg::clone(setting).env(None::<&str>).required(false);
    let command = Command::new("guard-server").arg(alone);
    for text in &texts {
        let flag = format!("--{}={text}", name(setting));
        command
            .clone()
            .try_get_matches_from(["guard-server", &flag])
            .map_err(|error| one_line(&error))?;
    }
    Ok(texts)
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.matches('\n').count() + 1
}

fn hint(key: &str, command: &Command) -> String {
    let similarity = |known: &str| strsim::jaro_winkler(key, known);
    let nearest = settings(command)
        .map(name)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match nearest {
        Some(nearest) if similarity(nearest) >= SIMILAR => format!("; did you mean {nearest:?}?"),
        _ => "; `guard-server check-config` lists the settings".to_owned(),
    }
}
