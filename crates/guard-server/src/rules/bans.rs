//! The bans in force, and the rules that concern an address.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::network::Network;
use super::operation::{Ban, Operation, Unban};
use super::policy::Entry;
use super::versions;
use crate::query::Utc;
use crate::store::{ProjectId, RulesStore, StoreError};

/// A ban in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ActiveBan {
    /// The id of its entry. Null if the published document makes it.
    #[schema(required = true)]
    pub id: Option<String>,
    /// The address or block.
    pub ip: String,
    /// Why.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// Who made it.
    #[schema(required = true)]
    pub author: Option<String>,
    /// When it was made.
    #[schema(required = true)]
    pub created_at: Option<Utc>,
    /// When it ends.
    #[schema(required = true)]
    pub ends_at: Option<Utc>,
}

/// A rule that concerns an address.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Match {
    /// `entry` or `document`.
    pub source: &'static str,
    /// The kind of the operation, or the field of the document.
    pub kind: String,
    /// The id of the entry.
    #[schema(required = true)]
    pub id: Option<String>,
    /// The address or block in it.
    pub value: String,
    /// Why.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// Who made it.
    #[schema(required = true)]
    pub author: Option<String>,
}

/// All bans in force: those of entries, and those of the published document.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn active(
    store: &dyn RulesStore,
    project: ProjectId,
    now: Timestamp,
) -> Result<Vec<ActiveBan>, StoreError> {
    let Some(policy) = policy(store, project).await? else {
        return Ok(Vec::new());
    };
    let entries = policy.entries.iter().filter(|entry| !entry.is_over(now));
    let made = entries.filter_map(ban_of);
    let published = policy.rules.ip_blacklist.iter().map(|ip| ActiveBan {
        id: None,
        ip: ip.clone(),
        reason: policy.rules.message.clone(),
        author: None,
        created_at: None,
        ends_at: None,
    });
    Ok(made.chain(published).collect())
}

fn ban_of(entry: &Entry) -> Option<ActiveBan> {
    let Operation::Ban(Ban { ip }) = &entry.operation else {
        return None;
    };
    Some(ActiveBan {
        id: Some(entry.operation.id()),
        ip: ip.clone(),
        reason: entry.reason.clone(),
        author: entry.author.clone(),
        created_at: Some(Utc(entry.created_at)),
        ends_at: entry.ends_at.map(Utc),
    })
}

/// Whether the ban covers the address.
pub fn covers(ban: &ActiveBan, address: IpAddr) -> bool {
    holds(&ban.ip, address)
}

fn holds(network: &str, address: IpAddr) -> bool {
    Network::parse(network).is_some_and(|network| network.holds(address))
}

/// The rules in force that name the address or a block that it is in.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn about(
    store: &dyn RulesStore,
    project: ProjectId,
    address: IpAddr,
    now: Timestamp,
) -> Result<Vec<Match>, StoreError> {
    let Some(policy) = policy(store, project).await? else {
        return Ok(Vec::new());
    };
    let entries = policy.entries.iter().filter(|entry| !entry.is_over(now));
    let entries = entries.filter_map(|entry| {
        let networks = match &entry.operation {
            Operation::Ban(Ban { ip }) | Operation::Unban(Unban { ip }) => std::slice::from_ref(ip),
            Operation::Emergency(emergency) => emergency.allowed.as_slice(),
            _ => &[],
        };
        let value = networks.iter().find(|network| holds(network, address))?;
        Some(Match {
            source: "entry",
            kind: entry.operation.schema().kind.to_owned(),
            id: Some(entry.operation.id()),
            value: value.clone(),
            reason: entry.reason.clone(),
            author: entry.author.clone(),
        })
    });
    let mut found: Vec<_> = entries.collect();
    for (field, networks) in [
        ("ip_blacklist", &policy.rules.ip_blacklist),
        ("ip_whitelist", &policy.rules.ip_whitelist),
        ("emergency_whitelist", &policy.rules.emergency_whitelist),
    ] {
        let matching = networks.iter().filter(|network| holds(network, address));
        found.extend(matching.map(|value| Match {
            source: "document",
            kind: field.to_owned(),
            id: None,
            value: value.clone(),
            reason: None,
            author: None,
        }));
    }
    Ok(found)
}

pub(super) async fn policy(
    store: &dyn RulesStore,
    project: ProjectId,
) -> Result<Option<super::policy::Policy>, StoreError> {
    let rules = store.rules(project).await?;
    // Rules that cannot be read are shown by the rules page.
    Ok(versions::policy_of(rules.as_ref()).ok())
}
