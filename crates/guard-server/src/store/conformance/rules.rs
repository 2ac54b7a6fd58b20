//! Versions of rules, and drafts.

use jiff::Timestamp;

use super::{at, project};
use crate::store::{Change, Draft, KeepVersions, ProjectId, RulesOutcome, StoredRules, Stores};

const KEEP_ALL: KeepVersions = KeepVersions::ALL;

fn rules(version: i64, size: usize) -> StoredRules {
    StoredRules {
        version,
        document: "x".repeat(size),
        policy: version.to_string(),
        lease_ends: None,
        due: None,
        change: Change {
            created_at: Timestamp::UNIX_EPOCH,
            action: String::new(),
            author: Some("me".to_owned()),
            reason: None,
        },
        automatic: false,
    }
}

/// Sets the version that follows `version - 1`. Returns the versions that are kept.
async fn set(
    stores: &Stores,
    project: ProjectId,
    rules: StoredRules,
    keep: KeepVersions,
) -> Vec<i64> {
    let from = (rules.version > 1).then_some(rules.version - 1);
    let outcome = stores
        .rules
        .set_rules(project, from, rules, keep, None, None)
        .await;
    assert_eq!(outcome, Ok(RulesOutcome::Set));
    kept(stores, project).await
}

async fn kept(stores: &Stores, project: ProjectId) -> Vec<i64> {
    let history = stores.rules.rules_history(project, i64::MAX, 100).await;
    let versions = history.unwrap().into_iter().map(|(version, _)| version);
    versions.collect()
}

pub(in crate::store) async fn versions_are_kept_within_the_limit_and_the_newest_always(
    stores: &Stores,
) {
    let project = project(stores, "default").await;
    let keep = KeepVersions {
        bytes: 64,
        ..KEEP_ALL
    };
    let kept = async |version, size| set(stores, project, rules(version, size), keep).await;
    kept(1, 20).await;
    kept(2, 20).await;
    assert_eq!(kept(3, 20).await, [3, 2, 1]);
    assert_eq!(kept(4, 20).await, [4, 3, 2]);
    assert_eq!(kept(5, 65).await, [5]);
}

pub(in crate::store) async fn no_more_versions_are_kept_than_asked_for(stores: &Stores) {
    let project = project(stores, "default").await;
    let keep = KeepVersions {
        versions: 2,
        ..KEEP_ALL
    };
    for (version, expected) in [(1, vec![1]), (2, vec![2, 1]), (3, vec![3, 2])] {
        let kept = set(stores, project, rules(version, 1), keep).await;
        assert_eq!(kept, expected);
    }
}

pub(in crate::store) async fn automatic_versions_never_displace_those_of_people(stores: &Stores) {
    let project = project(stores, "default").await;
    let automatic = |version| StoredRules {
        automatic: true,
        ..rules(version, 10)
    };
    let keep = KeepVersions {
        versions: 2,
        automatic: 3,
        ..KEEP_ALL
    };
    set(stores, project, rules(1, 10), keep).await;
    set(stores, project, rules(2, 10), keep).await;
    for version in 3..=10 {
        set(stores, project, automatic(version), keep).await;
    }
    assert_eq!(kept(stores, project).await, [10, 9, 8, 2, 1]);
    let few = KeepVersions {
        bytes: 40,
        ..KEEP_ALL
    };
    // Each version has 11 bytes, and this one 12.
    assert_eq!(set(stores, project, automatic(11), few).await, [11, 2, 1]);
    assert_eq!(set(stores, project, rules(12, 10), keep).await, [12, 11, 2]);
}

pub(in crate::store) async fn a_version_that_is_replaced_is_removed(stores: &Stores) {
    let project = project(stores, "default").await;
    let replaces = KeepVersions {
        replaces_from: true,
        ..KEEP_ALL
    };
    set(stores, project, rules(1, 1), KEEP_ALL).await;
    set(stores, project, rules(2, 1), KEEP_ALL).await;
    assert_eq!(set(stores, project, rules(3, 1), replaces).await, [3, 1]);
    let current = stores.rules.rules(project).await.unwrap();
    assert_eq!(current, Some(rules(3, 1)));
}

