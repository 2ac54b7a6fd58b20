//! Several nodes that write at the same time.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::Database;
use crate::people::{
    CredentialHash, Person, PersonOutcome, PersonUpdate, Role, Scope, Session, SetupLink,
};
use crate::projects::activity::{Activity, Refusal};
use crate::projects::{KeyHash, KeyId, NewKey};
use crate::store::postgres::Postgres;
use crate::store::{
    AddOutcome, People as _, ProjectId, ProjectSettings, Projects as _, StoreError, StoredView,
    Views as _,
};

const AT: Timestamp = Timestamp::UNIX_EPOCH;

async fn two_nodes() -> (Database, [Arc<Postgres>; 2]) {
    let database = Database::migrated().await;
    let nodes = [database.open().await, database.open().await];
    (database, nodes)
}

/// Calls of both nodes at the same time. Returns how many had this outcome.
async fn at_once<T: PartialEq>(
    calls: impl IntoIterator<Item = impl Future<Output = Result<T, StoreError>>>,
    outcome: T,
) -> usize {
    let (outcomes, outcome) = (join_all(calls).await, Ok(outcome));
    outcomes.iter().filter(|it| **it == outcome).count()
}

fn person(name: &str, role: Role) -> Person {
    Person {
        name: name.to_owned(),
        role,
        projects: Scope::All,
        has_password: true,
        created_at: AT,
        last_seen_at: None,
    }
}

async fn shop(node: &Postgres) -> ProjectId {
    node.create_project("shop", AT, 9, None).await.unwrap();
    node.project_named("shop").await.unwrap().unwrap().id
}

#[tokio::test]
async fn limits_hold_when_nodes_add_at_once() {
    let (_database, nodes) = two_nodes().await;
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let create = names.iter().enumerate();
    let create = create.map(|(n, name)| nodes[n % 2].create_project(name, AT, 3, None));
    assert_eq!(at_once(create, AddOutcome::Added).await, 3);

    let project = nodes[0].projects().await.unwrap()[0].id;
    let add_key = |n: usize| {
        let key = NewKey {
            hash: KeyHash::of(&n.to_string()),
            id: KeyId(n.to_string()),
            label: "a".to_owned(),
            created_at: AT,
            created_by: "cli".to_owned(),
        };
        nodes[n % 2].add_key(project, key, 3, None)
    };
    assert_eq!(at_once((0..8).map(add_key), AddOutcome::Added).await, 3);
    let save_view = |n: usize| {
        let view = StoredView {
            id: n.to_string(),
            created_at: AT,
            created_by: "cli".to_owned(),
            content: "{}".to_owned(),
        };
        nodes[n % 2].save_view(project, view, 3, None)
    };
    assert_eq!(at_once((0..8).map(save_view), true).await, 3);
}

#[tokio::test]
async fn of_two_changes_to_the_same_settings_one_is_made() {
    let (_database, nodes) = two_nodes().await;
    shop(&nodes[0]).await;
    let from = nodes[0].project_named("shop").await.unwrap().unwrap();
    let change = |n: usize| {
        let mut to = from.clone();
        to.settings.quota_per_minute = u32::try_from(n + 1).ok();
        nodes[n % 2].change_project(from.clone(), to, None)
    };
    assert_eq!(at_once((0..6).map(change), true).await, 1);
}

