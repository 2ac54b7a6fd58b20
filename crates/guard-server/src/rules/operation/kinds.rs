//! Every kind of operation: its names and fields, its checks, what it changes in the document,
//! and what the history tells. Whether a change needs a confirmation is decided by what it does
//! to the document: see `lockout`.

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Field, Kind, Schema, Takes, operations};
use crate::rules::document::{normalize, problem};
use crate::rules::network::Network;
use crate::rules::pattern;

operations! {
    Ban, Unban, Country, Limit, RateLimit, UserAgent, Cloud, Pattern, Feature, AutoBan, Emergency,
}

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
        // `guard-server rules unban` takes back a ban.
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
}

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
}

/// The help of the command that [`Limit`] and [`RateLimit`] share.
const LIMIT_HELP: &str = "Limit the requests of each client, to one path or to all together";
const REQUESTS: Field = Field::value("requests", "REQUESTS", "How many requests", Takes::Number);
const WINDOW: Field = Field::value(
    "window_s",
    "DURATION",
    "In which time, such as 60s or 5m",
    Takes::Seconds,
);

/// Limits the requests of each client to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The path.
    pub endpoint: String,
    /// How many requests per client
    pub requests: i64,
    /// in how many seconds.
    pub window_s: i64,
}

impl Kind for Limit {
    const SCHEMA: Schema = Schema {
        kind: "limit",
        collection: "limits",
        command: Some("limit"),
        help: LIMIT_HELP,
        fields: &[
            REQUESTS,
            WINDOW.option("per"),
            Field::key("endpoint", "PATH", "The path; without it all paths").option("endpoint"),
        ],
    };

    fn subject(&self) -> &str {
        &self.endpoint
    }

    fn apply(&self, rules: &mut DynamicRules) {
        let limit = (self.requests, self.window_s);
        let limits = &mut rules.endpoint_rate_limits;
        limits.insert(self.endpoint.clone(), limit);
    }

    fn field_of(document_field: &str) -> String {
        match document_field {
            field if field.ends_with("[0]") => "requests",
            field if field.ends_with("[1]") => "window_s",
            _ => "endpoint",
        }
        .to_owned()
    }

    fn describe(&self) -> String {
        let Self {
            endpoint,
            requests,
            window_s,
        } = self;
        format!("limit {endpoint} to {requests} in {window_s} s")
    }

    fn describe_removal(&self) -> String {
        format!("lift the limit of {}", self.endpoint)
    }
}

/// Limits all requests of each client together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests per client
    pub requests: i64,
    /// in how many seconds.
    pub window_s: i64,
}

impl Kind for RateLimit {
    const SCHEMA: Schema = Schema {
        kind: "rate_limit",
        collection: "rate-limit",
        command: Some("limit"),
        help: LIMIT_HELP,
        fields: &[REQUESTS, WINDOW.option("per")],
    };

    fn apply(&self, rules: &mut DynamicRules) {
        rules.global_rate_limit = Some(self.requests);
        rules.global_rate_window = Some(self.window_s);
    }

    fn field_of(document_field: &str) -> String {
        let is_count = document_field.ends_with("limit");
        if is_count { "requests" } else { "window_s" }.to_owned()
    }

    fn describe(&self) -> String {
        let Self { requests, window_s } = self;
        format!("limit all requests to {requests} in {window_s} s")
    }

    fn describe_removal(&self) -> String {
        "lift the limit of all requests".to_owned()
    }
}

/// Blocks user agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserAgent {
    /// A regular expression.
    pub pattern: String,
}

impl Kind for UserAgent {
    const SCHEMA: Schema = Schema {
        kind: "user_agent",
        collection: "user-agents",
        command: Some("block-agent"),
        help: "Block the user agents that a regular expression matches",
        fields: &[Field::key(
            "pattern",
            "PATTERN",
            "Without nested repetitions",
        )],
    };

    fn subject(&self) -> &str {
        &self.pattern
    }

    fn check_new(&self) -> Result<(), RulesError> {
        check_pattern(&self.pattern)
    }

    fn apply(&self, rules: &mut DynamicRules) {
        add(&mut rules.blocked_user_agents, &self.pattern);
    }

    fn describe(&self) -> String {
        format!("block user agent {}", self.pattern)
    }
}

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
}

/// Adds a pattern of attacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// A regular expression.
    pub pattern: String,
}

impl Kind for Pattern {
    const SCHEMA: Schema = Schema {
        kind: "pattern",
        collection: "patterns",
        command: Some("block-pattern"),
        help: "Treat requests that a regular expression matches as attacks; guards keep it until they restart",
        fields: &[Field::key(
            "pattern",
            "PATTERN",
            "Without nested repetitions",
        )],
    };

    fn subject(&self) -> &str {
        &self.pattern
    }

    fn check_new(&self) -> Result<(), RulesError> {
        check_pattern(&self.pattern)
    }

    fn apply(&self, rules: &mut DynamicRules) {
        add(&mut rules.suspicious_patterns, &self.pattern);
    }

    fn describe(&self) -> String {
        format!("block pattern {}", self.pattern)
    }
}

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
            Field::key("feature", "FEATURE", "The feature").one_of(FEATURES),
            Field::value("enabled", "STATE", "Whether it is on or off", Takes::Switch),
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

/// Has guards ban a client after a number of suspicious requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoBan {
    /// After how many suspicious requests.
    pub threshold: i64,
    /// For how many seconds; without it for as long as the guard is configured.
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
                "How many suspicious requests",
                Takes::Number,
            ),
            Field::value(
                "ban_s",
                "DURATION",
                "How long such a ban lasts; without it as the guard is configured",
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

/// Refuses everyone but the allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// Addresses and CIDR blocks that are let in.
    pub allowed: Vec<String>,
}

impl Kind for Emergency {
    const SCHEMA: Schema = Schema {
        kind: "emergency",
        collection: "emergency",
        command: Some("emergency"),
        help: "Refuse everyone but the allowed",
        fields: &[Field::value(
            "allowed",
            "IP",
            "An address or CIDR block that is let in; can be repeated",
            Takes::List,
        )
        .option("allow")],
    };

    fn normalize(&mut self) -> Result<(), RulesError> {
        normalize(&mut self.allowed);
        Ok(())
    }

    fn apply(&self, rules: &mut DynamicRules) {
        rules.emergency_mode = true;
        rules.emergency_whitelist.clone_from(&self.allowed);
    }

    fn field_of(document_field: &str) -> String {
        document_field.replace("emergency_whitelist", "allowed")
    }

    fn describe(&self) -> String {
        if self.allowed.is_empty() {
            "emergency".to_owned()
        } else {
            format!("emergency, but for {}", self.allowed.join(", "))
        }
    }

    fn describe_removal(&self) -> String {
        "end the emergency".to_owned()
    }
}

fn add(list: &mut Vec<String>, item: &String) {
    if !list.contains(item) {
        list.push(item.clone());
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

fn check_pattern(text: &str) -> Result<(), RulesError> {
    pattern::check(text).map_err(|why| problem("pattern", why))
}
