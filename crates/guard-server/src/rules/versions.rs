//! All changes to the rules of a project take the same path: read the policy in force, change it,
//! compose it, check it, and store it as the next version.

use guard_wire::rules::{DynamicRules, MAX_VERSION, RulesError};
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::compose::{Composed, compose};
use super::document;
use super::lockout;
use super::operation::{Ban, Operation, Schema};
use super::policy::{Entry, Policy};
use super::provenance::{Audited, Provenance};
use super::retention;
use crate::clock::AHEAD;
use crate::fingerprint::fingerprint;
use crate::people::Actor;
use crate::store::{Change, Draft, ProjectId, RulesOutcome, RulesStore, StoreError, StoredRules};

/// How often a change is retried because another one came first.
const ATTEMPTS: usize = 20;
/// The history text when only time has passed.
const RENEW: &str = "renew in time";
/// The history text when the clock was set.
const FOLLOW: &str = "follow the clock";

/// Why the rules were not changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// Guards could not use the document.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Guards would ignore the document, because its version is not above the stored one.
    #[error("rules field `version`: {given} is not above the stored {current}; {}", remedy_for_version(*.current))]
    Version {
        /// The document's version.
        given: i64,
        /// The stored version.
        current: i64,
    },
    /// There is nothing to remove, or the version does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The document may only replace one with the given tag, and another one is published.
    #[error(
        "another document was published than the one of this tag; read it (GET /api/v1/rules/published), then publish again with its tag in If-Match"
    )]
    Unmatched,
    /// Somebody else published since the draft was saved.
    #[error(
        "another document was published since the draft was saved; look at it and publish again"
    )]
    Replaced,
    /// The change could lock out legitimate clients.
    #[error("this would {}", .0.join(" and "))]
    Unconfirmed(Vec<String>),
    /// The change could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How to get a version above this one.
fn remedy_for_version(current: i64) -> String {
    if current < MAX_VERSION {
        format!("give {} or more", current + 1)
    } else {
        "no version that people may give is; save it as a draft and publish that, which gives it the next version".to_owned()
    }
}

/// The result of a change.
#[derive(Debug)]
pub struct Changed {
    /// The new policy.
    pub policy: Policy,
    /// The version to use instead of the next one.
    pub version: Option<i64>,
    /// The history text.
    pub action: String,
    /// Whether nothing changes but the time until which the rules hold. The audit log leaves that out.
    pub is_renewal: bool,
    /// The draft that it publishes. It is removed with the same commit.
    pub draft: Option<Draft>,
}

impl Changed {
    /// The next version, with this policy.
    pub(crate) fn to(policy: Policy, action: &str) -> Self {
        Self {
            policy,
            version: None,
            action: action.to_owned(),
            is_renewal: false,
            draft: None,
        }
    }
}

/// Stores the version that follows the one in force. Returns its number.
///
/// # Errors
///
/// [`ChangeError`]; nothing changed then.
pub async fn change(
    store: &dyn RulesStore,
    project: ProjectId,
    by: &Provenance,
    now: Timestamp,
    mut make: impl FnMut(Policy) -> Result<Changed, ChangeError> + Send,
) -> Result<i64, ChangeError> {
    by.check()?;
    for _ in 0..ATTEMPTS {
        let current = store.rules(project).await?;
        let from = current.as_ref().map(|rules| rules.version);
        let before: DynamicRules = match &current {
            Some(rules) => serde_json::from_str(&rules.document).map_err(RulesError::from)?,
            None => DynamicRules::default(),
        };
        let changed = make(policy_of(current.as_ref())?)?;
        let next = from.unwrap_or(0).saturating_add(1);
        let version = changed.version.unwrap_or(next);
        if let Some(current) = from.filter(|current| version <= *current) {
            return Err(ChangeError::Version {
                given: version,
                current,
            });
        }
        let mut composed = compose(changed.policy, &before.ip_blacklist, now);
        composed.rules.version = version;
        // Guards refuse a document without a timestamp.
        composed.rules.timestamp = Some(format!("{now:.6}"));
        let document = document::write(&composed.rules)?;
        if !by.confirmed {
            let risks = lockout::new(&before, &composed.rules, &by.caller);
            if !risks.is_empty() {
                return Err(ChangeError::Unconfirmed(risks));
            }
        }
        let entry = by.entry(&changed.action, version, now);
        let entry = entry.filter(|_| !changed.is_renewal);
        let change = Change {
            created_at: now,
            action: changed.action,
            author: by.author.clone(),
            reason: by.reason.clone(),
        };
        let next = stored(&composed, document, change, by.automatic)?;
        let keep = retention::keep(store, project, current.as_ref(), &next).await?;
        let set = store.set_rules(project, from, next, keep, changed.draft, entry);
        if set.await? == RulesOutcome::Set {
            return Ok(version);
        }
    }
    Err(StoreError::Busy.into())
}

