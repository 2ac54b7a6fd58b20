//! What is in force, in pages: the operations, and the bans of the published document.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bans;
use super::operation::{Ban, Operation, Unban};
use super::policy::Policy;
use crate::query::Utc;
use crate::store::{ProjectId, RulesStore, StoreError};

/// Which part of the list is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only operations of this kind, such as `ban`.
    pub kind: Option<String>,
    /// Only those with this text in what they name, in their reason or their author. ASCII case
    /// does not matter.
    pub search: Option<String>,
    /// Only those after this position.
    pub after: Option<Position>,
    /// How many at most.
    pub limit: usize,
}

/// A place in the list. It stays valid while rules come and go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Newest first, in microseconds; then what has no time.
    made: Reverse<i64>,
    key: String,
}

/// An operation in force, or a ban of the published document.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// The id of its entry. `None` if the document makes it.
    pub id: Option<String>,
    /// What it does.
    #[serde(flatten)]
    pub operation: Operation,
    /// Why.
    pub reason: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// When it was made. `None` if the document makes it.
    pub created_at: Option<Utc>,
    /// When it ends.
    pub ends_at: Option<Utc>,
    #[serde(skip)]
    position: Position,
}

/// A page of what is in force.
#[derive(Debug)]
pub struct InForce {
    /// The version of the rules; `None` if there are none.
    pub version: Option<i64>,
    /// The page, newest first; bans of the document come last.
    pub items: Vec<Rule>,
    /// How many match in all.
    pub total: usize,
    /// How many there are of each kind, whether they match or not.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Where the next page begins. `None` after the last one.
    pub next: Option<Position>,
}

/// Lists what is in force.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn in_force(
    store: &dyn RulesStore,
    project: ProjectId,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<InForce, StoreError> {
    let version = store.rules(project).await?.map(|rules| rules.version);
    let policy = bans::policy(store, project).await?;
    let rules = policy.map_or_else(Vec::new, |policy| all(policy, now));
    Ok(page(rules, version, wanted))
}

fn page(mut rules: Vec<Rule>, version: Option<i64>, wanted: &Wanted) -> InForce {
    let mut kinds = BTreeMap::new();
    for rule in &rules {
        *kinds.entry(rule.operation.schema().kind).or_default() += 1;
    }
    rules.retain(|rule| matches(rule, wanted));
    let total = rules.len();
    rules.sort_unstable_by(|a, b| a.position.cmp(&b.position));
    let begin = wanted.after.as_ref().map_or(0, |after| {
        rules.partition_point(|rule| rule.position <= *after)
    });
    let mut items = rules.split_off(begin);
    let is_cut = items.len() > wanted.limit;
    items.truncate(wanted.limit);
    let last = items.last().filter(|_| is_cut);
    let next = last.map(|rule| rule.position.clone());
    InForce {
        version,
        items,
        total,
        kinds,
        next,
    }
}

fn all(policy: Policy, now: Timestamp) -> Vec<Rule> {
    let entries = policy.entries.into_iter();
    let entries = entries.filter(|entry| !entry.is_over(now)).map(|entry| {
        let id = entry.operation.id();
        Rule {
            position: Position {
                made: Reverse(entry.created_at.as_microsecond()),
                key: id.clone(),
            },
            id: Some(id),
            operation: entry.operation,
            reason: entry.reason,
            author: entry.author,
            created_at: Some(Utc(entry.created_at)),
            ends_at: entry.ends_at.map(Utc),
        }
    });
    let published = policy.rules.ip_blacklist.into_iter().map(|ip| Rule {
        position: Position {
            made: Reverse(i64::MIN),
            key: ip.clone(),
        },
        id: None,
        operation: Operation::Ban(Ban { ip }),
        reason: policy.rules.message.clone(),
        author: None,
        created_at: None,
        ends_at: None,
    });
    entries.chain(published).collect()
}

