//! Switches for the guard's features.

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};

use crate::rules::document::problem;
use crate::rules::operation::{Field, Kind, Schema, Takes};

/// The features of the guard that can be turned on and off.
const FEATURES: &[&str] = &[
    "penetration_detection",
    "ip_banning",
    "rate_limiting",
    "rate_limit_auto_ban",
];

/// Turns a feature of the guard on or off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name without `enable_`.
    pub feature: String,
    /// Whether it is on.
    pub enabled: bool,
}

impl Kind for Feature {
    const SCHEMA: Schema = Schema {
        kind: "feature",
        collection: "features",
        command: Some("toggle"),
        help: "Turn a feature of the guards on or off",
        fields: &[
            Field::key("feature", "FEATURE", "The feature to turn on or off").one_of(FEATURES),
            Field::value("enabled", "STATE", "on or off", Takes::Switch),
        ],
    };

    fn subject(&self) -> &str {
        &self.feature
    }

    fn normalize(&mut self) -> Result<(), RulesError> {
        if FEATURES.contains(&self.feature.as_str()) {
            return Ok(());
        }
        let (given, known) = (&self.feature, FEATURES.join(", "));
        Err(problem(
            "feature",
            format!("there is no feature {given:?}; give one of {known}"),
        ))
    }

    fn apply(&self, rules: &mut DynamicRules) {
        let switch = match self.feature.as_str() {
            "penetration_detection" => &mut rules.enable_penetration_detection,
            "ip_banning" => &mut rules.enable_ip_banning,
            "rate_limiting" => &mut rules.enable_rate_limiting,
            "rate_limit_auto_ban" => &mut rules.enable_rate_limit_auto_ban,
            _ => return,
        };
        *switch = Some(self.enabled);
    }

    fn describe(&self) -> String {
        let state = if self.enabled { "on" } else { "off" };
        format!("turn {} {state}", self.feature)
    }

    fn describe_removal(&self) -> String {
        format!("leave {} as configured", self.feature)
    }
}
