//! `guard-server projects` and `guard-server keys`: the command-line arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::DEFAULT_PROJECT;

/// Show, create, change or remove projects. Works while a server runs.
#[derive(Debug, Subcommand)]
pub enum ProjectsCommand {
    /// List the projects with their settings
    List,
    /// Print a project's settings, counts and storage as JSON
    Show {
        /// Its name
        name: String,
    },
    /// Create a project
    Create {
        /// Its name: 1 to 64 of a-z, 0-9, - and _
        name: String,
    },
    /// Change settings of a project; those that are not given stay
    Set {
        /// Its name
        name: String,
        /// The settings.
        #[command(flatten)]
        settings: SettingArgs,
    },
    /// Remove a project with all its records, rules and keys, for good
    Remove {
        /// Its name
        name: String,
        /// Confirms it
        #[arg(long)]
        yes: bool,
    },
}

/// Settings of a project.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct SettingArgs {
    /// Days that records are kept
    #[arg(long, value_name = "N")]
    pub retention_days: Option<u32>,
    /// Bytes of records that are kept, or none for no such limit
    #[arg(long, value_name = "N|none", value_parser = limit::<u64>)]
    pub retention_bytes: Option<Limit<u64>>,
    /// Hours that single metrics are kept
    #[arg(long, value_name = "N")]
    pub raw_metrics_hours: Option<u32>,
    /// Whether batches must be encrypted
    #[arg(long, value_name = "true|false")]
    pub require_encryption: Option<bool>,
    /// Whether requests must be signed
    #[arg(long, value_name = "true|false")]
    pub require_signature: Option<bool>,
    /// Addresses and CIDR blocks that may use the project's keys, with commas; empty for all
    #[arg(long, value_name = "CIDR,...")]
    pub ip_allowlist: Option<String>,
    /// Records that the project may send in a minute, or none for no such limit
    #[arg(long, value_name = "N|none", value_parser = limit::<u32>)]
    pub quota_per_minute: Option<Limit<u32>>,
    /// A file with the encryption key, or - for standard input; an empty one removes the key
    #[arg(long, value_name = "FILE")]
    pub encryption_key_file: Option<PathBuf>,
    /// A file with the signing secret, or - for standard input; an empty one removes the secret
    #[arg(long, value_name = "FILE")]
    pub signing_secret_file: Option<PathBuf>,
}

/// A number, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<T>(pub Option<T>);

fn limit<T: std::str::FromStr>(text: &str) -> Result<Limit<T>, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let number = text
        .parse()
        .map_err(|_| "give a number, or none".to_owned())?;
    Ok(Limit(Some(number)))
}

/// List, create or revoke the API keys of a project. Works while a server runs.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The project
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PROJECT, global = true)]
    pub project: String,
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys: id, label, who created them and when, last use
    List,
    /// Create a key and print it, this once
    Create {
        /// Tells it from the others, such as the name of the application
        label: String,
    },
    /// Revoke a key at once
    Revoke {
        /// Its id from the list
        id: String,
    },
}
