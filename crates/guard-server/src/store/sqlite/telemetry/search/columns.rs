//! In which column a field is kept.

use guard_wire::Kind;

use super::super::append::NUMBER_IN_BODY;
use super::super::names::IN_BODY;
use crate::query::filter::{Field, Node, Test};
use crate::store::TextField;

/// How a table keeps a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// As the id of a name.
    Name(&'static str, TextField),
    /// As the bytes of an address, or the id of a name.
    Address,
    /// As a whole number; the other number stands for a value that only the body tells.
    Integer(&'static str, i64),
    /// As a number. Whether -1 stands for a value that only the body tells.
    Real(&'static str, bool),
    /// As a hash of the text.
    Hash(&'static str),
    /// As the time of the record.
    Time,
}

/// How the table of a kind keeps a field. `None` if only the body has it.
pub(super) fn kept(kind: Kind, field: &Field) -> Option<Kept> {
    match field {
        Field::Named(name) => named(kind, name),
        Field::Key { key, .. } => enrichment(key),
    }
}

fn named(kind: Kind, name: &str) -> Option<Kept> {
    Some(match (kind, name) {
        (_, "timestamp") => Kept::Time,
        (_, "install_id") => Kept::Name("install", TextField::InstallId),
        (_, "endpoint") => Kept::Name("endpoint", TextField::Endpoint),
        (_, "method") => Kept::Name("method", TextField::Method),
        (Kind::Event, "event_type") => Kept::Name("type", TextField::EventType),
        (Kind::Event, "ip_address") => Kept::Address,
        (Kind::Event, "country") => Kept::Name("country", TextField::Country),
        (Kind::Event, "user_agent") => Kept::Name("user_agent", TextField::UserAgent),
        (Kind::Event, "action_taken") => Kept::Name("action", TextField::ActionTaken),
        (Kind::Event, "reason") => Kept::Name("reason", TextField::Reason),
        (Kind::Event, "status_code") => Kept::Integer("status", IN_BODY),
        (Kind::Event, "response_time") => Kept::Real("response_time", true),
        (Kind::Event, "decorator_type") => Kept::Name("decorator", TextField::DecoratorType),
        (Kind::Event, "rule_type") => Kept::Name("rule_type", TextField::RuleType),
        (Kind::Event, "pattern_matched") => Kept::Name("pattern", TextField::PatternMatched),
        (Kind::Event, "handler_name") => Kept::Name("handler", TextField::HandlerName),
        (Kind::Metric, "metric_type") => Kept::Name("type", TextField::MetricType),
        (Kind::Metric, "value") => Kept::Real("value", false),
        (Kind::Metric, "status") => Kept::Integer("status", IN_BODY),
        _ => return None,
    })
}

/// The keys of `metadata` and `tags` that guards add.
fn enrichment(key: &str) -> Option<Kept> {
    Some(match key {
        "guard.threat_score" => Kept::Integer("score", NUMBER_IN_BODY),
        "guard.rule.id" => Kept::Name("rule", TextField::RuleId),
        "guard.rule.version" => Kept::Integer("rule_version", NUMBER_IN_BODY),
        "guard.behavior.correlation_key" => Kept::Hash("correlation"),
        "guard.behavior.recent_event_count" => Kept::Integer("recent", NUMBER_IN_BODY),
        "guard.service.name" => Kept::Name("service", TextField::ServiceName),
        "guard.deployment.environment" => Kept::Name("environment", TextField::Environment),
        "guard.project_id" => Kept::Name("guard_project", TextField::GuardProject),
        "traceparent" => Kept::Hash("trace"),
        _ => return None,
    })
}

/// Whether columns tell of nearly every record whether it matches. Some values are in the body only.
pub(super) fn is_told(kind: Kind, node: &Node) -> bool {
    match node {
        Node::All(nodes) | Node::Any(nodes) => nodes.iter().all(|node| is_told(kind, node)),
        Node::Not(node) => is_told(kind, node),
        Node::Word(_) => kind == Kind::Event,
        Node::Field(field, test) => match kept(kind, field) {
            None => false,
            Some(Kept::Hash(_)) => matches!(test, Test::Present | Test::Equals(_)),
            Some(_) => true,
        },
    }
}
