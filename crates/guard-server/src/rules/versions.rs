//! Every change to the rules of a project, one way: read the policy in force,
//! change it, compose it, check it, store it as the next version.

use guard_wire::rules::{DynamicRules, MAX_VERSION, RulesError};
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::compose::{Composed, compose};
use super::document;
use super::lockout;
use super::operation::{Ban, Operation, Schema};
use super::policy::{Entry, Policy};
use super::provenance::Provenance;
use super::retention;
use crate::clock::AHEAD;
use crate::fingerprint::fingerprint;
use crate::store::{Change, ProjectId, RulesOutcome, RulesStore, StoreError, StoredRules};

/// How often a change is made anew because another one came first.
const ATTEMPTS: usize = 20;
/// What history tells when nothing but time has gone by.
const RENEW: &str = "renew in time";
/// What history tells when the clock was set.
const FOLLOW: &str = "follow the clock";

/// Why rules were not changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The document is not one that guards could use.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Guards would ignore it.
    #[error("rules field `version`: {given} is not above the stored {current}; {}", way_above(*.current))]
    Version {
        /// The document's version.
        given: i64,
        /// The stored version.
        current: i64,
    },
    /// There is nothing to remove, or no such version.
    #[error("{0}")]
    NotFound(String),
    /// It may only be published in place of another document than the one in force.
    #[error(
        "another document was published than the one of this tag; read it (GET /api/v1/rules/published), then publish again with its tag in If-Match"
    )]
    Unmatched,
    /// Somebody else published since the draft was saved.
    #[error(
        "another document was published since the draft was saved; look at it and publish again"
    )]
    Replaced,
    /// It would lock people out whom nobody may have meant.
    #[error("this would {}", .0.join(" and "))]
    Unconfirmed(Vec<String>),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How to come above a version.
fn way_above(current: i64) -> String {
    if current < MAX_VERSION {
        format!("give {} or more", current + 1)
    } else {
        "no version that people may give is; save it as a draft and publish that, which gives it the next version".to_owned()
    }
}

/// What a change comes to.
#[derive(Debug)]
pub struct Changed {
    /// The new policy.
    pub policy: Policy,
    /// The version it is to have, if not simply the next.
    pub version: Option<i64>,
    /// What was done, as history tells it.
    pub action: String,
}

impl Changed {
    /// The next version: this policy.
    pub(crate) fn to(policy: Policy, action: &str) -> Self {
        Self {
            policy,
            version: None,
            action: action.to_owned(),
        }
    }
}

/// Makes the version that follows the one in force; answers its number.
///
/// # Errors
///
/// [`ChangeError`]; then nothing changed.
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
        // Guards take no document without it.
        composed.rules.timestamp = Some(format!("{now:.6}"));
        let document = document::write(&composed.rules)?;
        if !by.confirmed {
            let risks = lockout::new(&before, &composed.rules, &by.caller);
            if !risks.is_empty() {
                return Err(ChangeError::Unconfirmed(risks));
            }
        }
        let change = Change {
            created_at: now,
            action: changed.action,
            author: by.author.clone(),
            reason: by.reason.clone(),
        };
        let next = stored(&composed, document, change)?;
        let keep = retention::keep(store, project, current.as_ref(), &next).await?;
        if store.set_rules(project, from, next, keep).await? == RulesOutcome::Set {
            return Ok(version);
        }
    }
    Err(StoreError::Busy.into())
}

/// Adds an entry to the policy; answers the version.
///
/// # Errors
///
/// [`ChangeError`]; then nothing changed.
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

/// Takes back what is about the same thing as `operation`; lifts the ban of an
/// address even if the guard made it by itself. Answers the version.
///
/// # Errors
///
/// [`ChangeError`]; then nothing changed.
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
                "there is no such entry to remove; what the published document says is changed by publishing another".to_owned(),
            ))
        }
    })
    .await
}

/// Takes back the entry with this id and of this kind. Answers the version.
///
/// # Errors
///
/// [`ChangeError`], [`NotFound`](ChangeError::NotFound) if no such entry is in force; then nothing
/// changed.
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
) -> Result<StoredRules, RulesError> {
    Ok(StoredRules {
        version: composed.rules.version,
        document,
        policy: serde_json::to_string(&composed.policy)?,
        lease_ends: composed.lease_ends,
        due: composed.due,
        change,
    })
}

