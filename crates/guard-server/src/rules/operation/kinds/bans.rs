//! Bans of addresses and blocks, and lifting them.

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};

use super::add;
use crate::rules::document::problem;
use crate::rules::network::Network;
use crate::rules::operation::{Field, Kind, Schema};

/// Bans an address or a CIDR block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// The address or block.
    pub ip: String,
}

impl Kind for Ban {
    const SCHEMA: Schema = Schema {
        kind: "ban",
        collection: "bans",
        command: Some("ban"),
        help: "Ban an address or a CIDR block",
        fields: &[Field::key("ip", "IP", "Such as 192.0.2.7 or 192.0.2.0/24")],
    };

    fn subject(&self) -> &str {
        &self.ip
    }

    fn normalize(&mut self) -> Result<(), RulesError> {
        self.ip = network(&self.ip)?;
        Ok(())
    }

    fn apply(&self, rules: &mut DynamicRules) {
        add(&mut rules.ip_blacklist, &self.ip);
    }

    fn describe(&self) -> String {
        format!("ban {}", self.ip)
    }

    fn describe_removal(&self) -> String {
        format!("unban {}", self.ip)
    }
}

/// Lifts any ban of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unban {
    /// The address.
    pub ip: String,
}

impl Kind for Unban {
    const SCHEMA: Schema = Schema {
        kind: "unban",
        collection: "unbans",
        // `guard-server rules unban` removes a ban.
        command: None,
        help: "Lift any ban of an address",
        fields: &[Field::key("ip", "IP", "Such as 192.0.2.7")],
    };
    const TOPIC: &'static str = Ban::TOPIC;

    fn subject(&self) -> &str {
        &self.ip
    }

    fn normalize(&mut self) -> Result<(), RulesError> {
        self.ip = network(&self.ip)?;
        if self.ip.contains('/') {
            return Err(problem(
                "ip",
                "guards can only unban single addresses; remove the ban of the block instead",
            ));
        }
        Ok(())
    }

    fn apply(&self, rules: &mut DynamicRules) {
        rules.ip_blacklist.retain(|banned| *banned != self.ip);
        add(&mut rules.ip_whitelist, &self.ip);
    }

    fn describe(&self) -> String {
        format!("unban {}", self.ip)
    }

    fn describe_removal(&self) -> String {
        format!("no longer unban {}", self.ip)
    }
}

fn network(text: &str) -> Result<String, RulesError> {
    let network = Network::parse(text).ok_or_else(|| {
        problem(
            "ip",
            format!(
                "{text:?} is neither an address nor a CIDR block; give one, such as 192.0.2.0/24"
            ),
        )
    })?;
    Ok(network.to_string())
}
