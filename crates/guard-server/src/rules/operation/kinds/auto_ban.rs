//! Bans that guards make by themselves.

use guard_wire::rules::DynamicRules;
use serde::{Deserialize, Serialize};

use crate::rules::operation::{Field, Kind, Schema, Takes};

/// Has guards ban a client after a number of suspicious requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoBan {
    /// The number of suspicious requests.
    pub threshold: i64,
    /// The length of the ban in seconds; by default as the guard is configured.
    #[serde(default)]
    pub ban_s: Option<i64>,
}

impl Kind for AutoBan {
    const SCHEMA: Schema = Schema {
        kind: "auto_ban",
        collection: "auto-ban",
        command: Some("auto-ban"),
        help: "Have guards ban a client after a number of suspicious requests",
        fields: &[
            Field::value(
                "threshold",
                "THRESHOLD",
                "The number of suspicious requests",
                Takes::Number,
            ),
            Field::value(
                "ban_s",
                "DURATION",
                "How long such a ban lasts; by default as the guard is configured",
                Takes::Seconds,
            )
            .option("ban")
            .optional(),
        ],
    };

    fn apply(&self, rules: &mut DynamicRules) {
        rules.auto_ban_threshold = Some(self.threshold);
        rules.auto_ban_duration = self.ban_s.or(rules.auto_ban_duration);
    }

    fn field_of(document_field: &str) -> String {
        let is_duration = document_field.ends_with("duration");
        if is_duration { "ban_s" } else { "threshold" }.to_owned()
    }

    fn describe(&self) -> String {
        let threshold = self.threshold;
        match self.ban_s {
            None => format!("ban after {threshold} suspicious requests"),
            Some(seconds) => format!("ban for {seconds} s after {threshold} suspicious requests"),
        }
    }

    fn describe_removal(&self) -> String {
        "leave automatic bans as configured".to_owned()
    }
}
