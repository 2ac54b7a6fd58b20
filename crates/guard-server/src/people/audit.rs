//! The audit log: every change, with its author, in the order of time.

use std::convert::Infallible;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::schema::text_schema;

/// The largest value of `before` or `after`, in bytes of JSON. A larger one is replaced by its size.
pub const MAX_VALUE: usize = 16 * 1024;
/// The longest `object`, in characters.
const MAX_OBJECT: usize = 1000;

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A person who signed in.
    Person(String),
    /// A program, by the label of its token.
    Token(String),
    /// Somebody with access to the data directory.
    Cli,
    /// The server itself, for example when a ban ends.
    Server,
}

impl Who {
    /// Whether a person decided it, not a program or the server.
    pub const fn is_human(&self) -> bool {
        matches!(self, Self::Person(_) | Self::Cli)
    }
}

impl Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "person:{name}"),
            Self::Token(label) => write!(f, "token:{label}"),
            Self::Cli => f.write_str("cli"),
            Self::Server => f.write_str("server"),
        }
    }
}

impl FromStr for Who {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once(':') {
            Some(("person", name)) => Self::Person(name.to_owned()),
            Some(("token", label)) => Self::Token(label.to_owned()),
            _ if text == "cli" => Self::Cli,
            _ => Self::Server,
        })
    }
}

text_schema!(
    Who,
    "Who makes a change: `person:NAME`, `token:LABEL`, `cli` for somebody with access to the data \
     directory, or `server`.",
    "person:anna"
);

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Who makes a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub who: Who,
    /// The address of the client, if the change came over the network.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Somebody with access to the data directory.
    pub const CLI: Self = Self {
        who: Who::Cli,
        address: None,
    };
    /// The server itself.
    pub const SERVER: Self = Self {
        who: Who::Server,
        address: None,
    };
}

/// What was changed. Secrets never belong into it: say that one changed, not its value.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What was done, such as `token.add`.
    pub action: &'static str,
    /// The project, if it belongs to one.
    pub project: Option<String>,
    /// What it was done to, such as the id of a token.
    pub object: String,
    /// What is different: before.
    pub before: Value,
    /// What is different: after.
    pub after: Value,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: Who,
    /// From where.
    #[schema(value_type = Option<String>, required = true)]
    pub address: Option<IpAddr>,
    /// What was done.
    pub action: String,
    /// In which project.
    #[schema(required = true)]
    pub project: Option<String>,
    /// To what.
    pub object: String,
    /// What it was before.
    pub before: Value,
    /// What it is now.
    pub after: Value,
}

impl AuditEntry {
    /// The entry for a change.
    pub fn new(actor: &Actor, change: Change, at: Timestamp) -> Self {
        Self {
            at,
            who: actor.who.clone(),
            address: actor.address,
            action: change.action.to_owned(),
            project: change.project,
            object: change.object.chars().take(MAX_OBJECT).collect(),
            before: bounded(change.before),
            after: bounded(change.after),
        }
    }
}

fn bounded(value: Value) -> Value {
    let bytes = value.to_string().len();
    if bytes <= MAX_VALUE {
        return value;
    }
    json!({ "left_out": "too large", "bytes": bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_read_back_as_it_was_written() {
        for who in [
            Who::Person("anna".to_owned()),
            Who::Token("ci: nightly".to_owned()),
            Who::Cli,
            Who::Server,
        ] {
            assert_eq!(who.to_string().parse(), Ok(who));
        }
    }

    #[test]
    fn large_values_are_replaced_by_their_size() {
        let change = Change {
            action: "rules.publish",
            object: "x".repeat(2000),
            after: json!("x".repeat(MAX_VALUE)),
            ..Change::default()
        };
        let entry = AuditEntry::new(&Actor::CLI, change, Timestamp::UNIX_EPOCH);
        assert_eq!(entry.after["bytes"], MAX_VALUE + 2);
        assert_eq!((entry.object.len(), entry.before), (1000, Value::Null));
    }
}
