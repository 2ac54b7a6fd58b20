//! Finds changes that may lock out legitimate clients, or disarm the guards.

use std::collections::HashSet;
use std::net::IpAddr;

use guard_wire::rules::DynamicRules;

use super::network::{Network, Networks, covered};
use super::pattern;

/// Blocks with a shorter prefix are a large part of a network: more than 65,536 addresses of IPv4.
const WIDE: (u8, u8) = (16, 32);
/// All other blocks together count as wide from this share of IPv4 or IPv6 on: 1/128, which is 512
/// blocks of /16.
const WIDE_SHARE: u32 = 7;
/// More blocked countries than this cover most visitors of many sites.
const MANY_COUNTRIES: usize = 50;
/// A limit below one request per this many seconds makes a site unusable.
const SLOWEST_S: i64 = 60;
/// The same for a single path.
const SLOWEST_ENDPOINT_S: i64 = 3600;
/// The addresses of this machine.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// The risks of `after` that `before` did not have. Somebody should confirm them.
pub(super) fn new(before: &DynamicRules, after: &DynamicRules, caller: &[IpAddr]) -> Vec<String> {
    let mut risks = of(after, caller);
    if !risks.is_empty() {
        let known: HashSet<_> = of(before, caller).into_iter().collect();
        risks.retain(|risk| !known.contains(risk));
    }
    patterns(before, after, &mut risks);
    risks.extend(narrower_countries(before, after));
    risks.extend(still_banned(before, after));
    risks
}

fn of(rules: &DynamicRules, caller: &[IpAddr]) -> Vec<String> {
    let mut risks = Vec::new();
    bans(rules, caller, &mut risks);
    if rules.emergency_mode {
        emergency(rules, caller, &mut risks);
    }
    limits(rules, &mut risks);
    let countries: HashSet<_> = rules.blocked_countries.iter().collect();
    if countries.len() > MANY_COUNTRIES {
        risks.push(format!("block more than {MANY_COUNTRIES} countries"));
    }
    for (switch, what) in [
        (
            rules.enable_penetration_detection,
            "the detection of attacks",
        ),
        (rules.enable_ip_banning, "banning"),
    ] {
        if switch == Some(false) {
            risks.push(format!("turn {what} off"));
        }
    }
    risks
}

/// Checks only new patterns: a confirmed pattern is not checked again with each change.
fn patterns(before: &DynamicRules, after: &DynamicRules, risks: &mut Vec<String>) {
    for text in added(&before.blocked_user_agents, &after.blocked_user_agents) {
        if pattern::finds_most_browsers(text) {
            risks.push(format!(
                "refuse most browsers, whose user agents {text} matches"
            ));
        }
    }
    for text in added(&before.suspicious_patterns, &after.suspicious_patterns) {
        if let Some(request) = pattern::ordinary_request(text) {
            risks.push(format!(
                "treat ordinary requests as attacks, such as those with {request:?}, because of the pattern {text}"
            ));
        }
    }
}

fn added<'a>(before: &[String], after: &'a [String]) -> impl Iterator<Item = &'a String> {
    let known: HashSet<&String> = before.iter().collect();
    let added: Vec<_> = after.iter().filter(|text| !known.contains(text)).collect();
    added.into_iter()
}

/// Whether a list of allowed countries allows fewer than before.
fn narrower_countries(before: &DynamicRules, after: &DynamicRules) -> Option<String> {
    let (old, new) = (&before.whitelist_countries, &after.whitelist_countries);
    let is_let_in = |country: &String| new.iter().any(|it| it.eq_ignore_ascii_case(country));
    let is_narrower = !new.is_empty() && (old.is_empty() || !old.iter().all(is_let_in));
    is_narrower.then(|| format!("refuse everyone outside {}", new.join(", ")))
}

