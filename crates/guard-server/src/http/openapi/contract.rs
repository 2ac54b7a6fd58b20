//! What agents send. The server reads it leniently, so these types only describe it.

#![expect(dead_code, reason = "only their descriptions are used")]

use std::collections::BTreeMap;

use guard_wire::status::LedgerReport;
use serde_json::Value;
use utoipa::ToSchema;

/// A batch of records. Unknown keys are ignored.
#[derive(ToSchema)]
#[schema(example = json!({
    "project_id": "default", "batch_id": "1764511200000-0a1b2c3d",
    "events": [{
        "idempotency_key": "018f0c9e-3b6a-7c2d-9f01-5a6b7c8d9e0f",
        "timestamp": "2026-11-30T14:00:00.123456Z", "event_type": "penetration_attempt",
        "ip_address": "203.0.113.7", "country": "NL", "user_agent": "sqlmap/1.8",
        "action_taken": "request_blocked", "reason": "SQL injection", "endpoint": "/api/items",
        "method": "GET", "status_code": 403, "response_time": 0.002,
        "metadata": { "guard.rule.id": "block-1", "guard.threat_score": 90 },
    }],
    "metrics": [{
        "timestamp": "2026-11-30T14:00:00.123456Z", "metric_type": "response_time",
        "value": 0.042, "tags": { "endpoint": "/api/items", "method": "GET", "status": "200" },
    }],
}))]
pub(crate) struct Batch {
    /// The project, for people. The key decides.
    project_id: Option<String>,
    /// The events.
    events: Option<Vec<Event>>,
    /// The metrics.
    metrics: Option<Vec<Metric>>,
    /// Identifies the batch. A batch that is sent again is stored once.
    batch_id: Option<String>,
    /// When the batch was made.
    created_at: Option<String>,
    /// Whether the agent compressed it. `Content-Encoding` decides.
    compressed: Option<bool>,
    /// The version of the agent.
    agent_version: Option<String>,
    /// The version of the guard.
    guard_version: Option<String>,
    /// The version of guard-core.
    guard_core_version: Option<String>,
}

/// What a guard saw or did. Unknown keys are kept. Absent and null mean the same. A record has at
/// most 64 levels of nesting.
#[derive(ToSchema)]
pub(crate) struct Event {
    /// When it happened: RFC 3339 with a `T` or a space; UTC if there is no offset.
    #[schema(format = DateTime)]
    timestamp: String,
    /// What happened, such as `penetration_attempt`, `rate_limited` or `ip_banned`.
    #[schema(min_length = 1, max_length = 128)]
    event_type: String,
    /// A record is stored once for each project and key. Without one, the server makes one.
    #[schema(max_length = 256)]
    idempotency_key: Option<String>,
    /// The address of the client. It may be empty or `system`.
    #[schema(max_length = 256)]
    ip_address: Option<String>,
    /// The country of the client: ISO 3166-1 alpha-2.
    #[schema(max_length = 256)]
    country: Option<String>,
    /// The client's `User-Agent`.
    user_agent: Option<String>,
    /// What the guard did, such as `request_blocked`, `banned` or `logged_only`.
    #[schema(max_length = 256)]
    action_taken: Option<String>,
    /// Why.
    reason: Option<String>,
    /// The path of the request.
    #[schema(max_length = 65536)]
    endpoint: Option<String>,
    /// The method of the request.
    #[schema(max_length = 256)]
    method: Option<String>,
    /// The status of the answer.
    status_code: Option<i64>,
    /// How long the answer took, in seconds.
    response_time: Option<f64>,
    /// The type of the decorator that decided.
    #[schema(max_length = 256)]
    decorator_type: Option<String>,
    /// The type of the rule that decided.
    #[schema(max_length = 256)]
    rule_type: Option<String>,
    /// The pattern that matched.
    pattern_matched: Option<String>,
    /// The function that answers the request.
    #[schema(max_length = 256)]
    handler_name: Option<String>,
    /// Anything else, such as `guard.rule.id` and `guard.threat_score`.
    metadata: Option<BTreeMap<String, Value>>,
}

/// A measurement. Unknown keys are kept.
#[derive(ToSchema)]
pub(crate) struct Metric {
    /// When it was measured, as in events.
    #[schema(format = DateTime)]
    timestamp: String,
    /// What was measured.
    metric_type: MetricType,
    /// The value. Bare `NaN` and `Infinity` are taken as null.
    value: Option<f64>,
    /// As in events.
    #[schema(max_length = 256)]
    idempotency_key: Option<String>,
    /// The path of the request.
    #[schema(max_length = 65536)]
    endpoint: Option<String>,
    /// Such as `endpoint`, `method` and `status`.
    tags: Option<BTreeMap<String, Value>>,
}

/// The types of metrics.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum MetricType {
    RequestCount,
    ResponseTime,
    ErrorRate,
    BandwidthUsage,
    ThreatLevel,
    BlockRate,
    CacheHitRate,
}

/// An encrypted batch.
#[derive(ToSchema)]
#[schema(example = json!({
    "encrypted_payload": "AAECAwQFBgcICQoLPCCzbaCLtmive8zwk50RAOal81WdC31GGlXVtytEMYMsI56onvUoqESeT\
        93SpQQaiy8F4y6J16NP8ggjOoqFsZJdqBS2tQQcQXiIA4r7fIFb-etYLT4uZdmpj9dxZimKf2nofUaxPg==",
    "batch_id": "1764511200000-0a1b2c3e",
}))]
pub(crate) struct EncryptedBatch {
    /// URL-safe base64 of nonce (12 bytes), ciphertext and tag (16 bytes): AES-256-GCM of
    /// `{"events": [...], "metrics": [...]}` with the key of the project.
    encrypted_payload: String,
    /// As in a batch.
    batch_id: Option<String>,
    /// The version of the agent.
    agent_version: Option<String>,
    /// The version of the guard.
    guard_version: Option<String>,
    /// The version of guard-core.
    guard_core_version: Option<String>,
}

/// How an agent is. Agents may send more.
#[derive(ToSchema)]
#[schema(example = json!({
    "timestamp": "2026-11-30T14:00:00Z", "status": "healthy", "uptime": 3600.5,
    "events_sent": 41, "events_failed": 0, "buffer_size": 0,
    "last_flush": "2026-11-30T13:59:58Z", "errors": [], "install_id": "shop-eu-1",
    "agent_version": "2.0.0", "hostname": "shop-1", "pid": 4711, "rules_version": 1,
    "ledger": { "accepted": 42, "delivered": 41, "queued": 0, "spooled": 0,
        "dropped": { "queue_full": 1 } },
}))]
pub(crate) struct Status {
    /// When.
    timestamp: Option<String>,
    /// `healthy`, `degraded` or `failed`.
    status: Option<String>,
    /// Seconds since it started.
    uptime: Option<f64>,
    /// Events delivered.
    events_sent: Option<u64>,
    /// Events lost.
    events_failed: Option<u64>,
    /// Records in memory.
    buffer_size: Option<u64>,
    /// When it last delivered a batch.
    last_flush: Option<String>,
    /// Recent errors, the newest last.
    errors: Option<Vec<String>>,
    /// Identifies the install, if no header does.
    install_id: Option<String>,
    /// The version of the agent.
    agent_version: Option<String>,
    /// Its host.
    hostname: Option<String>,
    /// Its process.
    pid: Option<u64>,
    /// The version of the rules in force.
    rules_version: Option<i64>,
    /// Where its records are.
    ledger: Option<LedgerReport>,
}
