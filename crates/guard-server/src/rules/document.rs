//! Documents that are to be given to guards.

use std::collections::HashSet;

use guard_wire::rules::{DynamicRules, RulesError};
use jiff::Timestamp;

use super::network::Network;
use super::pattern;

/// Reads a document that is to be published at `now`. Addresses are written as
/// operations write them, and none is both to be banned and to be unbanned.
pub(super) fn read(json: &[u8], now: Timestamp) -> Result<DynamicRules, RulesError> {
    let mut rules = judged(json)?;
    if rules.is_expired(now) {
        let end = rules.expires_at.unwrap_or_default();
        return Err(problem(
            "expires_at",
            format!("{end:?} is past; give a later time, or none for no end"),
        ));
    }
    for addresses in [
        &mut rules.ip_blacklist,
        &mut rules.ip_whitelist,
        &mut rules.emergency_whitelist,
    ] {
        normalize(addresses);
    }
    let banned: HashSet<&String> = rules.ip_blacklist.iter().collect();
    for (index, text) in rules.ip_whitelist.iter().enumerate() {
        if banned.contains(text) {
            return Err(problem(
                &format!("ip_whitelist[{index}]"),
                format!("{text} is in `ip_blacklist` too; leave it out of one of them"),
            ));
        }
    }
    Ok(rules)
}

/// Reads a document; patterns that operations could not add are refused here too.
pub(super) fn judged(json: &[u8]) -> Result<DynamicRules, RulesError> {
    let rules = DynamicRules::for_publishing(json)?;
    for (field, patterns) in [
        ("blocked_user_agents", &rules.blocked_user_agents),
        ("suspicious_patterns", &rules.suspicious_patterns),
    ] {
        for (index, text) in patterns.iter().enumerate() {
            pattern::check(text).map_err(|why| problem(&format!("{field}[{index}]"), why))?;
        }
    }
    Ok(rules)
}

/// Writes addresses and blocks in the form in which equal ones are equal.
pub(super) fn normalize(addresses: &mut [String]) {
    for text in addresses {
        if let Some(network) = Network::parse(text) {
            *text = network.to_string();
        }
    }
}

/// Checks a document as it is to be given to guards.
pub(super) fn check(rules: &DynamicRules) -> Result<(), RulesError> {
    let document = serde_json::to_vec(rules)?;
    DynamicRules::for_publishing(&document).map(drop)
}

pub(super) fn problem(field: &str, problem: impl Into<String>) -> RulesError {
    let (field, problem) = (field.to_owned(), problem.into());
    RulesError::Field { field, problem }
}
