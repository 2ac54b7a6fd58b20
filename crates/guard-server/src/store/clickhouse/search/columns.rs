//! In which column a field is kept.

use guard_wire::Kind;

use super::super::Untyped;
use crate::query::filter::Field;
use crate::store::TextField;

/// How a table keeps a field. The second part is the number of the field in `untyped`, which has
/// its values of other types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// As the time of the record.
    Time,
    /// As text. Without a number if it always is text.
    Text(&'static str, Option<u8>),
    /// As an address, or as text that is none.
    Address,
    /// As a whole number.
    Whole(&'static str, u8),
    /// As a number. Without a number in `untyped` if it always is one.
    Real(&'static str, Option<u8>),
}

/// How the table of a kind keeps a field. `None` if it has no column.
pub(super) fn kept(kind: Kind, field: &Field) -> Option<Kept> {
    match field {
        Field::Named(name) => named(kind, name),
        Field::Key { key, .. } => enrichment(key),
    }
}

fn named(kind: Kind, name: &str) -> Option<Kept> {
    Some(match (kind, name) {
        (_, "timestamp") => Kept::Time,
        (_, "install_id") => Kept::Text("install_id", None),
        (_, "endpoint") => Kept::Text("endpoint", None),
        (_, "method") => text("method", TextField::Method),
        (Kind::Event, "event_type") => Kept::Text("event_type", None),
        (Kind::Event, "ip_address") => Kept::Address,
        (Kind::Event, "country") => text("country", TextField::Country),
        (Kind::Event, "user_agent") => text("user_agent", TextField::UserAgent),
        (Kind::Event, "action_taken") => text("action_taken", TextField::ActionTaken),
        (Kind::Event, "reason") => text("reason", TextField::Reason),
        (Kind::Event, "decorator_type") => text("decorator_type", TextField::DecoratorType),
        (Kind::Event, "rule_type") => text("rule_type", TextField::RuleType),
        (Kind::Event, "pattern_matched") => text("pattern_matched", TextField::PatternMatched),
        (Kind::Event, "handler_name") => text("handler_name", TextField::HandlerName),
        (Kind::Event, "status_code") => whole("status_code", Untyped::Status),
        (Kind::Event, "response_time") => {
            Kept::Real("response_time", Some(Untyped::ResponseTime as u8))
        }
        (Kind::Metric, "metric_type") => Kept::Text("metric_type", None),
        (Kind::Metric, "status") => whole("status", Untyped::Status),
        (Kind::Metric, "value") => Kept::Real("value", None),
        _ => return None,
    })
}

/// The keys of `metadata` and `tags` that guards add.
fn enrichment(key: &str) -> Option<Kept> {
    Some(match key {
        "guard.threat_score" => whole("threat_score", Untyped::Score),
        "guard.rule.id" => text("rule_id", TextField::RuleId),
        "guard.rule.version" => whole("rule_version", Untyped::RuleVersion),
        "guard.behavior.correlation_key" => {
            Kept::Text("correlation_key", Some(Untyped::Correlation as u8))
        }
        "guard.behavior.recent_event_count" => whole("recent_event_count", Untyped::Recent),
        "guard.service.name" => text("service_name", TextField::ServiceName),
        "guard.deployment.environment" => text("environment", TextField::Environment),
        "guard.project_id" => text("guard_project", TextField::GuardProject),
        "traceparent" => Kept::Text("traceparent", Some(Untyped::Trace as u8)),
        _ => return None,
    })
}

const fn text(column: &'static str, field: TextField) -> Kept {
    Kept::Text(column, Some(field as u8))
}

const fn whole(column: &'static str, field: Untyped) -> Kept {
    Kept::Whole(column, field as u8)
}
