//! Checks of a rules document beyond its types.

use std::net::IpAddr;

use super::{DynamicRules, MAX_DEPTH, MAX_PATTERN, MAX_VERSION, RulesError};
use crate::timestamp;

/// The clouds whose addresses guard-core knows.
const CLOUDS: [&str; 6] = ["AWS", "GCP", "Azure", "DigitalOcean", "Linode", "Vultr"];

/// ISO 3166-1 alpha-2, and XK, which address databases use for Kosovo.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI \
BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE \
DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS \
GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW \
KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW \
MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO \
RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

pub(super) fn size(body: &[u8], limit: usize) -> Result<(), RulesError> {
    match body.len() {
        len if len > limit => Err(RulesError::TooLarge { len, limit }),
        _ => Ok(()),
    }
}

/// Refuses values that a guard could not use, or only in part.
pub(super) fn values(rules: &DynamicRules) -> Result<(), RulesError> {
    for (field, number) in [
        ("ttl", Some(rules.ttl)),
        ("ip_ban_duration", Some(rules.ip_ban_duration)),
        ("global_rate_limit", rules.global_rate_limit),
        ("global_rate_window", rules.global_rate_window),
        ("auto_ban_threshold", rules.auto_ban_threshold),
        ("auto_ban_duration", rules.auto_ban_duration),
    ] {
        at_least_one(number, || field.to_owned())?;
    }
    for (path, (requests, window)) in &rules.endpoint_rate_limits {
        at_least_one(Some(*requests), || {
            format!("endpoint_rate_limits.{path}[0]")
        })?;
        at_least_one(Some(*window), || format!("endpoint_rate_limits.{path}[1]"))?;
    }
    for (field, addresses) in [
        ("ip_blacklist", &rules.ip_blacklist),
        ("ip_whitelist", &rules.ip_whitelist),
        ("emergency_whitelist", &rules.emergency_whitelist),
    ] {
        each(field, addresses, is_network, |text| {
            format!(
                "{text:?} is neither an address nor a CIDR block; give one, such as 192.0.2.0/24"
            )
        })?;
    }
    for (field, countries) in countries(rules) {
        let is_code = |code: &str| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic());
        each(field, countries, is_code, not_a_country)?;
    }
    for (field, patterns) in [
        ("blocked_user_agents", &rules.blocked_user_agents),
        ("suspicious_patterns", &rules.suspicious_patterns),
    ] {
        let is_short = |text: &str| !text.is_empty() && text.chars().count() <= MAX_PATTERN;
        each(field, patterns, is_short, |text| {
            let length = text.chars().count();
            format!("a pattern of {length} characters; give 1 to {MAX_PATTERN}")
        })?;
    }
    times(rules)
}

/// Refuses a version that a person may not give.
pub(super) fn version(rules: &DynamicRules) -> Result<(), RulesError> {
    if (1..=MAX_VERSION).contains(&rules.version) {
        return Ok(());
    }
    let problem = format!("{} is no version; give 1 to {MAX_VERSION}", rules.version);
    fail("version".to_owned(), problem)
}

/// Names that nothing answers to.
pub(super) fn names(rules: &DynamicRules) -> Result<(), RulesError> {
    if let Some(name) = rules.unknown_fields().next() {
        return fail(name.to_owned(), "unknown; correct its name or remove it");
    }
    for (field, countries) in countries(rules) {
        let is_known = |code: &str| {
            let code = code.to_ascii_uppercase();
            COUNTRIES.split(' ').any(|known| known == code)
        };
        each(field, countries, is_known, not_a_country)?;
    }
    let clouds = &rules.blocked_cloud_providers;
    // In guard-core, ":!" excludes parts of a cloud.
    let is_known = |cloud: &str| {
        let name = cloud.split_once(":!").map_or(cloud, |(name, _)| name);
        CLOUDS.contains(&name) && is_line(cloud)
    };
    each("blocked_cloud_providers", clouds, is_known, |text| {
        format!(
            "{text:?} is no cloud that guards know; give one of {}",
            CLOUDS.join(", ")
        )
    })?;
    for path in rules.endpoint_rate_limits.keys() {
        if !path.starts_with('/') || !is_line(path) {
            let field = format!("endpoint_rate_limits.{}", path.escape_debug());
            let problem = "not a path; give one that starts with / and has no control characters";
            return fail(field, problem);
        }
    }
    Ok(())
}

/// Whether it has no control characters, so that it prints as it is.
fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether arrays and objects are nested deeper than [`MAX_DEPTH`]. The result for malformed JSON
/// is arbitrary.
pub(super) fn is_too_deep(json: &[u8]) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn times(rules: &DynamicRules) -> Result<(), RulesError> {
    for (field, text) in [
        ("timestamp", &rules.timestamp),
        ("expires_at", &rules.expires_at),
    ] {
        if let Some(text) = text
            && timestamp::parse_strictly(text).is_none()
        {
            let problem =
                format!("{text:?} is not a timestamp; give RFC 3339, such as 2026-11-22T14:28:58Z");
            return fail(field.to_owned(), problem);
        }
    }
    Ok(())
}

fn countries(rules: &DynamicRules) -> [(&'static str, &[String]); 2] {
    [
        ("blocked_countries", &rules.blocked_countries),
        ("whitelist_countries", &rules.whitelist_countries),
    ]
}

fn not_a_country(code: &str) -> String {
    format!("{code:?} is not a country; give ISO 3166-1 alpha-2, such as FR")
}

fn is_network(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.is_none_or(|prefix| {
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        is_number && prefix.parse::<u16>().is_ok_and(|bits| bits <= longest)
    })
}

fn each(
    field: &str,
    items: &[String],
    is_right: impl Fn(&str) -> bool,
    problem: impl Fn(&str) -> String,
) -> Result<(), RulesError> {
    match items.iter().position(|item| !is_right(item)) {
        Some(at) => fail(format!("{field}[{at}]"), problem(&items[at])),
        None => Ok(()),
    }
}

fn at_least_one(value: Option<i64>, field: impl Fn() -> String) -> Result<(), RulesError> {
    match value {
        Some(number) if number < 1 => {
            fail(field(), format!("{number} is too small; give 1 or more"))
        }
        _ => Ok(()),
    }
}

fn fail(field: String, problem: impl Into<String>) -> Result<(), RulesError> {
    let problem = problem.into();
    Err(RulesError::Field { field, problem })
}