fn limits(rules: &DynamicRules, risks: &mut Vec<String>) {
    let is_slow =
        |requests: i64, window: i64, slowest: i64| requests.saturating_mul(slowest) < window;
    if let (Some(requests), Some(window)) = (rules.global_rate_limit, rules.global_rate_window)
        && is_slow(requests, window, SLOWEST_S)
    {
        risks.push(format!("limit each client to {requests} in {window} s"));
    }
    for (path, (requests, window)) in &rules.endpoint_rate_limits {
        if is_slow(*requests, *window, SLOWEST_ENDPOINT_S) {
            risks.push(format!(
                "limit each client to {requests} in {window} s at {path}"
            ));
        }
    }
}

fn bans(rules: &DynamicRules, caller: &[IpAddr], risks: &mut Vec<String>) {
    let loopback = LOOPBACK.map(Network::parse);
    let networks: Vec<_> = rules
        .ip_blacklist
        .iter()
        .filter_map(|text| Some((text, Network::parse(text)?)))
        .collect();
    for (text, network) in &networks {
        let network = *network;
        if network.is_wider_than(WIDE) {
            risks.push(format!("ban the very wide block {text}"));
        }
        if loopback.iter().flatten().any(|it| network.meets(*it)) {
            risks.push(format!("ban loopback addresses by {text}"));
        }
        for own in caller
            .iter()
            .filter(|own| !own.to_canonical().is_loopback() && network.holds(**own))
        {
            risks.push(format!("ban your own address {own} by {text}"));
        }
    }
    let others = networks.into_iter().map(|(_, network)| network);
    let shares = covered(others.filter(|network| !network.is_wider_than(WIDE)));
    for (family, share) in ["IPv4", "IPv6"].into_iter().zip(shares) {
        // Rounded to powers of two: a growing list needs a new confirmation only when it has
        // doubled.
        if let Some(share) = share.filter(|share| *share <= WIDE_SHARE) {
            let part = 1_u32 << share;
            risks.push(format!("ban 1/{part} of all {family} addresses"));
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

/// Unbanned addresses that stay banned by a block: guards cannot unban a single address within a
/// banned block.
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
                "leave {text} banned by {block}, because guards cannot unban a single address of a block"
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn risks(banned: &str, caller: &str) -> usize {
        let rules = DynamicRules {
            ip_blacklist: vec![banned.to_owned()],
            ..DynamicRules::default()
        };
        new(&DynamicRules::default(), &rules, &[caller.parse().unwrap()]).len()
    }

    #[test]
    fn banning_oneself_loopback_or_everyone_is_a_risk() {
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
    fn a_pattern_that_matches_ordinary_requests_is_a_risk() {
        let agents = |pattern: &str| DynamicRules {
            blocked_user_agents: vec![pattern.to_owned()],
            ..DynamicRules::default()
        };
        let attacks = |pattern: &str| DynamicRules {
            suspicious_patterns: vec![pattern.to_owned()],
            ..DynamicRules::default()
        };
        let count = |rules| new(&DynamicRules::default(), &rules, &[]).len();
        for everything in [".*", ".", "x?", "[a-z]+", "mozilla", "a|", "safari"] {
            assert_eq!(count(agents(everything)), 1, "{everything}");
        }
        for some in ["sqlmap", "curl/", "^$", "Chrome/1"] {
            assert_eq!(count(agents(some)), 0, "{some}");
        }
        for everything in [".*", ".", "/", "x?", "^", "[a-z]", "/."] {
            assert_eq!(count(attacks(everything)), 1, "{everything}");
        }
        for some in ["\\.\\./", "union\\s+select", "^$"] {
            assert_eq!(count(attacks(some)), 0, "{some}");
        }
    }

    #[test]
    fn unbanning_an_address_in_a_banned_block_is_a_risk_once() {
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
    fn each_risky_unban_is_reported_with_its_block() {
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
    fn many_blocks_are_a_risk_by_their_total_size() {
        let blocks = |count: u32, bits: u32| DynamicRules {
            ip_blacklist: (0..count)
                .map(|n| Ipv4Addr::from_bits(0x0b00_0000 + (n << (32 - bits))))
                .map(|address| format!("{address}/{bits}"))
                .collect(),
            ..DynamicRules::default()
        };
        let none = DynamicRules::default();
        assert_eq!(new(&none, &blocks(255, 16), &[]), [""; 0]);
        assert_eq!(new(&none, &blocks(256, 16), &[]), [""; 0]);
        let wide = blocks(513, 16);
        assert_eq!(new(&none, &wide, &[]), ["ban 1/128 of all IPv4 addresses"]);
        assert_eq!(new(&wide, &blocks(600, 16), &[]), [""; 0], "not doubled");
        let doubled = new(&wide, &blocks(1100, 16), &[]);
        assert_eq!(doubled, ["ban 1/64 of all IPv4 addresses"]);
        let mut same = blocks(200, 16);
        for _ in 0..3 {
            same.ip_blacklist.extend_from_within(..);
        }
        assert_eq!(new(&none, &same, &[]), [""; 0], "counted once");
        assert_eq!(new(&none, &blocks(60_000, 24), &[]), [""; 0]);
    }

    #[test]
    fn a_list_of_allowed_countries_is_a_risk_unless_it_grows() {
        let let_in = |countries: &[&str]| DynamicRules {
            whitelist_countries: countries.iter().map(|it| (*it).to_owned()).collect(),
            ..DynamicRules::default()
        };
        for (before, after, expected) in [
            (&[][..], &["FR"][..], 1),
            (&["FR"], &["FR", "DE"], 0),
            (&["fr"], &["FR"], 0),
            (&["FR", "DE"], &["FR"], 1),
            (&["FR"], &[], 0),
        ] {
            let risks = new(&let_in(before), &let_in(after), &[]);
            assert_eq!(risks.len(), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn many_blocked_countries_are_a_risk() {
        let blocked = |count: usize| DynamicRules {
            blocked_countries: (0..count).map(|n| n.to_string()).collect(),
            ..DynamicRules::default()
        };
        let none = DynamicRules::default();
        assert_eq!(new(&none, &blocked(MANY_COUNTRIES), &[]).len(), 0);
        assert_eq!(new(&none, &blocked(MANY_COUNTRIES + 1), &[]).len(), 1);
    }

    #[test]
    fn a_limit_that_makes_a_site_unusable_is_a_risk() {
        let all = |requests, window| DynamicRules {
            global_rate_limit: Some(requests),
            global_rate_window: Some(window),
            ..DynamicRules::default()
        };
        let path = |requests, window| DynamicRules {
            endpoint_rate_limits: [("/login".to_owned(), (requests, window))].into(),
            ..DynamicRules::default()
        };
        for (rules, expected) in [
            (all(1, 86_400), 1),
            (all(1, 61), 1),
            (all(1, 60), 0),
            (all(100, 3600), 0),
            (path(1, 86_400), 1),
            (path(5, 3600), 0),
            (path(i64::MAX, i64::MAX), 0),
        ] {
            let risks = new(&DynamicRules::default(), &rules, &[]);
            assert_eq!(risks.len(), expected, "{risks:?}");
        }
    }

    #[test]
    fn turning_detection_or_banning_off_is_a_risk() {
        let rules = |detection, banning| DynamicRules {
            enable_penetration_detection: detection,
            enable_ip_banning: banning,
            enable_rate_limiting: Some(false),
            ..DynamicRules::default()
        };
        let none = DynamicRules::default();
        let both = new(&none, &rules(Some(false), Some(false)), &[]);
        assert_eq!(
            both,
            ["turn the detection of attacks off", "turn banning off"]
        );
        assert_eq!(new(&none, &rules(Some(true), None), &[]).len(), 0);
    }

    #[test]
    fn a_pattern_in_force_is_not_checked_again() {
        let rules = DynamicRules {
            suspicious_patterns: vec!["a{4000000000}".to_owned(), ".*".to_owned()],
            ..DynamicRules::default()
        };
        assert_eq!(new(&rules, &rules, &[]), [""; 0]);
    }

    #[test]
    fn existing_risks_are_not_reported_again() {
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
