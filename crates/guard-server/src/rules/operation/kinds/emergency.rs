//! Refusing all clients except a few.

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};

use crate::rules::document::normalize;
use crate::rules::operation::{Field, Kind, Schema, Takes};

/// Refuses all clients except the allowed ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// The allowed addresses and CIDR blocks.
    pub allowed: Vec<String>,
}

impl Kind for Emergency {
    const SCHEMA: Schema = Schema {
        kind: "emergency",
        collection: "emergency",
        command: Some("emergency"),
        help: "Refuse all clients except the allowed ones",
        fields: &[Field::value(
            "allowed",
            "IP",
            "An address or CIDR block to allow; can be repeated",
            Takes::List,
        )
        .option("allow")],
    };

    fn normalize(&mut self) -> Result<(), RulesError> {
        normalize(&mut self.allowed);
        Ok(())
    }

    fn apply(&self, rules: &mut DynamicRules) {
        rules.emergency_mode = true;
        rules.emergency_whitelist.clone_from(&self.allowed);
    }

    fn field_of(document_field: &str) -> String {
        document_field.replace("emergency_whitelist", "allowed")
    }

    fn describe(&self) -> String {
        if self.allowed.is_empty() {
            "emergency".to_owned()
        } else {
            format!("emergency, except for {}", self.allowed.join(", "))
        }
    }

    fn describe_removal(&self) -> String {
        "end the emergency".to_owned()
    }
}
