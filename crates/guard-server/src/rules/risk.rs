//! Changes that lock out whom nobody may have meant.

use std::collections::HashSet;
use std::net::IpAddr;

use guard_wire::rules::DynamicRules;

use super::network::{Network, Networks};
use super::pattern;

/// Blocks with a shorter prefix are most of a network: 65,536 addresses of IPv4.
const WIDE: (u8, u8) = (16, 32);
/// Addresses of this machine.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// What `after` does that `before` did not, and that somebody should confirm.
pub(super) fn new(before: &DynamicRules, after: &DynamicRules, caller: &[IpAddr]) -> Vec<String> {
    let mut risks = of(after, caller);
    if !risks.is_empty() {
        let known: HashSet<_> = of(before, caller).into_iter().collect();
        risks.retain(|risk| !known.contains(risk));
    }
    risks.extend(still_banned(before, after));
    risks
}

fn of(rules: &DynamicRules, caller: &[IpAddr]) -> Vec<String> {
    let mut risks = Vec::new();
    bans(rules, caller, &mut risks);
    for text in &rules.blocked_user_agents {
        if pattern::finds_every_browser(text) {
            risks.push(format!("refuse every browser by the user agent {text}"));
        }
    }
    for text in &rules.suspicious_patterns {
        if pattern::finds_every_request(text) {
            risks.push(format!("take every request for an attack by {text}"));
        }
    }
    if rules.emergency_mode {
        emergency(rules, caller, &mut risks);
    }
    risks
}

fn bans(rules: &DynamicRules, caller: &[IpAddr], risks: &mut Vec<String>) {
    let loopback = LOOPBACK.map(Network::parse);
    for text in &rules.ip_blacklist {
        let Some(network) = Network::parse(text) else {
            continue;
        };
        if network.is_wider_than(WIDE) {
            risks.push(format!("ban the very wide block {text}"));
        }
        if loopback.iter().flatten().any(|it| network.meets(*it)) {
            risks.push(format!("ban loopback by {text}"));
        }
        for own in caller
            .iter()
            .filter(|own| !own.to_canonical().is_loopback() && network.holds(**own))
        {
            risks.push(format!("ban your own address {own} by {text}"));
        }
    }
}

fn emergency(rules: &DynamicRules, caller: &[IpAddr], risks: &mut Vec<String>) {
    let allows = |address: IpAddr| {
        let mut allowed = rules.emergency_whitelist.iter();
        allowed.any(|text| Network::parse(text).is_some_and(|network| network.holds(address)))
    };
    if rules.emergency_whitelist.is_empty() {
        risks.push("refuse everyone".to_owned());
    }
    for own in caller
        .iter()
        .filter(|own| !own.to_canonical().is_loopback() && !allows(**own))
    {
        risks.push(format!("refuse your own address {own}"));
    }
}