/// Adds an entry to the policy. Returns the version.
///
/// # Errors
///
/// [`ChangeError`]; nothing changed then.
pub async fn put(
    store: &dyn RulesStore,
    project: ProjectId,
    entry: &Entry,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    let action = entry.operation.to_string();
    change(store, project, by, now, |mut policy| {
        policy.put(entry.clone());
        Ok(Changed::to(policy, &action))
    })
    .await
}

/// Removes what is about the same thing as `operation`. Lifts the ban of an address even if the
/// guard made it itself. Returns the version.
///
/// # Errors
///
/// [`ChangeError`]; nothing changed then.
pub async fn remove(
    store: &dyn RulesStore,
    project: ProjectId,
    mut operation: Operation,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    operation.normalize()?;
    let action = operation.describe_removal();
    change(store, project, by, now, |mut policy| {
        if policy.remove(&operation, by, now) {
            Ok(Changed::to(policy, &action))
        } else {
            Err(ChangeError::NotFound(
                "no such operation is in force, so nothing changed; to change what the published document says, publish another one".to_owned(),
            ))
        }
    })
    .await
}

/// Removes the entry with this id and of this kind. Returns the version.
///
/// # Errors
///
/// [`ChangeError`], [`NotFound`](ChangeError::NotFound) if no such entry is in force; nothing
/// changed then.
pub(crate) async fn remove_entry(
    store: &dyn RulesStore,
    project: ProjectId,
    schema: &Schema,
    id: &str,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    change(store, project, by, now, |mut policy| {
        let mut of_kind = policy
            .entries
            .iter()
            .filter(|entry| entry.operation.schema().kind == schema.kind && !entry.is_over(now));
        let found = of_kind.find(|entry| entry.operation.id() == id);
        let Some(operation) = found.map(|entry| entry.operation.clone()) else {
            return Err(ChangeError::NotFound(format!(
                "{} have no entry {id}; GET /api/v1/rules/entries lists all",
                schema.collection
            )));
        };
        policy.remove(&operation, by, now);
        Ok(Changed::to(policy, &operation.describe_removal()))
    })
    .await
}

fn stored(
    composed: &Composed,
    document: String,
    change: Change,
    automatic: bool,
) -> Result<StoredRules, RulesError> {
    Ok(StoredRules {
        version: composed.rules.version,
        document,
        policy: serde_json::to_string(&composed.policy)?,
        lease_ends: composed.lease_ends,
        due: composed.due,
        change,
        automatic,
    })
}

/// The document that people published. Operations apply on top of it.
pub(crate) struct Published {
    pub(crate) rules: DynamicRules,
    /// Identifies this document.
    pub(crate) tag: String,
}

impl Published {
    fn of(rules: DynamicRules) -> Result<Self, RulesError> {
        let tag = fingerprint(&[&serde_json::to_string(&rules)?]);
        Ok(Self { rules, tag })
    }
}

/// The published document.
///
/// # Errors
///
/// [`ChangeError`] when the store fails.
pub(crate) async fn published(
    store: &dyn RulesStore,
    project: ProjectId,
) -> Result<Published, ChangeError> {
    let policy = policy_of(store.rules(project).await?.as_ref())?;
    Ok(Published::of(policy.rules)?)
}

/// A document to publish.
pub(crate) struct Publishing<'a> {
    pub(crate) rules: &'a DynamicRules,
    /// The tags of the documents that it may replace. `None` allows any.
    pub(crate) expected: Option<&'a [&'a str]>,
    /// The version to use instead of the next one.
    pub(crate) version: Option<i64>,
    /// The history text.
    pub(crate) action: &'a str,
    /// The draft that has these rules. It is removed with the same commit.
    pub(crate) draft: Option<&'a Draft>,
}

/// Replaces the published document. Operations stay. Returns the version.
///
/// # Errors
///
/// [`ChangeError`], [`Unmatched`](ChangeError::Unmatched) if it may not replace the published
/// document; nothing changed then.
pub(crate) async fn publish(
    store: &dyn RulesStore,
    project: ProjectId,
    publishing: Publishing<'_>,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    let Publishing {
        rules,
        expected,
        version,
        action,
        draft,
    } = publishing;
    change(store, project, by, now, |mut policy| {
        let replaced = policy.publish(rules.clone());
        if let Some(expected) = expected
            && !expected.contains(&Published::of(replaced)?.tag.as_str())
        {
            return Err(ChangeError::Unmatched);
        }
        Ok(Changed {
            version,
            draft: draft.cloned(),
            ..Changed::to(policy, action)
        })
    })
    .await
}

pub(crate) fn policy_of(rules: Option<&StoredRules>) -> Result<Policy, RulesError> {
    rules.map_or_else(
        || Ok(Policy::default()),
        |rules| Ok(serde_json::from_str(&rules.policy)?),
    )
}

