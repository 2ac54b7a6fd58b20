//! Operations: what people do to rules, each one change to a document.

use std::fmt::{self, Display, Formatter};

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};

use super::document::{check, normalize, problem};
use super::network::Network;
use super::pattern;

/// One change to the published document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Bans an address or a CIDR block.
    Ban {
        /// The address or block.
        ip: String,
    },
    /// Lifts whatever ban an address has.
    Unban {
        /// The address.
        ip: String,
    },
    /// Blocks a country.
    Country {
        /// ISO 3166-1 alpha-2.
        country: String,
    },
    /// Limits requests to a path.
    Limit {
        /// The path.
        endpoint: String,
        /// So many requests per client
        requests: i64,
        /// in so many seconds.
        window_s: i64,
    },
    /// Blocks user agents.
    UserAgent {
        /// A regular expression.
        pattern: String,
    },
    /// Blocks a cloud's addresses.
    Cloud {
        /// Its name.
        cloud: String,
    },
    /// Adds a pattern of attacks.
    Pattern {
        /// A regular expression.
        pattern: String,
    },
    /// Turns a feature of the guard on or off.
    Feature {
        /// Which one.
        feature: Feature,
        /// On?
        enabled: bool,
    },
    /// Limits all requests of a client.
    RateLimit {
        /// So many
        requests: i64,
        /// in so many seconds.
        window_s: i64,
    },
    /// Bans by itself after so many suspicious requests.
    AutoBan {
        /// So many.
        threshold: i64,
        /// For so many seconds; without it for as long as the guard is configured.
        ban_s: Option<i64>,
    },
    /// Lets in nobody but the allowed.
    Emergency {
        /// Addresses and CIDR blocks that are let in.
        allowed: Vec<String>,
    },
}

/// What can be turned on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// `enable_penetration_detection`.
    PenetrationDetection,
    /// `enable_ip_banning`.
    IpBanning,
    /// `enable_rate_limiting`.
    RateLimiting,
    /// `enable_rate_limit_auto_ban`.
    RateLimitAutoBan,
}

impl Operation {
    /// Whether both are about the same thing, so that the later one replaces the earlier.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Ban { ip: a } | Self::Unban { ip: a },
                Self::Ban { ip: b } | Self::Unban { ip: b },
            ) => a == b,
            (Self::Limit { endpoint: a, .. }, Self::Limit { endpoint: b, .. }) => a == b,
            (Self::Feature { feature: a, .. }, Self::Feature { feature: b, .. }) => a == b,
            (Self::RateLimit { .. }, Self::RateLimit { .. })
            | (Self::AutoBan { .. }, Self::AutoBan { .. })
            | (Self::Emergency { .. }, Self::Emergency { .. }) => true,
            _ => self == other,
        }
    }

    /// Whether it bans a block of addresses, which guards cannot unban.
    pub(crate) fn is_block(&self) -> bool {
        matches!(self, Self::Ban { ip } if ip.contains('/'))
    }

    /// Puts it in the form in which equal things are equal, such as `192.0.2.0/24` for `192.0.2.7/24`.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] naming the field that guards could not use.
    pub(crate) fn normalize(&mut self) -> Result<(), RulesError> {
        match self {
            Self::Ban { ip } | Self::Unban { ip } => {
                let network = Network::parse(ip).ok_or_else(|| problem("ip", not_a_network(ip)))?;
                *ip = network.to_string();
            }
            Self::Emergency { allowed } => normalize(allowed),
            Self::Country { country } => country.make_ascii_uppercase(),
            _ => {}
        }
        if let Self::Unban { ip } = self
            && ip.contains('/')
        {
            return Err(problem(
                "ip",
                "guards can only unban single addresses; remove the ban of the block instead",
            ));
        }
        let mut rules = DynamicRules::default();
        self.apply(&mut rules);
        check(&rules).map_err(|error| match error {
            RulesError::Field { field, problem } => RulesError::Field {
                field: self.field_of(&field),
                problem,
            },
            other => other,
        })
    }

    /// Checks what is new: to take back what was taken once needs no such check.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for a pattern that guards could not use.
    pub(crate) fn judge(&self) -> Result<(), RulesError> {
        match self {
            Self::UserAgent { pattern } | Self::Pattern { pattern } => {
                pattern::check(pattern).map_err(|why| problem("pattern", why))
            }
            _ => Ok(()),
        }
    }

    /// The name of this operation's own field for one of the document.
    fn field_of(&self, field: &str) -> String {
        match self {
            Self::Ban { .. } | Self::Unban { .. } => "ip",
            Self::Country { .. } => "country",
            Self::Limit { .. } if field.ends_with("[0]") => "requests",
            Self::Limit { .. } if field.ends_with("[1]") => "window_s",
            Self::Limit { .. } => "endpoint",
            Self::RateLimit { .. } if field.ends_with("limit") => "requests",
            Self::RateLimit { .. } => "window_s",
            Self::UserAgent { .. } | Self::Pattern { .. } => "pattern",
            Self::Cloud { .. } => "cloud",
            Self::AutoBan { .. } if field.ends_with("duration") => "ban_s",
            Self::AutoBan { .. } => "threshold",
            Self::Feature { .. } => "feature",
            Self::Emergency { .. } => return field.replace("emergency_whitelist", "allowed"),
        }
        .to_owned()
    }

    /// What taking it back is, as history tells it. What need not be said to take
    /// it back is not told.
    pub(crate) fn taken_back(&self) -> String {
        match self {
            Self::Ban { ip } => format!("unban {ip}"),
            Self::Limit { endpoint, .. } => format!("lift the limit of {endpoint}"),
            Self::RateLimit { .. } => "lift the limit of all requests".to_owned(),
            Self::Feature { feature, .. } => format!("leave {feature} as configured"),
            Self::AutoBan { .. } => "leave automatic bans as configured".to_owned(),
            Self::Emergency { .. } => "end the emergency".to_owned(),
            Self::Unban { .. }
            | Self::Country { .. }
            | Self::UserAgent { .. }
            | Self::Cloud { .. }
            | Self::Pattern { .. } => format!("take back: {self}"),
        }
    }

    /// Writes it into a document.
    pub(crate) fn apply(&self, rules: &mut DynamicRules) {
        let add = |list: &mut Vec<String>, item: &String| {
            if !list.contains(item) {
                list.push(item.clone());
            }
        };
        match self {
            Self::Ban { ip } => add(&mut rules.ip_blacklist, ip),
            Self::Unban { ip } => {
                rules.ip_blacklist.retain(|banned| banned != ip);
                add(&mut rules.ip_whitelist, ip);
            }
            Self::Country { country } => add(&mut rules.blocked_countries, country),
            Self::Limit {
                endpoint,
                requests,
                window_s,
            } => {
                let limit = (*requests, *window_s);
                rules.endpoint_rate_limits.insert(endpoint.clone(), limit);
            }
            Self::UserAgent { pattern } => add(&mut rules.blocked_user_agents, pattern),
            Self::Cloud { cloud } => add(&mut rules.blocked_cloud_providers, cloud),
            Self::Pattern { pattern } => add(&mut rules.suspicious_patterns, pattern),
            Self::Feature { feature, enabled } => {
                let switch = match feature {
                    Feature::PenetrationDetection => &mut rules.enable_penetration_detection,
                    Feature::IpBanning => &mut rules.enable_ip_banning,
                    Feature::RateLimiting => &mut rules.enable_rate_limiting,
                    Feature::RateLimitAutoBan => &mut rules.enable_rate_limit_auto_ban,
                };
                *switch = Some(*enabled);
            }
            Self::RateLimit { requests, window_s } => {
                rules.global_rate_limit = Some(*requests);
                rules.global_rate_window = Some(*window_s);
            }
            Self::AutoBan { threshold, ban_s } => {
                rules.auto_ban_threshold = Some(*threshold);
                rules.auto_ban_duration = ban_s.or(rules.auto_ban_duration);
            }
            Self::Emergency { allowed } => {
                rules.emergency_mode = true;
                rules.emergency_whitelist.clone_from(allowed);
            }
        }
    }
}

