//! Blocking countries.

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};

use super::add;
use crate::rules::operation::{Field, Kind, Schema};

/// Blocks a country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Country {
    /// ISO 3166-1 alpha-2.
    pub country: String,
}

impl Kind for Country {
    const SCHEMA: Schema = Schema {
        kind: "country",
        collection: "countries",
        command: Some("block-country"),
        help: "Block a country",
        fields: &[Field::key(
            "country",
            "COUNTRY",
            "ISO 3166-1 alpha-2, such as FR",
        )],
    };

    fn subject(&self) -> &str {
        &self.country
    }

    fn normalize(&mut self) -> Result<(), RulesError> {
        self.country.make_ascii_uppercase();
        Ok(())
    }

    fn apply(&self, rules: &mut DynamicRules) {
        add(&mut rules.blocked_countries, &self.country);
    }

    fn describe(&self) -> String {
        format!("block country {}", self.country)
    }

    fn describe_removal(&self) -> String {
        format!("unblock country {}", self.country)
    }
}