/// The version of the rules, and the operations in force at `now`.
///
/// # Errors
///
/// [`ChangeError`] when the store fails.
pub async fn in_force(
    store: &dyn RulesStore,
    project: ProjectId,
    now: Timestamp,
) -> Result<(Option<i64>, Vec<Entry>), ChangeError> {
    let stored = store.rules(project).await?;
    let mut entries = policy_of(stored.as_ref())?.entries;
    // Ended entries stay stored until the next version.
    entries.retain(|entry| !entry.is_over(now));
    Ok((stored.map(|rules| rules.version), entries))
}

/// Whether an operation in force or the published document bans the target of `ban`.
///
/// # Errors
///
/// [`ChangeError`] if it is not an address or block, or if the store fails.
pub(crate) async fn is_banned(
    store: &dyn RulesStore,
    project: ProjectId,
    ban: &Ban,
    now: Timestamp,
) -> Result<bool, ChangeError> {
    let mut ban = Operation::Ban(ban.clone());
    ban.normalize()?;
    let policy = policy_of(store.rules(project).await?.as_ref())?;
    let mut in_force = policy.entries.iter().filter(|entry| !entry.is_over(now));
    let is_published = |listed: &String| Operation::Ban(Ban { ip: listed.clone() }) == ban;
    Ok(in_force.any(|entry| entry.operation == ban)
        || policy.rules.ip_blacklist.iter().any(is_published))
}

/// A stored version.
///
/// # Errors
///
/// [`ChangeError::NotFound`] if the version is not stored.
pub async fn at(
    store: &dyn RulesStore,
    project: ProjectId,
    version: i64,
) -> Result<StoredRules, ChangeError> {
    let stored = store.rules_at(project, version).await?;
    stored.ok_or_else(|| ChangeError::NotFound(format!("no version {version} is kept")))
}

/// A stored version that could be published today.
#[derive(Debug)]
pub(crate) struct Earlier {
    version: i64,
    policy: Policy,
}

/// A stored version, checked as if it were published today. An earlier server may have accepted a
/// document that this one refuses.
///
/// # Errors
///
/// [`ChangeError`] if it is not stored or could not be published.
pub(crate) async fn rechecked(
    store: &dyn RulesStore,
    project: ProjectId,
    version: i64,
) -> Result<Earlier, ChangeError> {
    let stored = at(store, project, version).await?;
    document::read_again(stored.document.as_bytes())?;
    let policy = policy_of(Some(&stored))?;
    Ok(Earlier { version, policy })
}

/// Restores the policy of `version`, without what has ended since.
///
/// # Errors
///
/// [`ChangeError`], also if the version is not stored or could not be published today.
pub async fn roll_back(
    store: &dyn RulesStore,
    project: ProjectId,
    version: i64,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    let old = rechecked(store, project, version).await?;
    roll_back_to(store, project, &old, by, now).await
}

/// Like [`roll_back`], for a version that was checked already.
pub(crate) async fn roll_back_to(
    store: &dyn RulesStore,
    project: ProjectId,
    old: &Earlier,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    let action = format!("roll back to {}", old.version);
    change(store, project, by, now, |current| {
        let policy = old.policy.clone().instead_of(&current);
        Ok(Changed::to(policy, &action))
    })
    .await
}

/// Composes everything again that is due at `now`: bans that end or need a new lease, and versions
/// from before the clock was set back. A failure in one project does not affect the others.
///
/// # Errors
///
/// [`ChangeError`] of the last failure. That project stays due.
pub async fn compose_due(store: &dyn RulesStore, now: Timestamp) -> Result<(), ChangeError> {
    let mut outcome = Ok(());
    for (project, name) in store.rules_due(now, now + AHEAD).await? {
        let by = Provenance {
            audited: Some(Audited {
                actor: Actor::SERVER,
                action: "rules.end",
                project: name,
            }),
            ..by_server()
        };
        let changed = change(store, project, &by, now, |policy| {
            let ending = policy.ending(now);
            Ok(Changed {
                is_renewal: ending.is_none(),
                ..Changed::to(policy, ending.as_deref().unwrap_or(RENEW))
            })
        });
        if let Err(error) = changed.await {
            outcome = Err(error);
        }
    }
    outcome
}

/// Moves the ends of all operations after the clock was set by this much. Their remaining time
/// stays the same, and bans that continue are renewed in time.
///
/// # Errors
///
/// [`ChangeError`] of the last failure.
pub async fn follow_clock(
    store: &dyn RulesStore,
    by: SignedDuration,
    now: Timestamp,
) -> Result<(), ChangeError> {
    let planned = store.rules_due(Timestamp::MAX, Timestamp::MAX).await?;
    let (mut outcome, author) = (Ok(()), by_server());
    for (project, _) in planned {
        let changed = change(store, project, &author, now, |mut policy| {
            policy.move_by(by);
            Ok(Changed::to(policy, FOLLOW))
        });
        if let Err(error) = changed.await {
            outcome = Err(error);
        }
    }
    outcome
}

/// The server itself changes the rules.
fn by_server() -> Provenance {
    Provenance {
        confirmed: true,
        automatic: true,
        ..Provenance::default()
    }
}