fn matches(rule: &Rule, wanted: &Wanted) -> bool {
    let kind = wanted.kind.as_deref();
    if kind.is_some_and(|kind| kind != rule.operation.schema().kind) {
        return false;
    }
    let Some(text) = wanted.search.as_deref().filter(|text| !text.is_empty()) else {
        return true;
    };
    let named = match &rule.operation {
        Operation::Ban(Ban { ip }) | Operation::Unban(Unban { ip }) => contains(ip, text),
        other => serde_json::to_string(other).is_ok_and(|json| contains(&json, text)),
    };
    let noted = [&rule.reason, &rule.author];
    named || noted.into_iter().flatten().any(|it| contains(it, text))
}

/// Whether `text` is in `all`, in any ASCII case.
fn contains(all: &str, text: &str) -> bool {
    let (all, text) = (all.as_bytes(), text.as_bytes());
    all.windows(text.len())
        .any(|window| window.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use guard_wire::rules::DynamicRules;
    use jiff::SignedDuration;

    use super::*;
    use crate::rules::policy::Entry;
    use crate::rules::provenance::Provenance;

    fn rules(bans: u8, published: &[&str]) -> Vec<Rule> {
        let begin: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let entries = (0..bans).map(|n| {
            let ban = Operation::Ban(Ban {
                ip: format!("192.0.2.{n}"),
            });
            let by = Provenance {
                reason: Some(format!("Scan {n}")),
                ..Provenance::default()
            };
            Entry::new(ban, None, &by, begin + SignedDuration::from_secs(n.into())).unwrap()
        });
        let policy = Policy {
            entries: entries.collect(),
            rules: DynamicRules {
                ip_blacklist: published.iter().map(|&ip| ip.to_owned()).collect(),
                ..DynamicRules::default()
            },
            ended: None,
        };
        all(policy, begin)
    }

    fn addresses(page: &InForce) -> Vec<&str> {
        let ips = page.items.iter().map(|rule| match &rule.operation {
            Operation::Ban(Ban { ip }) => ip.as_str(),
            _ => "",
        });
        ips.collect()
    }

    #[test]
    fn pages_list_the_newest_first_and_the_document_last() {
        let published = ["203.0.113.2", "203.0.113.1"];
        let mut wanted = Wanted {
            limit: 2,
            ..Wanted::default()
        };
        let mut pages = Vec::new();
        loop {
            let page = page(rules(3, &published), Some(7), &wanted);
            assert_eq!((page.version, page.total), (Some(7), 5));
            pages.push(addresses(&page).join(" "));
            let Some(next) = page.next else { break };
            wanted.after = Some(next);
        }
        assert_eq!(
            pages,
            [
                "192.0.2.2 192.0.2.1",
                "192.0.2.0 203.0.113.1",
                "203.0.113.2"
            ]
        );
    }

    #[test]
    fn a_page_continues_after_a_rule_that_is_gone() {
        let first = page(
            rules(5, &[]),
            None,
            &Wanted {
                limit: 2,
                ..Wanted::default()
            },
        );
        let mut left = rules(5, &[]);
        left.retain(|rule| rule.position != *first.next.as_ref().unwrap());
        let wanted = Wanted {
            after: first.next,
            limit: 2,
            ..Wanted::default()
        };
        assert_eq!(
            addresses(&page(left, None, &wanted)),
            ["192.0.2.2", "192.0.2.1"][..]
        );
    }

    #[test]
    fn a_search_looks_at_what_a_rule_names_and_why() {
        let found = |search: &str, kind: Option<&str>| {
            let wanted = Wanted {
                search: Some(search.to_owned()),
                kind: kind.map(str::to_owned),
                limit: 10,
                ..Wanted::default()
            };
            let page = page(rules(12, &["203.0.113.1"]), None, &wanted);
            assert_eq!(page.kinds["ban"], 13);
            page.total
        };
        assert_eq!(found("sCAN 1", None), 3);
        assert_eq!(found("203.0.", Some("ban")), 1);
        assert_eq!(found("", Some("ban")), 13);
        assert_eq!(found("203.0.", Some("country")), 0);
        assert_eq!(found("nothing", None), 0);
    }
}
