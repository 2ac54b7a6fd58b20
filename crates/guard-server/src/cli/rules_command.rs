//! `guard-server rules`: what can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{Span, SpanRelativeTo};

pub use super::operation_command::OperationCommand;

/// What can be done with rules. Works beside a running server, which notices
/// within half a second.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Check a rules document and give it to the agents of the project
    /// `default`; its version must be above the stored one
    Set {
        /// The document, JSON
        file: PathBuf,
        /// What goes down in history
        #[command(flatten)]
        note: Note,
    },
    /// Print the document in force, or that of a version
    Show {
        /// One of `rules history`
        version: Option<i64>,
    },
    /// An operation.
    #[command(flatten)]
    Operation(OperationCommand),
    /// Lift the ban of an address or a CIDR block
    Unban {
        /// Such as 192.0.2.7 or 192.0.2.0/24
        ip: String,
        /// What goes down in history
        #[command(flatten)]
        note: Note,
    },
    /// List the operations in force: what, until when, by whom and why
    List,
    /// Check a document and keep it as the draft; without one print the draft
    Draft {
        /// The document, JSON
        file: Option<PathBuf>,
        /// Take the draft back
        #[arg(long, conflicts_with_all = ["file", "author"])]
        discard: bool,
        /// Who
        #[arg(long)]
        author: Option<String>,
    },
    /// Print what publishing the draft would change
    Diff,
    /// Publish the draft
    Publish {
        /// What goes down in history
        #[command(flatten)]
        note: Note,
    },
    /// List the versions, newest first
    History,
    /// Tell which agents have the rules in force, or a version of them or a later one
    Who {
        /// One of `rules history`
        version: Option<i64>,
    },
    /// Go back to what a version said
    Rollback {
        /// One of `rules history`
        version: i64,
        /// What goes down in history
        #[command(flatten)]
        note: Note,
    },
}

/// For how long an operation is in force, and what goes down in history.
#[derive(Debug, Args)]
pub struct Term {
    /// Such as 90s, 15m, 2h or 7d; without it until it is taken back
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    pub seconds: Option<i64>,
    /// Take it back; how many, how long and on or off need not be said
    #[arg(long, conflicts_with = "seconds")]
    pub remove: bool,
    /// What goes down in history
    #[command(flatten)]
    pub note: Note,
}

/// What goes down in history.
#[derive(Debug, Args)]
pub struct Note {
    /// Why
    #[arg(long)]
    pub reason: Option<String>,
    /// Who
    #[arg(long)]
    pub author: Option<String>,
    /// Do it even if it may lock out legitimate clients, or disarms the guards
    #[arg(long)]
    pub yes: bool,
}

/// Reads a duration in whole seconds.
pub(super) fn seconds(text: &str) -> Result<i64, String> {
    let remedy = || "give a number and a unit, such as 90s, 15m, 2h or 7d".to_owned();
    let span: Span = text.parse().map_err(|_| remedy())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let duration = duration.map_err(|_| remedy())?;
    if duration.subsec_nanos() != 0 {
        return Err("give whole seconds".to_owned());
    }
    Ok(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::config::{Args, Command};

    fn parsed(arguments: &[&str]) -> Result<Option<Command>, String> {
        let all = [&["guard-server", "rules"], arguments].concat();
        let parsed = Args::try_parse_from(all).map_err(|error| error.to_string());
        Ok(parsed?.command)
    }

    #[test]
    fn a_mistyped_option_is_no_pattern_and_a_pattern_with_hyphens_comes_behind_two() {
        let refused = parsed(&["block-pattern", "--remvoe"]).unwrap_err();
        assert!(
            refused.contains("similar argument exists: '--remove'"),
            "{refused}"
        );

        let taken = parsed(&["block-pattern", "--reason=-1 a day", "--", "--x"]).unwrap();
        let Some(Command::Rules(RulesCommand::Operation(command))) = taken else {
            panic!("{taken:?}");
        };
        let (pattern, reason) = (&command.fields["pattern"], command.term.note.reason);
        assert_eq!(
            (pattern.as_str(), reason.as_deref()),
            (Some("--x"), Some("-1 a day"))
        );
    }

    #[test]
    fn a_duration_is_a_number_with_a_unit_in_whole_seconds() {
        for (text, expected) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "60", "soon", "1y", "1mo", "1.5s", "500ms"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
