//! Limits on how many requests a client may send.

use guard_wire::rules::DynamicRules;
use serde::{Deserialize, Serialize};

use crate::rules::operation::{Field, Kind, Schema, Takes};

/// The help of the command that [`Limit`] and [`RateLimit`] share.
const LIMIT_HELP: &str = "Limit the requests of each client, to one path or to all paths together";
const REQUESTS: Field = Field::value("requests", "REQUESTS", "How many requests", Takes::Number);
const WINDOW: Field = Field::value(
    "window_s",
    "DURATION",
    "The time span, such as 60s or 5m",
    Takes::Seconds,
);

/// Limits the requests of each client to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The path.
    pub endpoint: String,
    /// The number of requests per client and time span.
    pub requests: i64,
    /// The time span in seconds.
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
            Field::key(
                "endpoint",
                "PATH",
                "The path; by default all paths together",
            )
            .option("endpoint"),
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
    /// The number of requests per client and time span.
    pub requests: i64,
    /// The time span in seconds.
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