#[tokio::test]
async fn nodes_that_start_with_the_same_options_agree() {
    let (_database, nodes) = two_nodes().await;
    let save = |n: usize| {
        let settings = ProjectSettings {
            key: Some(KeyHash::of("k")),
            ..ProjectSettings::default()
        };
        nodes[n % 2].save_project("default", settings)
    };
    assert_eq!(at_once((0..6).map(save), AddOutcome::Added).await, 6);
    let project = nodes[0].project_named("default").await.unwrap().unwrap();
    assert_eq!(nodes[1].keys(project.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_admin_stays_when_nodes_remove_admins_at_once() {
    let (_database, nodes) = two_nodes().await;
    let names = ["anna", "ben", "carl", "dora"];
    for name in names {
        let added = nodes[0].add_person(person(name, Role::Admin), Some("h".to_owned()), None);
        assert_eq!(added.await, Ok(true));
    }
    let lower = PersonUpdate {
        role: Some(Role::Viewer),
        ..PersonUpdate::default()
    };
    let calls = (0..4).map(|n| match n % 2 {
        0 => nodes[0].remove_person(names[n], None),
        _ => nodes[1].change_person(names[n], lower.clone(), None),
    });
    assert_eq!(at_once(calls, PersonOutcome::Changed).await, 3);
    assert_eq!(nodes[0].needs_setup().await, Ok(false));
}

#[tokio::test]
async fn a_link_works_once_on_all_nodes() {
    let (_database, nodes) = two_nodes().await;
    let hash = |text: &str| CredentialHash::of(text);
    let first = |at| SetupLink {
        person: None,
        created_at: at,
    };
    for name in ["one", "two"] {
        nodes[0]
            .add_link(hash(name), first(AT), 9, None)
            .await
            .unwrap();
    }
    // Also of the links for the first admin only one works.
    let calls = ["one", "two", "one", "two"].into_iter().enumerate();
    let calls = calls.map(|(n, name)| {
        let anna = person(&format!("anna{n}"), Role::Admin);
        nodes[n % 2].use_link(hash(name), anna, "h".to_owned(), None)
    });
    assert_eq!(at_once(calls, true).await, 1);
    assert_eq!(nodes[0].people().await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_session_outlives_its_person() {
    let (_database, nodes) = two_nodes().await;
    let admin = person("anna", Role::Admin);
    nodes[0]
        .add_person(admin, Some("h".to_owned()), None)
        .await
        .unwrap();
    for round in 0..10 {
        let ben = person("ben", Role::Viewer);
        nodes[0]
            .add_person(ben, Some("h".to_owned()), None)
            .await
            .unwrap();
        let session = Session {
            person: "ben".to_owned(),
            created_at: AT,
            seen_at: AT,
        };
        let sign_in = nodes[0].add_session(CredentialHash::of(&round.to_string()), session, None);
        let (signed_in, removed) = tokio::join!(sign_in, nodes[1].remove_person("ben", None));
        signed_in.unwrap();
        assert_eq!(removed, Ok(PersonOutcome::Changed));
        assert_eq!(nodes[0].count_sessions().await, Ok(0));
    }
}

#[tokio::test]
async fn the_use_of_keys_is_added_up_over_nodes() {
    let (_database, nodes) = two_nodes().await;
    let project = shop(&nodes[0]).await;
    let key = NewKey {
        hash: KeyHash::of("k"),
        id: KeyId("k".to_owned()),
        label: "a".to_owned(),
        created_at: AT,
        created_by: "cli".to_owned(),
    };
    nodes[0].add_key(project, key, 9, None).await.unwrap();
    let second = |n| Timestamp::from_second(n).unwrap();
    let save = |n: usize| {
        let activity = Activity {
            used: vec![(KeyId("k".to_owned()), second([7, 3, 5, 4, 6, 2][n]))],
            refused: vec![(project, Refusal::Quota, 1), (project, Refusal::Quota, 2)],
        };
        nodes[n % 2].save_activity(activity)
    };
    assert_eq!(at_once((0..6).map(save), ()).await, 6);
    let used = nodes[0].keys(project).await.unwrap()[0].last_used_at;
    assert_eq!(used, Some(second(7)), "the latest, whoever saved it last");
    let refusals = nodes[1].refusals(project).await.unwrap();
    assert_eq!(refusals, [("quota".to_owned(), 18)].into());
}

#[tokio::test]
async fn a_removed_project_is_named_for_a_day() {
    let (_database, nodes) = two_nodes().await;
    let now = Timestamp::now();
    let day = SignedDuration::from_hours(24);
    let mut named = Vec::new();
    for at in [now, now - day - SignedDuration::from_secs(1)] {
        let project = shop(&nodes[0]).await;
        assert_eq!(nodes[0].remove_project(project, at, None).await, Ok(true));
        named.push(project);
    }
    assert_eq!(nodes[1].removed_projects().await, Ok(vec![named[0]]));
}
