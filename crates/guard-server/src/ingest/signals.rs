//! Extracts signals from status reports and events: about the rules, and about lost records.

use std::collections::BTreeMap;

use guard_wire::status::RULES_REFUSED;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::store::{AgentSignal, Batch};
use crate::visible::shortened;

/// The event that a guard sends when it has applied rules.
const RULES_APPLIED: &str = "dynamic_rule_applied";
/// The longest reason for refusing rules that is kept, in characters.
const MAX_REFUSAL: usize = 500;

#[derive(Deserialize)]
struct Applied {
    metadata: AppliedVersion,
}

#[derive(Deserialize)]
struct AppliedVersion {
    version: i64,
}

/// The signal about the rules in a status report.
pub(crate) fn reported(report: &Map<String, Value>) -> AgentSignal {
    let errors = report.get("errors").and_then(Value::as_array);
    let mut errors = errors.into_iter().flatten().rev().filter_map(Value::as_str);
    let refused = errors.find_map(|error| error.strip_prefix(RULES_REFUSED));
    AgentSignal::Reported {
        in_force: report.get("rules_version").and_then(Value::as_i64),
        refused: refused.map(|why| shortened(why, MAX_REFUSAL)),
    }
}

/// The most reasons of losses in a report that are read.
const MAX_REASONS: usize = 64;
/// The longest name of a reason, in characters.
const MAX_REASON: usize = 64;

/// The largest total of a reason. No agent loses so many records, and sums of larger numbers would
/// not fit into the store.
const MAX_LOST: u64 = 1_000_000_000_000;

/// The totals of lost records in a status report, by reason.
pub(crate) fn lost(report: &Map<String, Value>) -> BTreeMap<String, u64> {
    let ledger = report
        .get("ledger")
        .and_then(|ledger| ledger.get("dropped"));
    let dropped = ledger.and_then(Value::as_object).into_iter().flatten();
    let totals = dropped.filter_map(|(reason, total)| {
        let total = total.as_u64().filter(|total| *total > 0)?;
        Some((shortened(reason, MAX_REASON), total.min(MAX_LOST)))
    });
    totals.take(MAX_REASONS).collect()
}

/// The newest version that the events of a batch report as applied.
pub(crate) fn applied(batch: &Batch) -> Option<i64> {
    let events = batch.events.iter();
    let told = events.filter(|event| event.type_name == RULES_APPLIED);
    let applied = told.filter_map(|event| serde_json::from_str::<Applied>(&event.body).ok());
    applied.map(|applied| applied.metadata.version).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn losses_that_no_agent_can_have_are_limited() {
        let dropped = json!({ "queue_full": 3, "expired": u64::MAX, "none": 0, "odd": -1 });
        let report = json!({ "ledger": { "dropped": dropped } });
        let lost = lost(report.as_object().unwrap());
        let expected = [("expired", MAX_LOST), ("queue_full", 3)];
        assert_eq!(
            lost,
            expected.map(|(reason, n)| (reason.to_owned(), n)).into()
        );
    }
}
