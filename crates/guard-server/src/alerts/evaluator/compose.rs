//! Puts notifications together.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::fill::{selection, until_now};
use super::seen::SeenValues;
use super::state::{GroupKey, GroupState, Step};
use super::watch::{Source, Watch};
use crate::alerts::notification::{Group, Links, Notification, NotificationState, TOP, TopEntry};
use crate::alerts::{AlertRule, Condition};
use crate::query::TimeRange;
use crate::query::filter::{Field, Filter, Node, Test};
use crate::store::{Project, StoreError, Stores};
use crate::visible::visible;

/// The longest summary, in characters.
const MAX_SUMMARY: usize = 300;
/// The longest link, in bytes: proxies refuse longer ones.
const MAX_LINK: usize = 2000;

/// The subject of a notification.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) project: &'a Project,
    pub(super) watch: &'a Watch,
    pub(super) group: &'a GroupKey,
    pub(super) state: &'a GroupState,
    pub(super) step: Step,
    pub(super) now: Timestamp,
    /// The base URL of the dashboard. Empty if it is unknown.
    pub(super) base: &'a str,
}

/// The notification, without its id. Without the events, if they cannot be read.
pub(super) async fn compose(subject: Subject<'_>, stores: &Stores) -> Notification {
    let Subject {
        project,
        watch,
        state,
        now,
        ..
    } = subject;
    let rule = &watch.rule;
    let events = events_of(subject).map(Arc::new);
    let range = until_now(state.since, state.ended_at.unwrap_or(now).max(state.since));
    let tops = match &events {
        Some(filter) => tops(stores, project, range, filter).await.ok(),
        None => None,
    };
    let is_counted = matches!(watch.source, Source::Events(_));
    let (total, top_addresses, top_endpoints) = tops.unwrap_or_default();
    let count = if is_counted {
        total.max(state.count)
    } else {
        state.count
    };
    Notification {
        id: String::new(),
        alert_id: rule.id.clone(),
        alert: rule.settings.label.clone(),
        project: project.name.clone(),
        condition: rule.settings.condition.name().to_owned(),
        state: subject.step.state,
        summary: summary(rule, subject.group, state, subject.step.state, now),
        group: group(rule, subject.group),
        since: state.since,
        at: now,
        count,
        links: links(subject, events.as_deref(), range, &top_addresses),
        top_addresses,
        top_endpoints,
        test: false,
    }
}

/// The events that it is about.
fn events_of(subject: Subject<'_>) -> Option<Filter> {
    let filter = subject.watch.filter()?;
    let field = match &subject.watch.source {
        Source::Events(counts) => counts.group.as_ref(),
        Source::Values(values) => Some(&values.field),
        _ => None,
    };
    let has =
        |field: &Field, value: &str| Node::Field(field.clone(), Test::Equals(value.to_owned()));
    let more = match (field, subject.group) {
        (Some(field), GroupKey::Value(Some(value))) => has(field, value),
        (Some(field), GroupKey::Value(None)) => {
            Node::Not(Box::new(Node::Field(field.clone(), Test::Present)))
        }
        (Some(field), GroupKey::Whole) => {
            let values = new_values(&subject.watch.source);
            let nodes: Vec<_> = values.map(|value| has(field, value)).collect();
            if nodes.is_empty() {
                return Some((**filter).clone());
            }
            Node::Any(nodes)
        }
        _ => return Some((**filter).clone()),
    };
    Some(if filter.is_everything() {
        Filter { root: more }
    } else {
        Filter {
            root: Node::All(vec![filter.root.clone(), more]),
        }
    })
}

fn new_values(source: &Source) -> impl Iterator<Item = &str> {
    let values = match source {
        Source::Values(values) => values.seen.as_ref(),
        _ => None,
    };
    values.into_iter().flat_map(SeenValues::names)
}

type Tops = (u64, Vec<TopEntry>, Vec<TopEntry>);

async fn tops(
    stores: &Stores,
    project: &Project,
    range: TimeRange,
    filter: &Arc<Filter>,
) -> Result<Tops, StoreError> {
    let top = async |name| {
        let by = vec![Field::Named(name)];
        // One more, because a missing value takes a place.
        let top = stores
            .search
            .top(selection(project.id, range, filter), by, TOP + 1)
            .await?;
        let total = top.total();
        let entries = top.items.into_iter().filter_map(|item| {
            let value = item.key.into_iter().next()??;
            let value = visible(&value).chars().take(MAX_SUMMARY).collect();
            let count = item.count;
            Some(TopEntry { value, count })
        });
        Ok::<_, StoreError>((total, entries.take(TOP).collect()))
    };
    let (total, addresses) = top("ip_address").await?;
    Ok((total, addresses, top("endpoint").await?.1))
}