/// As history tells it.
impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ban { ip } => write!(f, "ban {ip}"),
            Self::Unban { ip } => write!(f, "unban {ip}"),
            Self::Country { country } => write!(f, "block country {country}"),
            Self::Limit {
                endpoint,
                requests,
                window_s,
            } => write!(f, "limit {endpoint} to {requests} in {window_s} s"),
            Self::UserAgent { pattern } => write!(f, "block user agent {pattern}"),
            Self::Cloud { cloud } => write!(f, "block cloud {cloud}"),
            Self::Pattern { pattern } => write!(f, "block pattern {pattern}"),
            Self::Feature { feature, enabled } => {
                let state = if *enabled { "on" } else { "off" };
                write!(f, "turn {feature} {state}")
            }
            Self::RateLimit { requests, window_s } => {
                write!(f, "limit all requests to {requests} in {window_s} s")
            }
            Self::AutoBan {
                threshold,
                ban_s: None,
            } => write!(f, "ban after {threshold} suspicious requests"),
            Self::AutoBan {
                threshold,
                ban_s: Some(seconds),
            } => write!(
                f,
                "ban for {seconds} s after {threshold} suspicious requests"
            ),
            Self::Emergency { allowed } if allowed.is_empty() => f.write_str("emergency"),
            Self::Emergency { allowed } => write!(f, "emergency, but for {}", allowed.join(", ")),
        }
    }
}

impl Feature {
    /// All features.
    pub const ALL: [Self; 4] = [
        Self::PenetrationDetection,
        Self::IpBanning,
        Self::RateLimiting,
        Self::RateLimitAutoBan,
    ];

    /// The feature's name, as users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PenetrationDetection => "penetration_detection",
            Self::IpBanning => "ip_banning",
            Self::RateLimiting => "rate_limiting",
            Self::RateLimitAutoBan => "rate_limit_auto_ban",
        }
    }
}

impl Display for Feature {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn not_a_network(text: &str) -> String {
    format!("{text:?} is neither an address nor a CIDR block; give one, such as 192.0.2.0/24")
}
