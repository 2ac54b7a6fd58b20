//! The audit log.

use jiff::Timestamp;
use serde_json::json;

use super::{at, project};
use crate::people::{AuditEntry, Person, PersonUpdate, Role, Scope, Who};
use crate::projects::KeyId;
use crate::store::{AddOutcome, AuditFilter, Cursor, StoreError, Stores};

fn entry(second: i64, action: &str, project: Option<&str>) -> AuditEntry {
    AuditEntry {
        at: at(second),
        who: Who::Person("anna".to_owned()),
        address: Some([192, 0, 2, 7].into()),
        action: action.to_owned(),
        project: project.map(str::to_owned),
        object: "it".to_owned(),
        before: json!(null),
        after: json!({ "role": "admin" }),
    }
}

fn everything() -> AuditFilter {
    AuditFilter {
        who: None,
        action: None,
        project: None,
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        scope: Scope::All,
    }
}

/// Adds an entry, by a change that is always made.
async fn record(stores: &Stores, entry: AuditEntry) {
    let changed = stores.people.remove_sessions("nobody", None, Some(entry));
    changed.await.unwrap();
}

/// The seconds of the entries that match.
async fn seconds(stores: &Stores, filter: AuditFilter) -> Vec<i64> {
    let page = stores.audit.audit(filter, None, 100).await.unwrap();
    page.items.iter().map(|it| it.at.as_second()).collect()
}

pub(in crate::store) async fn entries_are_read_back_newest_first_page_by_page(stores: &Stores) {
    for second in [1, 2, 2, 2, 3] {
        record(stores, entry(second, &second.to_string(), Some("shop"))).await;
    }
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = stores.audit.audit(everything(), cursor, 2).await.unwrap();
        found.extend(page.items);
        // What comes in meanwhile does not move the pages.
        record(stores, entry(9, "late", None)).await;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(found.len(), 5);
    assert_eq!(found[0], entry(3, "3", Some("shop")));
    assert_eq!(found[4], entry(1, "1", Some("shop")));
}

pub(in crate::store) async fn entries_are_filtered_by_author_action_project_and_time(
    stores: &Stores,
) {
    record(stores, entry(1, "token.add", None)).await;
    record(stores, entry(2, "rules.add", Some("shop"))).await;
    let by_server = AuditEntry {
        who: Who::Server,
        ..entry(3, "rules.end", Some("blog"))
    };
    record(stores, by_server).await;
    let with = |change: fn(&mut AuditFilter)| {
        let mut filter = everything();
        change(&mut filter);
        filter
    };
    for (filter, expected) in [
        (with(|_| {}), vec![3, 2, 1]),
        (with(|it| it.who = Some("server".to_owned())), vec![3]),
        (
            with(|it| it.who = Some("person:anna".to_owned())),
            vec![2, 1],
        ),
        (with(|it| it.action = Some("token.add".to_owned())), vec![1]),
        (with(|it| it.project = Some("shop".to_owned())), vec![2]),
        (with(|it| it.from = at(2)), vec![3, 2]),
        (with(|it| it.to = at(2)), vec![1]),
        (
            with(|it| it.scope = Scope::Named(["shop".to_owned()].into())),
            vec![2],
        ),
    ] {
        assert_eq!(
            seconds(stores, filter.clone()).await,
            expected,
            "{filter:?}"
        );
    }
}

pub(in crate::store) async fn old_entries_are_removed_oldest_first(stores: &Stores) {
    for second in [3, 1, 2, 4] {
        record(stores, entry(second, "x", None)).await;
    }
    assert_eq!(stores.audit.expire_audit(at(4), 2).await, Ok(2));
    assert_eq!(seconds(stores, everything()).await, [4, 3]);
    assert_eq!(stores.audit.expire_audit(at(4), 2).await, Ok(1));
    assert_eq!(stores.audit.expire_audit(at(4), 2).await, Ok(0));
}

pub(in crate::store) async fn a_cursor_of_another_list_is_refused(stores: &Stores) {
    let foreign: Cursor = "AAAA".parse().unwrap();
    let page = stores.audit.audit(everything(), Some(foreign), 10).await;
    assert_eq!(page, Err(StoreError::InvalidCursor));
}

/// The actions in the log, oldest first.
async fn actions(stores: &Stores) -> Vec<String> {
    let page = stores.audit.audit(everything(), None, 100).await.unwrap();
    page.items.into_iter().rev().map(|it| it.action).collect()
}

pub(in crate::store) async fn a_change_brings_its_entry_and_a_refused_one_brings_none(
    stores: &Stores,
) {
    let shop = project(stores, "shop").await;
    let told = |action: &str| Some(entry(1, action, Some("shop")));
    let create = stores
        .projects
        .create_project("blog", at(1), 9, told("made"));
    assert_eq!(create.await, Ok(AddOutcome::Added));
    let again = stores.projects.create_project("blog", at(1), 9, told("no"));
    assert_eq!(again.await, Ok(AddOutcome::Exists));
    let before = stores
        .projects
        .project_named("shop")
        .await
        .unwrap()
        .unwrap();
    let mut after = before.clone();
    after.settings.retention_days = 7;
    let change = |entry| {
        stores
            .projects
            .change_project(before.clone(), after.clone(), entry)
    };
    assert_eq!(change(told("changed")).await, Ok(true));
    assert_eq!(change(told("no")).await, Ok(false));
    let missing = KeyId("missing".to_owned());
    let revoked = stores.projects.remove_key(shop, missing, told("no")).await;
    assert_eq!(revoked, Ok(false));
    let anna = Person {
        name: "anna".to_owned(),
        role: Role::Admin,
        projects: Scope::All,
        has_password: true,
        created_at: at(1),
        last_seen_at: None,
    };
    let hashed = Some("hash".to_owned());
    stores
        .people
        .add_person(anna, hashed, told("added"))
        .await
        .unwrap();
    let lower = PersonUpdate {
        role: Some(Role::Viewer),
        ..PersonUpdate::default()
    };
    // The last admin stays.
    stores
        .people
        .change_person("anna", lower, told("no"))
        .await
        .unwrap();
    stores
        .people
        .remove_token("missing", told("no"))
        .await
        .unwrap();
    assert_eq!(actions(stores).await, ["made", "changed", "added"]);
}
