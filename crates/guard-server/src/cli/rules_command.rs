//! `guard-server rules`: what can be said on the command line.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use jiff::{Span, SpanRelativeTo};

use crate::rules::operation::{Feature, Operation};

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

/// An operation upon the published rules.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// Ban an address or a CIDR block
    Ban {
        /// Such as 192.0.2.7 or 192.0.2.0/24
        ip: String,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Block a country
    BlockCountry {
        /// ISO 3166-1 alpha-2, such as FR
        country: String,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Limit the requests of each client, to one path or to all together
    Limit {
        /// So many requests
        #[arg(required_unless_present = "remove")]
        requests: Option<i64>,
        /// in this time, such as 60s or 5m
        #[arg(long, value_name = "DURATION", value_parser = seconds, required_unless_present = "remove")]
        per: Option<i64>,
        /// The path; without it all of them
        #[arg(long, value_name = "PATH")]
        endpoint: Option<String>,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Block the user agents that a regular expression finds
    BlockAgent {
        /// Without nested repetitions
        pattern: String,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Block the addresses of a cloud
    BlockCloud {
        /// Such as AWS
        cloud: String,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Take requests for attacks in which a regular expression is found; guards
    /// keep it until they restart
    BlockPattern {
        /// Without nested repetitions
        pattern: String,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Turn a feature of the guards on or off
    Toggle {
        /// Which one
        #[arg(value_parser = features())]
        feature: Feature,
        /// How it is to be
        #[arg(required_unless_present = "remove")]
        state: Option<Switch>,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Have guards ban by themselves after so many suspicious requests
    AutoBan {
        /// So many suspicious requests
        #[arg(required_unless_present = "remove")]
        threshold: Option<i64>,
        /// How long such a ban is; without it as the guard is configured
        #[arg(long, value_name = "DURATION", value_parser = seconds)]
        ban: Option<i64>,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
    /// Refuse everyone but the allowed
    Emergency {
        /// Addresses and CIDR blocks that are let in
        #[arg(long = "allow", value_name = "IP")]
        allowed: Vec<String>,
        /// For how long, and what goes down in history
        #[command(flatten)]
        term: Term,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
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

impl OperationCommand {
    /// What is to be done. What need not be said to take it back is made up.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Ban { ip, .. } => Operation::Ban { ip: ip.clone() },
            Self::BlockCountry { country, .. } => Operation::Country {
                country: country.clone(),
            },
            Self::Limit {
                requests,
                per,
                endpoint: None,
                ..
            } => Operation::RateLimit {
                requests: requests.unwrap_or(1),
                window_s: per.unwrap_or(1),
            },
            Self::Limit {
                requests,
                per,
                endpoint: Some(endpoint),
                ..
            } => Operation::Limit {
                endpoint: endpoint.clone(),
                requests: requests.unwrap_or(1),
                window_s: per.unwrap_or(1),
            },
            Self::BlockAgent { pattern, .. } => Operation::UserAgent {
                pattern: pattern.clone(),
            },
            Self::BlockCloud { cloud, .. } => Operation::Cloud {
                cloud: cloud.clone(),
            },
            Self::BlockPattern { pattern, .. } => Operation::Pattern {
                pattern: pattern.clone(),
            },
            Self::Toggle { feature, state, .. } => Operation::Feature {
                feature: *feature,
                enabled: *state != Some(Switch::Off),
            },
            Self::AutoBan { threshold, ban, .. } => Operation::AutoBan {
                threshold: threshold.unwrap_or(1),
                ban_s: *ban,
            },
            Self::Emergency { allowed, .. } => Operation::Emergency {
                allowed: allowed.clone(),
            },
        }
    }

    /// For how long, and what goes down in history.
    pub const fn term(&self) -> &Term {
        match self {
            Self::Ban { term, .. }
            | Self::BlockCountry { term, .. }
            | Self::Limit { term, .. }
            | Self::BlockAgent { term, .. }
            | Self::BlockCloud { term, .. }
            | Self::BlockPattern { term, .. }
            | Self::Toggle { term, .. }
            | Self::AutoBan { term, .. }
            | Self::Emergency { term, .. } => term,
        }
    }
}

/// Reads the name of a feature.
fn features() -> impl TypedValueParser<Value = Feature> {
    let names = Feature::ALL.map(|feature| {
        let name = feature.name();
        PossibleValue::new(name).help(format!("`enable_{name}`"))
    });
    PossibleValuesParser::new(names).try_map(|name| {
        let mut all = Feature::ALL.into_iter();
        let feature = all.find(|feature| feature.name() == name);
        feature.ok_or("no such feature")
    })
}

/// Reads a duration in whole seconds.
fn seconds(text: &str) -> Result<i64, String> {
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
        let Some(Command::Rules(RulesCommand::Operation(OperationCommand::BlockPattern {
            pattern,
            term,
        }))) = taken
        else {
            panic!("{taken:?}");
        };
        let reason = term.note.reason.as_deref();
        assert_eq!((pattern.as_str(), reason), ("--x", Some("-1 a day")));
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
