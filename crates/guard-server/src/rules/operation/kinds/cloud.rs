//! Blocking the addresses of clouds.

use guard_wire::rules::DynamicRules;
use serde::{Deserialize, Serialize};

use super::add;
use crate::rules::operation::{Field, Kind, Schema};

/// Blocks a cloud's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// Its name.
    pub cloud: String,
}

impl Kind for Cloud {
    const SCHEMA: Schema = Schema {
        kind: "cloud",
        collection: "clouds",
        command: Some("block-cloud"),
        help: "Block the addresses of a cloud",
        fields: &[Field::key("cloud", "CLOUD", "Such as AWS")],
    };

    fn subject(&self) -> &str {
        &self.cloud
    }

    fn apply(&self, rules: &mut DynamicRules) {
        add(&mut rules.blocked_cloud_providers, &self.cloud);
    }

    fn describe(&self) -> String {
        format!("block cloud {}", self.cloud)
    }

    fn describe_removal(&self) -> String {
        format!("unblock cloud {}", self.cloud)
    }
}