/// Addresses that are to be unbanned and stay banned by a block: guards let no
/// address out of one.
fn still_banned(before: &DynamicRules, after: &DynamicRules) -> Vec<String> {
    let known: HashSet<&String> = before.ip_whitelist.iter().collect();
    let unbanned = after.ip_whitelist.iter();
    let unbanned = unbanned.filter(|text| !known.contains(text));
    let banned = after.ip_blacklist.iter();
    let banned: Networks = banned.filter_map(|text| Network::parse(text)).collect();
    unbanned
        .filter_map(|text| {
            let block = banned.around(text.parse().ok()?)?;
            Some(format!(
                "leave {text} banned by {block}, as guards let no address out of a block"
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risks(banned: &str, caller: &str) -> usize {
        let rules = DynamicRules {
            ip_blacklist: vec![banned.to_owned()],
            ..DynamicRules::default()
        };
        new(&DynamicRules::default(), &rules, &[caller.parse().unwrap()]).len()
    }

    #[test]
    fn a_ban_of_oneself_of_loopback_or_of_everyone_is_a_risk() {
        let caller = "198.51.100.7";
        for banned in [
            caller,
            "198.51.100.0/24",
            "::ffff:198.51.100.7",
            "::ffff:198.51.100.0/120",
            "127.0.0.1",
            "127.3.0.0/16",
            "::1",
            "::ffff:127.0.0.1",
            "10.0.0.0/8",
            "2001::/16",
        ] {
            assert_eq!(risks(banned, caller), 1, "{banned}");
        }
        for everyone in ["0.0.0.0/0", "::ffff:0:0/96"] {
            assert_eq!(risks(everyone, caller), 3, "{everyone}");
        }
        assert_eq!(risks("::/0", caller), 2);
        assert_eq!(risks("192.0.2.0/24", caller), 0);
        assert_eq!(risks("198.51.100.0/24", "::ffff:198.51.100.7"), 1);
    }

    #[test]
    fn a_pattern_that_is_found_everywhere_is_a_risk() {
        let agents = |pattern: &str| DynamicRules {
            blocked_user_agents: vec![pattern.to_owned()],
            ..DynamicRules::default()
        };
        let attacks = |pattern: &str| DynamicRules {
            suspicious_patterns: vec![pattern.to_owned()],
            ..DynamicRules::default()
        };
        let count = |rules| new(&DynamicRules::default(), &rules, &[]).len();
        for everything in [".*", ".", "x?", "[a-z]+", "mozilla", "a|"] {
            assert_eq!(count(agents(everything)), 1, "{everything}");
        }
        for some in ["sqlmap", "curl/", "^$", "Chrome/1"] {
            assert_eq!(count(agents(some)), 0, "{some}");
        }
        for everything in [".*", ".", "/", "x?", "^"] {
            assert_eq!(count(attacks(everything)), 1, "{everything}");
        }
        for some in ["\\.\\./", "union\\s+select", "^$"] {
            assert_eq!(count(attacks(some)), 0, "{some}");
        }
    }

    #[test]
    fn an_unban_of_an_address_in_a_banned_block_is_a_risk_once() {
        let rules = DynamicRules {
            ip_blacklist: vec!["192.0.2.0/24".to_owned()],
            ip_whitelist: vec!["192.0.2.7".to_owned(), "192.0.3.7".to_owned()],
            ..DynamicRules::default()
        };
        let risks = new(&DynamicRules::default(), &rules, &[]);
        assert_eq!(risks.len(), 1, "{risks:?}");
        assert!(risks[0].contains("192.0.2.7") && risks[0].contains("192.0.2.0/24"));
        assert_eq!(new(&rules, &rules, &[]).len(), 0);
    }

    #[test]
    fn each_of_many_unbans_is_told_with_the_block_that_it_is_in() {
        let many = 0..60_000_u32;
        let address = |n: u32| std::net::Ipv4Addr::from_bits(n * 256 + 7).to_string();
        let rules = DynamicRules {
            ip_blacklist: many.clone().map(|n| format!("{}/29", address(n))).collect(),
            ip_whitelist: many.clone().map(address).collect(),
            ..DynamicRules::default()
        };
        let before = DynamicRules {
            ip_blacklist: rules.ip_blacklist.clone(),
            ip_whitelist: rules.ip_whitelist[1..].to_vec(),
            ..DynamicRules::default()
        };
        let none = DynamicRules::default();
        assert_eq!(still_banned(&none, &rules).len(), many.len());
        let told = still_banned(&before, &rules);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("leave 0.0.0.7 banned by 0.0.0.0/29"),
            "{told:?}"
        );
    }

    #[test]
    fn what_was_there_before_is_no_new_risk() {
        let rules = DynamicRules {
            emergency_mode: true,
            ..DynamicRules::default()
        };
        assert_eq!(new(&rules, &rules, &[]).len(), 0);
        assert_eq!(
            new(&DynamicRules::default(), &rules, &[]),
            ["refuse everyone"]
        );
    }
}
