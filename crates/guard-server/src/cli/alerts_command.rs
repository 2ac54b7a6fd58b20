//! `guard-server alerts` and `guard-server channels`: the command-line arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::DEFAULT_PROJECT;

/// Show and change the alerts of a project. Works while a server runs; a change takes effect with
/// its next evaluation.
#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// The project
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PROJECT, global = true)]
    pub project: String,
    /// What to do.
    #[command(subcommand)]
    pub command: AlertsCommand,
}

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// List the alerts, and where they stand
    List,
    /// Print the settings of an alert as JSON
    Show {
        /// Its id, from `alerts list`
        id: String,
    },
    /// Add an alert from a file with its settings as JSON
    Add {
        /// The file, or - for the standard input
        file: PathBuf,
    },
    /// Change an alert by a file with the settings that change, as JSON
    Set {
        /// Its id, from `alerts list`
        id: String,
        /// The file, or - for the standard input
        file: PathBuf,
    },
    /// Mute an alert for a while
    Mute {
        /// Its id, from `alerts list`
        id: String,
        /// For how many seconds; 0 ends the mute
        seconds: u64,
    },
    /// Print what happened to an alert, newest first
    History {
        /// Its id, from `alerts list`
        id: String,
        /// The most lines
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Remove an alert with its history
    Remove {
        /// Its id, from `alerts list`
        id: String,
    },
}

/// Show and change the channels of the server. Works while it runs.
#[derive(Debug, Subcommand)]
pub enum ChannelsCommand {
    /// List the channels, without their secrets
    List,
    /// Add a channel from a file with its settings as JSON
    Add {
        /// The file, or - for the standard input
        file: PathBuf,
    },
    /// Remove a channel that no alert uses
    Remove {
        /// Its id, from `channels list`
        id: String,
    },
}
