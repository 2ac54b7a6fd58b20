//! `guard-server rules`: the command-line arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{Span, SpanRelativeTo};

pub use super::operation_command::OperationCommand;
use crate::DEFAULT_PROJECT;

/// Show or change the rules. Works while a server runs; the server notices a change within half a
/// second.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// The project
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PROJECT, global = true)]
    pub project: String,
    /// What to do.
    #[command(subcommand)]
    pub command: RulesCommand,
}

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Check a rules document and give it to the agents of the project; its version must be above the
    /// stored one
    Set {
        /// The document, JSON
        file: PathBuf,
        /// The note for the history.
        #[command(flatten)]
        note: Note,
    },
    /// Print the document in force, or that of a version
    Show {
        /// A version from `rules history`
        version: Option<i64>,
    },
    /// An operation.
    #[command(flatten)]
    Operation(OperationCommand),
    /// Lift the ban of an address or a CIDR block
    Unban {
        /// For example 192.0.2.7 or 192.0.2.0/24
        ip: String,
        /// The note for the history.
        #[command(flatten)]
        note: Note,
    },
    /// List the operations in force: what, until when, by whom and why
    List,
    /// Check a document and save it as the draft; without a document, print the draft
    Draft {
        /// The document, JSON
        file: Option<PathBuf>,
        /// Discard the draft
        #[arg(long, conflicts_with_all = ["file", "author"])]
        discard: bool,
        /// Who saves the draft
        #[arg(long)]
        author: Option<String>,
    },
    /// Print what publishing the draft would change
    Diff,
    /// Publish the draft
    Publish {
        /// The note for the history.
        #[command(flatten)]
        note: Note,
    },
    /// List the versions, newest first
    History,
    /// Show which agents have the rules in force, or a given version or a later one
    Who {
        /// A version from `rules history`
        version: Option<i64>,
    },
    /// Restore the rules of an earlier version
    Rollback {
        /// A version from `rules history`
        version: i64,
        /// The note for the history.
        #[command(flatten)]
        note: Note,
    },
}

/// How long an operation lasts, and the note for the history.
#[derive(Debug, Args)]
pub struct Term {
    /// How long it lasts, such as 90s, 15m, 2h or 7d; by default until it is removed
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    pub seconds: Option<i64>,
    /// Remove the operation; a count, a time span, and on or off can then be left out
    #[arg(long, conflicts_with = "seconds")]
    pub remove: bool,
    /// The note for the history.
    #[command(flatten)]
    pub note: Note,
}

/// The note for the history.
#[derive(Debug, Args)]
pub struct Note {
    /// Why the change is made, for the history
    #[arg(long)]
    pub reason: Option<String>,
    /// Who makes the change, for the history
    #[arg(long)]
    pub author: Option<String>,
    /// Apply the change even if it may lock out legitimate clients or disarms the guards
    #[arg(long)]
    pub yes: bool,
}

/// Parses a whole number.
pub(super) fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "give a whole number".to_owned())
}

/// Parses a duration into whole seconds.
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
    fn a_pattern_that_starts_with_a_hyphen_needs_two_hyphens_before_it() {
        let refused = parsed(&["block-pattern", "--remvoe"]).unwrap_err();
        assert!(
            refused.contains("similar argument exists: '--remove'"),
            "{refused}"
        );

        let taken = parsed(&["block-pattern", "--reason=-1 a day", "--", "--x"]).unwrap();
        let Some(Command::Rules(RulesArgs {
            command: RulesCommand::Operation(command),
            ..
        })) = taken
        else {
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
