//! Regular expressions: for user agents, and for requests that are attacks.

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};

use super::add;
use crate::rules::document::problem;
use crate::rules::operation::{Field, Kind, Schema};
use crate::rules::pattern;

const PATTERN: Field = Field::key(
    "pattern",
    "PATTERN",
    "A regular expression without nested repetitions",
);

/// Blocks user agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserAgent {
    /// A regular expression.
    pub pattern: String,
}

impl Kind for UserAgent {
    const SCHEMA: Schema = Schema {
        kind: "user_agent",
        collection: "user-agents",
        command: Some("block-agent"),
        help: "Block the user agents that a regular expression matches",
        fields: &[PATTERN],
    };

    fn subject(&self) -> &str {
        &self.pattern
    }

    fn check_new(&self) -> Result<(), RulesError> {
        check_pattern(&self.pattern)
    }

    fn apply(&self, rules: &mut DynamicRules) {
        add(&mut rules.blocked_user_agents, &self.pattern);
    }

    fn describe(&self) -> String {
        format!("block user agent {}", self.pattern)
    }

    fn describe_removal(&self) -> String {
        format!("unblock user agent {}", self.pattern)
    }
}

/// Adds a pattern of attacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// A regular expression.
    pub pattern: String,
}

impl Kind for Pattern {
    const SCHEMA: Schema = Schema {
        kind: "pattern",
        collection: "patterns",
        command: Some("block-pattern"),
        help: "Treat requests that a regular expression matches as attacks; guards keep it until they restart",
        fields: &[PATTERN],
    };

    fn subject(&self) -> &str {
        &self.pattern
    }

    fn check_new(&self) -> Result<(), RulesError> {
        check_pattern(&self.pattern)
    }

    fn apply(&self, rules: &mut DynamicRules) {
        add(&mut rules.suspicious_patterns, &self.pattern);
    }

    fn describe(&self) -> String {
        format!("block pattern {}", self.pattern)
    }

    fn describe_removal(&self) -> String {
        format!("unblock pattern {}", self.pattern)
    }
}

fn check_pattern(text: &str) -> Result<(), RulesError> {
    pattern::check(text).map_err(|why| problem("pattern", why))
}