pub(in crate::store) async fn the_second_change_to_the_same_version_is_refused(stores: &Stores) {
    let project = project(stores, "default").await;
    set(stores, project, rules(1, 1), KEEP_ALL).await;
    set(stores, project, rules(2, 1), KEEP_ALL).await;
    for (from, version) in [(Some(1), 3), (None, 1)] {
        let late = stores
            .rules
            .set_rules(project, from, rules(version, 9), KEEP_ALL, None, None);
        assert_eq!(late.await, Ok(RulesOutcome::Outdated));
    }
    assert_eq!(kept(stores, project).await, [2, 1]);
    assert_eq!(stores.rules.rules_version(project).await, Ok(Some(2)));
    let versions = stores
        .rules
        .rules_versions(vec![ProjectId(i64::MAX), project]);
    assert_eq!(versions.await, Ok(vec![(project, 2)]));
}

pub(in crate::store) async fn history_is_read_page_by_page(stores: &Stores) {
    let project = project(stores, "default").await;
    for version in 1..=3 {
        set(stores, project, rules(version, 1), KEEP_ALL).await;
    }
    let page = stores.rules.rules_history(project, 3, 1).await.unwrap();
    assert_eq!(page, [(2, rules(2, 1).change)]);
    let stored = stores.rules.rules_at(project, 1).await.unwrap();
    assert_eq!(stored, Some(rules(1, 1)));
    assert_eq!(stores.rules.rules_at(project, 4).await, Ok(None));
}

pub(in crate::store) async fn the_newest_version_decides_when_rules_are_due(stores: &Stores) {
    let (one, other) = (project(stores, "one").await, project(stores, "other").await);
    let due = |version, due| StoredRules {
        due,
        ..rules(version, 1)
    };
    set(stores, one, due(1, Some(at(10))), KEEP_ALL).await;
    set(stores, other, due(1, Some(at(10))), KEEP_ALL).await;
    set(stores, other, due(2, None), KEEP_ALL).await;
    let due_at = async |second| {
        let due = stores.rules.rules_due(at(second), at(second));
        due.await.unwrap()
    };
    assert_eq!(due_at(9).await, []);
    assert_eq!(due_at(10).await, [(one, "one".to_owned())]);
    let made_ahead = stores.rules.rules_due(at(-10), at(-1)).await.unwrap();
    assert_eq!(made_ahead.len(), 2);
}

fn draft(document: &str) -> Draft {
    Draft {
        document: document.to_owned(),
        base: Some("tag".to_owned()),
        saved_at: at(7),
        author: None,
    }
}

pub(in crate::store) async fn a_draft_goes_with_the_version_that_publishes_it(stores: &Stores) {
    let project = project(stores, "default").await;
    let store = &stores.rules;
    store.save_draft(project, draft("1"), None).await.unwrap();
    let publish = async |from: Option<i64>, version| {
        let published = Some(draft("1"));
        let set = store.set_rules(project, from, rules(version, 1), KEEP_ALL, published, None);
        set.await.unwrap()
    };
    assert_eq!(publish(Some(7), 8).await, RulesOutcome::Outdated);
    assert_eq!(store.draft(project).await, Ok(Some(draft("1"))));
    assert_eq!(publish(None, 1).await, RulesOutcome::Set);
    assert_eq!(store.draft(project).await, Ok(None));
    // Somebody saves another draft while the first one is published.
    store.save_draft(project, draft("2"), None).await.unwrap();
    assert_eq!(publish(Some(1), 2).await, RulesOutcome::Set);
    assert_eq!(store.draft(project).await, Ok(Some(draft("2"))));
}

pub(in crate::store) async fn a_draft_is_replaced_and_removed_only_if_it_is_unchanged(
    stores: &Stores,
) {
    let project = project(stores, "default").await;
    let store = &stores.rules;
    assert_eq!(store.draft(project).await, Ok(None));
    store.save_draft(project, draft("1"), None).await.unwrap();
    store.save_draft(project, draft("2"), None).await.unwrap();
    store.remove_draft(project, draft("1"), None).await.unwrap();
    assert_eq!(store.draft(project).await, Ok(Some(draft("2"))));
    store.remove_draft(project, draft("2"), None).await.unwrap();
    assert_eq!(store.draft(project).await, Ok(None));
}
