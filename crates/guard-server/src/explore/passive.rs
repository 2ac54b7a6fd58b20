//! What enforcement would block: the events of passive mode by reason and rule.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{EventItem, RangeAnswer, is_false};
use super::filters::{WOULD_BLOCK, and, has, metadata, named, one_of};
use crate::query::filter::{Field, Node};
use crate::query::group::Key;
use crate::query::top::TopItem;
use crate::query::{MAX_LIST_BYTES, TimeRange, Utc};
use crate::store::{EventQuery, Search, Selection, StoreError};

/// How many groups are listed.
const GROUPS: usize = 50;
/// How many events illustrate a group.
const SAMPLES: u16 = 3;
/// How long before the last event of a group samples are looked for.
const SAMPLED: SignedDuration = SignedDuration::from_hours(1);
/// The most bodies that are compared to find samples of a group.
const COMPARED: u32 = 5000;

/// What enforcement would block.
#[derive(Debug, Serialize, ToSchema)]
pub struct Passive {
    /// The range.
    #[serde(flatten)]
    pub range: RangeAnswer,
    /// How many events.
    pub total: u64,
    /// By reason and rule, most events first.
    pub items: Vec<PassiveGroup>,
    /// The events of groups that are not listed.
    pub other: u64,
    /// Whether there are too many groups to tell apart.
    #[serde(skip_serializing_if = "is_false")]
    pub approximate: bool,
}

/// The events with one reason and rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct PassiveGroup {
    /// Why.
    #[schema(value_type = Option<String>, required = true)]
    pub reason: Key,
    /// The rule.
    #[schema(value_type = Option<String>, required = true)]
    pub rule_id: Key,
    /// The type of the rule.
    #[schema(value_type = Option<String>, required = true)]
    pub rule_type: Key,
    /// How many events.
    pub count: u64,
    /// How many addresses.
    pub addresses: usize,
    /// How many endpoints.
    pub endpoints: usize,
    /// The first of them.
    pub first: Utc,
    /// The last of them.
    pub last: Utc,
    /// Some of the last of them.
    pub samples: Vec<EventItem>,
}

/// The parts of a group while it is counted.
struct Parts {
    count: u64,
    addresses: HashSet<Key>,
    endpoints: HashSet<Key>,
    first: Timestamp,
    last: Timestamp,
}

/// What enforcement would block, of the selected events.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn passive(search: &dyn Search, selection: Selection) -> Result<Passive, StoreError> {
    let selection = and(&selection, one_of("action_taken", WOULD_BLOCK));
    let [reason, rule, rule_type] = identity();
    let by = vec![
        reason,
        rule,
        rule_type,
        named("ip_address"),
        named("endpoint"),
    ];
    let top = search.top(selection.clone(), by, usize::MAX).await?;
    let total = top.total();
    let groups = grouped(top.items);
    let shown: u64 = groups
        .iter()
        .take(GROUPS)
        .map(|(_, parts)| parts.count)
        .sum();
    let mut items = Vec::new();
    for (key, parts) in groups.into_iter().take(GROUPS) {
        let samples = samples(search, &selection, &key, &parts).await?;
        let [reason, rule_id, rule_type] = key;
        items.push(PassiveGroup {
            reason,
            rule_id,
            rule_type,
            count: parts.count,
            addresses: parts.addresses.len(),
            endpoints: parts.endpoints.len(),
            first: Utc(parts.first),
            last: Utc(parts.last),
            samples,
        });
    }
    Ok(Passive {
        range: selection.range.into(),
        total,
        items,
        other: total - shown,
        approximate: top.is_approximate,
    })
}

/// The fields that make a group.
fn identity() -> [Field; 3] {
    [
        named("reason"),
        metadata("guard.rule.id"),
        named("rule_type"),
    ]
}

fn grouped(items: Vec<TopItem>) -> Vec<([Key; 3], Parts)> {
    let mut groups = HashMap::<[Key; 3], Parts>::new();
    for item in items {
        let Ok([reason, rule, rule_type, address, endpoint]) = <[Key; 5]>::try_from(item.key)
        else {
            continue;
        };
        let parts = groups
            .entry([reason, rule, rule_type])
            .or_insert_with(|| Parts {
                count: 0,
                addresses: HashSet::new(),
                endpoints: HashSet::new(),
                first: item.first,
                last: item.last,
            });
        parts.count += item.count;
        parts.addresses.insert(address);
        parts.endpoints.insert(endpoint);
        parts.first = parts.first.min(item.first);
        parts.last = parts.last.max(item.last);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then_with(|| a.cmp(b)));
    groups
}

async fn samples(
    search: &dyn Search,
    selection: &Selection,
    key: &[Key; 3],
    parts: &Parts,
) -> Result<Vec<EventItem>, StoreError> {
    let conditions = identity().into_iter().zip(key);
    let conditions = conditions.map(|(field, key)| has(field, key)).collect();
    let last = parts.last;
    let micro = SignedDuration::from_micros(1);
    let range = TimeRange {
        from: last
            .saturating_sub(SAMPLED)
            .unwrap_or(last)
            .max(parts.first),
        to: last.saturating_add(micro).unwrap_or(last),
    };
    let selection = and(selection, Node::All(conditions));
    let query = EventQuery {
        selection: Selection { range, ..selection },
        after: None,
        is_oldest_first: false,
        limit: SAMPLES,
        bytes: MAX_LIST_BYTES / 256,
        compare: COMPARED,
    };
    let slice = search.events(query).await?;
    Ok(slice.events.into_iter().map(EventItem::from).collect())
}