/// The document that people published, which operations are made upon.
pub(crate) struct Published {
    pub(crate) rules: DynamicRules,
    /// Tells it from any other.
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

/// A document to be published.
pub(crate) struct Publishing<'a> {
    pub(crate) rules: &'a DynamicRules,
    /// The tags of documents that it may replace, if not just any.
    pub(crate) expected: Option<&'a [&'a str]>,
    /// Its version, if not simply the next.
    pub(crate) version: Option<i64>,
    /// What history tells.
    pub(crate) action: &'a str,
}

/// Puts a document in place of the published one; operations stay. Answers the
/// version.
///
/// # Errors
///
/// [`ChangeError`], [`Unmatched`](ChangeError::Unmatched) when it may not replace the
/// published one; then nothing changed.
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
    // What ended is taken out only by the next version.
    entries.retain(|entry| !entry.is_over(now));
    Ok((stored.map(|rules| rules.version), entries))
}

/// Whether an operation in force or the published document bans what `ban` does.
///
/// # Errors
///
/// [`ChangeError`] when it is no address or block, or the store fails.
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

/// A version that is kept.
///
/// # Errors
///
/// [`ChangeError::NotFound`] for one that is not.
pub async fn at(
    store: &dyn RulesStore,
    project: ProjectId,
    version: i64,
) -> Result<StoredRules, ChangeError> {
    let stored = store.rules_at(project, version).await?;
    stored.ok_or_else(|| ChangeError::NotFound(format!("no version {version} is kept")))
}

/// A version that is kept, and that could be published today.
#[derive(Debug)]
pub(crate) struct Earlier {
    version: i64,
    policy: Policy,
}

/// A version that is kept, checked as if it were published today: an earlier server may have
/// accepted what this one refuses.
///
/// # Errors
///
/// [`ChangeError`] when it is not kept or could not be published.
pub(crate) async fn judged_at(
    store: &dyn RulesStore,
    project: ProjectId,
    version: i64,
) -> Result<Earlier, ChangeError> {
    let stored = at(store, project, version).await?;
    document::judged(stored.document.as_bytes())?;
    let policy = policy_of(Some(&stored))?;
    Ok(Earlier { version, policy })
}

/// Goes back to what `version` said, except for what has ended since.
///
/// # Errors
///
/// [`ChangeError`], also for a version that is not kept or could not be published today.
pub async fn roll_back(
    store: &dyn RulesStore,
    project: ProjectId,
    version: i64,
    by: &Provenance,
    now: Timestamp,
) -> Result<i64, ChangeError> {
    let old = judged_at(store, project, version).await?;
    roll_back_to(store, project, &old, by, now).await
}

/// [`roll_back`] to a version that has been checked.
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

/// Composes again whatever is due at `now`: bans that end or must go on, and what was made before
/// the clock was set back. One project's trouble is not another's.
///
/// # Errors
///
/// [`ChangeError`] of the last that failed; it stays due.
pub async fn compose_due(store: &dyn RulesStore, now: Timestamp) -> Result<(), ChangeError> {
    let due = store.rules_due(now, now + AHEAD).await?;
    change_each(store, due, now, |policy| {
        let action = policy.ending(now);
        let action = action.as_deref().unwrap_or(RENEW);
        Changed::to(policy, action)
    })
    .await
}

/// Moves the ends of all operations: the clock was set by so much. So what is left of each stays
/// the same, and bans that go on are renewed in time.
///
/// # Errors
///
/// [`ChangeError`] of the last that failed.
pub async fn follow_clock(
    store: &dyn RulesStore,
    by: SignedDuration,
    now: Timestamp,
) -> Result<(), ChangeError> {
    let planned = store.rules_due(Timestamp::MAX, Timestamp::MAX).await?;
    change_each(store, planned, now, |mut policy| {
        policy.move_by(by);
        Changed::to(policy, FOLLOW)
    })
    .await
}

async fn change_each(
    store: &dyn RulesStore,
    projects: Vec<ProjectId>,
    now: Timestamp,
    make: impl Fn(Policy) -> Changed + Send + Sync,
) -> Result<(), ChangeError> {
    let by = Provenance {
        confirmed: true,
        ..Provenance::default()
    };
    let mut outcome = Ok(());
    for project in projects {
        let changed = change(store, project, &by, now, |policy| Ok(make(policy)));
        if let Err(error) = changed.await {
            outcome = Err(error);
        }
    }
    outcome
}
