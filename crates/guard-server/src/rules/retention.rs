//! Decides which versions of the rules a project keeps.

use crate::store::{KeepVersions, ProjectId, RulesStore, StoreError, StoredRules};

/// Versions that people made, kept for each project.
const MAX_VERSIONS: u32 = 1000;
/// Versions that programs and the server made, kept for each project. They never displace those of
/// people.
const MAX_AUTOMATIC: u32 = 1000;
/// The most bytes of their documents and policies together.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Selects the versions to keep when `next` follows `current`.
///
/// A version that only renews the bans of the version before is removed at the next renewal.
/// Otherwise the history would soon contain nothing but renewals.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub(super) async fn keep(
    store: &dyn RulesStore,
    project: ProjectId,
    current: Option<&StoredRules>,
    next: &StoredRules,
) -> Result<KeepVersions, StoreError> {
    let replaces_from = match current {
        Some(current) if is_renewal(current, next) => {
            let before = store.rules_history(project, current.version, 1).await?;
            match before.first() {
                Some((version, _)) => {
                    let before = store.rules_at(project, *version).await?;
                    before.is_some_and(|before| before.policy == current.policy)
                }
                None => false,
            }
        }
        _ => false,
    };
    Ok(KeepVersions {
        versions: MAX_VERSIONS,
        automatic: MAX_AUTOMATIC,
        bytes: MAX_BYTES,
        replaces_from,
    })
}

/// Whether both versions come from the same automatic action on the same policy.
fn is_renewal(current: &StoredRules, next: &StoredRules) -> bool {
    let is_automatic =
        |rules: &StoredRules| rules.change.author.is_none() && rules.change.reason.is_none();
    is_automatic(current)
        && is_automatic(next)
        && current.change.action == next.change.action
        && current.policy == next.policy
}