fn group(rule: &AlertRule, group: &GroupKey) -> Option<Group> {
    let field = match &rule.settings.condition {
        Condition::AgentSilent(_) => "install_id".to_owned(),
        _ => rule.settings.group_by.clone()?,
    };
    match group {
        GroupKey::Whole => None,
        GroupKey::Value(value) => Some(Group {
            field,
            value: Some(value.clone().unwrap_or_default()),
        }),
        GroupKey::Rest => Some(Group { field, value: None }),
    }
}

/// What happened, in one line.
fn summary(
    rule: &AlertRule,
    key: &GroupKey,
    state: &GroupState,
    step: NotificationState,
    now: Timestamp,
) -> String {
    let what = what(&rule.settings.condition, key, state);
    let of = match (group(rule, key), key) {
        (Some(_), GroupKey::Rest) => format!(", {}", state.detail.as_deref().unwrap_or_default()),
        (Some(group), GroupKey::Value(Some(value))) if rule.settings.group_by.is_some() => {
            format!(", {} {value}", group.field)
        }
        (Some(group), GroupKey::Value(None)) => format!(", without {}", group.field),
        _ => String::new(),
    };
    let until = state.ended_at.unwrap_or(now);
    let lasted = span(until.duration_since(state.since));
    let text = match step {
        NotificationState::Started => format!("{what}{of}"),
        NotificationState::Ongoing => format!("{what}{of}, for {lasted} now"),
        NotificationState::Ended => format!("ended after {lasted}: {what}{of}"),
    };
    visible(&text).chars().take(MAX_SUMMARY).collect()
}

fn what(condition: &Condition, key: &GroupKey, state: &GroupState) -> String {
    let detail = state.detail.as_deref().unwrap_or_default();
    let count = state.count;
    let within = |seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        span(SignedDuration::from_secs(seconds))
    };
    match condition {
        Condition::Threshold(it) => {
            format!("{} within {}", number(count, "event"), within(it.window_s))
        }
        Condition::Rise(it) => format!(
            "{} within {}, {} before",
            number(count, "event"),
            within(it.window_s),
            state.baseline.unwrap_or(0)
        ),
        Condition::FirstSeen(it) => format!("new {}: {detail}", it.field),
        Condition::AgentSilent(_) => match key {
            GroupKey::Value(Some(install)) => {
                let host = if detail.is_empty() {
                    String::new()
                } else {
                    format!(" on {detail}")
                };
                format!("agent {install}{host} silent since {}", short(state.since))
            }
            _ => format!("{} silent", number(count, "agent")),
        },
        Condition::Losses(it) => format!(
            "{} lost within {}: {detail}",
            number(count, "record"),
            within(it.window_s)
        ),
        Condition::Storage(_) => detail.to_owned(),
        Condition::RuleRejected(_) => {
            let refuse = if count == 1 { "refuses" } else { "refuse" };
            format!("{} {refuse} the rules: {detail}", number(count, "agent"))
        }
        Condition::SignInFailures(it) => format!(
            "{} at this server within {}",
            number(count, "wrong password"),
            within(it.window_s)
        ),
    }
}

fn number(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A duration in its largest whole unit below ten thousand seconds.
fn span(duration: SignedDuration) -> String {
    let seconds = u64::try_from(duration.as_secs()).unwrap_or(0);
    match seconds {
        0..120 => number(seconds, "second"),
        120..7200 => number(seconds / 60, "minute"),
        7200..172_800 => number(seconds / 3600, "hour"),
        _ => number(seconds / 86_400, "day"),
    }
}

fn short(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn links(
    subject: Subject<'_>,
    events: Option<&Filter>,
    range: TimeRange,
    addresses: &[TopEntry],
) -> Links {
    let of_project = format!("{}/p/{}", subject.base, encoded(&subject.project.name));
    let page = match &subject.watch.rule.settings.condition {
        Condition::AgentSilent(_) | Condition::Losses(_) => "agents",
        Condition::Storage(_) => "settings",
        Condition::RuleRejected(_) => "rules?tab=adoption",
        Condition::SignInFailures(_) => "settings?tab=audit",
        _ => {
            let time = |at: Timestamp| encoded(&at.to_string());
            let times = format!("from={}&to={}", time(range.from), time(range.to));
            let view =
                |filter: &str| format!("{of_project}/events?filter={}&{times}", encoded(filter));
            let filter = events.map(ToString::to_string).unwrap_or_default();
            let mut link = view(&filter);
            if link.len() > MAX_LINK {
                link = view("");
            }
            let addresses = addresses
                .iter()
                .filter(|it| it.value.parse::<std::net::IpAddr>().is_ok());
            let addresses: Vec<_> = addresses.map(|it| encoded(&it.value)).collect();
            let ban = format!("{link}&ban={}", addresses.join(","));
            return Links {
                view: link,
                ban: (!addresses.is_empty()).then_some(ban),
            };
        }
    };
    Links {
        view: format!("{of_project}/{page}"),
        ban: None,
    }
}

/// Text as a part of a URL.
fn encoded(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(byte.into());
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}
