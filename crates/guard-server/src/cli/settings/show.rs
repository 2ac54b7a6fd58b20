//! `guard-server check-config`: the settings in force, and where each value comes from.

use std::fmt::Write as _;

use clap::Arg;

use super::{Loaded, Source, environment, name, settings};
use crate::visible::visible;

/// Shown in place of a secret.
const MASK: &str = "[secret]";
/// Shown for a setting without a value.
const UNSET: &str = "(not set)";

/// One line for each setting: name, value and source. Secrets are masked.
pub fn show(loaded: &Loaded) -> String {
    let rows: Vec<_> = settings(&loaded.command)
        .map(|setting| {
            (
                name(setting),
                value(loaded, setting),
                source(loaded, setting),
            )
        })
        .collect();
    let width = |of: fn(&(&str, String, String)) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let names = width(|row| row.0.chars().count());
    let values = width(|row| row.1.chars().count());
    let mut text = String::new();
    for (name, value, source) in &rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:names$}  {value:values$}  {source}");
    }
    text
}

fn value(loaded: &Loaded, setting: &Arg) -> String {
    let Some(values) = loaded.matches.get_raw(setting.get_id().as_str()) else {
        return UNSET.to_owned();
    };
    if setting.is_hide_env_values_set() {
        return MASK.to_owned();
    }
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    visible(&values.join(",")).to_string()
}

fn source(loaded: &Loaded, setting: &Arg) -> String {
    match loaded.source(setting) {
        Source::Flag => format!("flag --{}", name(setting)),
        Source::Environment => format!("environment {}", environment(setting)),
        Source::File(path) => format!("file {}", path.display()),
        Source::Default => "default".to_owned(),
    }
}
