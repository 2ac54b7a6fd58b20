//! Documents for guards.

use std::collections::HashSet;

use guard_wire::rules::{DynamicRules, MAX_PUBLISHED_BYTES, RulesError};
use jiff::Timestamp;

use super::network::Network;
use super::pattern;

/// The most patterns in a list. Guards try each pattern on each request.
const MAX_PATTERNS: usize = 1000;

/// Parses a document that is to be published at `now`. Addresses get the same form as in
/// operations, and no address may be both banned and unbanned.
pub(crate) fn read(json: &[u8], now: Timestamp) -> Result<DynamicRules, RulesError> {
    let mut rules = DynamicRules::for_publishing(json)?;
    check_patterns(&rules)?;
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

/// Parses a document that was accepted earlier. Refuses what would be refused today.
pub(crate) fn read_again(json: &[u8]) -> Result<DynamicRules, RulesError> {
    let rules = DynamicRules::from_json(json)?;
    rules.check_names()?;
    check_patterns(&rules)?;
    Ok(rules)
}

/// Refuses patterns that operations could not add either.
fn check_patterns(rules: &DynamicRules) -> Result<(), RulesError> {
    for (field, patterns) in [
        ("blocked_user_agents", &rules.blocked_user_agents),
        ("suspicious_patterns", &rules.suspicious_patterns),
    ] {
        if patterns.len() > MAX_PATTERNS {
            let count = patterns.len();
            return Err(problem(
                field,
                format!("{count} patterns; give {MAX_PATTERNS} at most"),
            ));
        }
        for (index, text) in patterns.iter().enumerate() {
            pattern::check(text).map_err(|why| problem(&format!("{field}[{index}]"), why))?;
        }
    }
    Ok(())
}

/// Puts addresses and blocks into their canonical form, so that equal ones are the same text.
pub(crate) fn normalize(addresses: &mut [String]) {
    for text in addresses {
        if let Some(network) = Network::parse(text) {
            *text = network.to_string();
        }
    }
}

/// Checks a document for guards and serializes it. Does not check its version, which the server
/// assigns.
pub(crate) fn write(rules: &DynamicRules) -> Result<String, RulesError> {
    check(rules)?;
    let document = serde_json::to_string(rules)?;
    if document.len() > MAX_PUBLISHED_BYTES {
        let len = document.len();
        return Err(RulesError::TooLarge {
            len,
            limit: MAX_PUBLISHED_BYTES,
        });
    }
    Ok(document)
}

/// Checks the values of a document, and that all names in it are known.
pub(crate) fn check(rules: &DynamicRules) -> Result<(), RulesError> {
    rules.validate()?;
    rules.check_names()
}

pub(crate) fn problem(field: &str, problem: impl Into<String>) -> RulesError {
    let (field, problem) = (field.to_owned(), problem.into());
    RulesError::Field { field, problem }
}
