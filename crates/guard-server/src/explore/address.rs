//! Everything about one address.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{BucketsAnswer, EventItem, RangeAnswer, SeriesAnswer, TopAnswer};
use super::filters::{and, has, named, one_of};
use crate::query::buckets::Buckets;
use crate::query::{MAX_LIST_BYTES, Utc};
use crate::rules::bans::{self, ActiveBan, Match};
use crate::store::{EventQuery, Search, Selection, StoreError, Stores};

/// How many keys each top list has.
const TOP: usize = 10;
/// How many past bans are listed of each kind.
const PAST: usize = 20;
/// How many versions of the rules are searched for past bans.
const VERSIONS: u16 = 1000;

/// Everything about one address.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddressAnswer {
    /// The address.
    #[schema(value_type = String, example = "203.0.113.7")]
    pub ip: IpAddr,
    /// The range.
    #[serde(flatten)]
    pub range: RangeAnswer,
    /// Its first event in the range.
    #[schema(required = true)]
    pub first_seen: Option<Utc>,
    /// Its last event in the range.
    #[schema(required = true)]
    pub last_seen: Option<Utc>,
    /// How many events it has.
    pub total: u64,
    /// Its events by type.
    pub event_types: TopAnswer,
    /// Its events by action.
    pub actions: TopAnswer,
    /// Its events by endpoint.
    pub endpoints: TopAnswer,
    /// Its events by user agent.
    pub user_agents: TopAnswer,
    /// Its events by reason.
    pub reasons: TopAnswer,
    /// The installs that saw it.
    pub installs: TopAnswer,
    /// Its events by action, over time.
    pub series: SeriesAnswer,
    /// Its bans.
    pub bans: AddressBans,
    /// The rules in force that name it or a block that it is in.
    pub rules: Vec<Match>,
}

/// The bans of an address.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddressBans {
    /// In force.
    pub active: Vec<ActiveBan>,
    /// Changes of the rules about it, newest first.
    pub past: Vec<PastBan>,
    /// What guards reported of bans that they made or lifted, newest first.
    pub by_guards: Vec<EventItem>,
}

/// A change of the rules about an address.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastBan {
    /// When.
    pub at: Utc,
    /// What was done.
    pub action: String,
    /// Who did it.
    #[schema(required = true)]
    pub author: Option<String>,
    /// Why.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// The version of the rules.
    pub version: i64,
}

/// Everything about `ip` in the selection, which is not limited to it yet.
///
/// # Errors
///
/// [`StoreError`] if a store fails.
pub async fn address(
    stores: &Stores,
    ip: IpAddr,
    selection: Selection,
    buckets: &Buckets,
    now: Timestamp,
) -> Result<AddressAnswer, StoreError> {
    let (project, range) = (selection.project, selection.range);
    let search = &*stores.search;
    let selection = and(&selection, has(named("ip_address"), &Some(ip.to_string())));
    let whole = search
        .top(selection.clone(), vec![named("ip_address")], 1)
        .await?;
    let top = async |name| {
        let top = search.top(selection.clone(), vec![named(name)], TOP);
        top.await.map(TopAnswer::from)
    };
    let action = Some(named("action_taken"));
    let series = search
        .series(selection.clone(), action, buckets.clone())
        .await?;
    let mut active = bans::active(&*stores.rules, project, now).await?;
    active.retain(|ban| bans::covers(ban, ip));
    let first = whole.items.first();
    Ok(AddressAnswer {
        ip,
        range: range.into(),
        first_seen: first.map(|item| Utc(item.first)),
        last_seen: first.map(|item| Utc(item.last)),
        total: whole.total(),
        event_types: top("event_type").await?,
        actions: top("action_taken").await?,
        endpoints: top("endpoint").await?,
        user_agents: top("user_agent").await?,
        reasons: top("reason").await?,
        installs: top("install_id").await?,
        series: SeriesAnswer::new(series, BucketsAnswer::new(buckets, range, now)),
        bans: AddressBans {
            active,
            past: past(stores, &selection, ip).await?,
            by_guards: by_guards(search, &selection).await?,
        },
        rules: bans::about(&*stores.rules, project, ip, now).await?,
    })
}

/// The versions of the rules whose change names the address.
async fn past(
    stores: &Stores,
    selection: &Selection,
    ip: IpAddr,
) -> Result<Vec<PastBan>, StoreError> {
    let history = stores
        .rules
        .rules_history(selection.project, i64::MAX, VERSIONS);
    let ip = ip.to_string();
    let names_it = |action: &str| action.split([' ', ',']).any(|word| word == ip);
    let versions = history.await?.into_iter();
    let about = versions.filter(|(_, change)| names_it(&change.action));
    let bans = about.take(PAST).map(|(version, change)| PastBan {
        at: Utc(change.created_at),
        action: change.action,
        author: change.author,
        reason: change.reason,
        version,
    });
    Ok(bans.collect())
}

/// What guards reported of bans.
async fn by_guards(
    search: &dyn Search,
    selection: &Selection,
) -> Result<Vec<EventItem>, StoreError> {
    let query = EventQuery {
        selection: and(
            selection,
            one_of("event_type", &["ip_banned", "ip_unbanned"]),
        ),
        after: None,
        is_oldest_first: false,
        limit: 20,
        bytes: MAX_LIST_BYTES / 16,
        compare: u32::MAX,
    };
    let slice = search.events(query).await?;
    Ok(slice.events.into_iter().map(EventItem::from).collect())
}
