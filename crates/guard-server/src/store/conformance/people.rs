//! People, sessions, links and tokens.

use std::time::Duration;

use jiff::Timestamp;

use super::at;
use crate::people::{
    CredentialHash, Person, PersonOutcome, PersonUpdate, Role, Scope, Session, SessionLimits,
    SetupLink, Token,
};
use crate::store::Stores;

fn hash(text: &str) -> CredentialHash {
    CredentialHash::of(text)
}

fn person(name: &str, role: Role) -> Person {
    Person {
        name: name.to_owned(),
        role,
        projects: Scope::All,
        has_password: false,
        created_at: at(1),
        last_seen_at: None,
    }
}

fn session(person: &str, created: i64, seen: i64) -> Session {
    Session {
        person: person.to_owned(),
        created_at: at(created),
        seen_at: at(seen),
    }
}

fn link(person: Option<&str>, second: i64) -> SetupLink {
    SetupLink {
        person: person.map(str::to_owned),
        created_at: at(second),
    }
}

fn token(id: &str) -> Token {
    Token {
        id: id.to_owned(),
        label: "ci".to_owned(),
        role: Role::Operator,
        projects: Scope::Named(["a".to_owned(), "b".to_owned()].into()),
        created_at: at(1),
        created_by: "cli".to_owned(),
        expires_at: Some(at(100)),
        last_used_at: None,
    }
}

async fn add(stores: &Stores, name: &str, role: Role) {
    let password = Some(format!("hash of {name}"));
    let added = stores.people.add_person(person(name, role), password, None);
    assert_eq!(added.await, Ok(true));
}

async fn start(stores: &Stores, credential: &str, session: Session) {
    let added = stores.people.add_session(hash(credential), session, None);
    added.await.unwrap();
}

async fn lives(stores: &Stores, credential: &str) -> bool {
    let found = stores.people.session(hash(credential)).await.unwrap();
    found.is_some()
}

pub(in crate::store) async fn a_person_is_added_once_and_read_back(stores: &Stores) {
    let people = &stores.people;
    assert_eq!(people.person("anna").await, Ok(None));
    let limited = Person {
        projects: Scope::Named(["shop".to_owned()].into()),
        ..person("anna", Role::Operator)
    };
    assert_eq!(
        people.add_person(limited.clone(), None, None).await,
        Ok(true)
    );
    let again = people
        .add_person(person("anna", Role::Admin), None, None)
        .await;
    assert_eq!(again, Ok(false));
    assert_eq!(people.person("anna").await, Ok(Some(limited.clone())));
    add(stores, "ada", Role::Viewer).await;
    let all = people.people().await.unwrap();
    let names: Vec<_> = all.iter().map(|it| (&*it.name, it.has_password)).collect();
    assert_eq!(names, [("ada", true), ("anna", false)]);
    assert_eq!(people.password_of("anna").await, Ok(None));
    let stored = people.password_of("ada").await.unwrap();
    assert_eq!(stored.as_deref(), Some("hash of ada"));
}

pub(in crate::store) async fn the_last_admin_stays_whatever_is_changed(stores: &Stores) {
    let people = &stores.people;
    assert_eq!(people.needs_setup().await, Ok(true));
    add(stores, "anna", Role::Admin).await;
    assert_eq!(people.needs_setup().await, Ok(false));
    // Neither of them can manage the server.
    people
        .add_person(person("new", Role::Admin), None, None)
        .await
        .unwrap();
    add(stores, "ben", Role::Operator).await;
    let limited = PersonUpdate {
        projects: Some(Scope::Named(["shop".to_owned()].into())),
        ..PersonUpdate::default()
    };
    let lower = PersonUpdate {
        role: Some(Role::Operator),
        ..PersonUpdate::default()
    };
    for update in [limited, lower.clone()] {
        let changed = people.change_person("anna", update, None).await;
        assert_eq!(changed, Ok(PersonOutcome::LastAdmin));
    }
    start(stores, "s", session("anna", 1, 1)).await;
    let removed = people.remove_person("anna", None).await;
    assert_eq!(removed, Ok(PersonOutcome::LastAdmin));
    assert!(lives(stores, "s").await, "nothing changed");
    let higher = PersonUpdate {
        role: Some(Role::Admin),
        ..PersonUpdate::default()
    };
    let changed = people.change_person("ben", higher, None).await;
    assert_eq!(changed, Ok(PersonOutcome::Changed));
    let changed = people.change_person("anna", lower.clone(), None).await;
    assert_eq!(changed, Ok(PersonOutcome::Changed));
    assert_eq!(
        people.remove_person("anna", None).await,
        Ok(PersonOutcome::Changed)
    );
    assert_eq!(
        people.remove_person("anna", None).await,
        Ok(PersonOutcome::NotFound)
    );
    assert_eq!(
        people.change_person("anna", lower, None).await,
        Ok(PersonOutcome::NotFound)
    );
    assert!(!lives(stores, "s").await);
}

pub(in crate::store) async fn a_new_password_ends_sessions_and_links(stores: &Stores) {
    let people = &stores.people;
    add(stores, "anna", Role::Admin).await;
    start(stores, "s", session("anna", 1, 1)).await;
    people
        .add_link(hash("l"), link(Some("anna"), 1), 10, None)
        .await
        .unwrap();
    let update = PersonUpdate {
        password: Some("another hash".to_owned()),
        ..PersonUpdate::default()
    };
    people.change_person("anna", update, None).await.unwrap();
    assert!(!lives(stores, "s").await);
    assert_eq!(people.link(hash("l")).await, Ok(None));
    let stored = people.password_of("anna").await.unwrap();
    assert_eq!(stored.as_deref(), Some("another hash"));
}

pub(in crate::store) async fn a_link_works_once(stores: &Stores) {
    let people = &stores.people;
    let use_link = async |credential: &str, name: &str| {
        let person = person(name, Role::Admin);
        people
            .use_link(hash(credential), person, "h".to_owned(), None)
            .await
            .unwrap()
    };
    for (second, name) in (1..).zip(["one", "two", "three"]) {
        people
            .add_link(hash(name), link(None, second), 2, None)
            .await
            .unwrap();
    }
    assert_eq!(
        people.link(hash("one")).await,
        Ok(None),
        "the oldest of three"
    );
    assert_eq!(people.link(hash("two")).await, Ok(Some(link(None, 2))));
    assert!(use_link("two", "anna").await);
    assert!(!use_link("two", "ben").await && !use_link("three", "ben").await);
    assert_eq!(people.person("ben").await, Ok(None));
    assert_eq!(people.needs_setup().await, Ok(false));

    people
        .add_person(person("ben", Role::Viewer), None, None)
        .await
        .unwrap();
    for name in ["old", "new"] {
        people
            .add_link(hash(name), link(Some("ben"), 5), 2, None)
            .await
            .unwrap();
    }
    assert!(!use_link("old", "ben").await, "another replaced it");
    assert!(use_link("new", "ben").await && !use_link("new", "ben").await);
    let ben = people.person("ben").await.unwrap().unwrap();
    assert_eq!((ben.role, ben.has_password), (Role::Viewer, true));
}

pub(in crate::store) async fn sessions_end_alone_together_and_in_time(stores: &Stores) {
    let people = &stores.people;
    add(stores, "anna", Role::Viewer).await;
    add(stores, "ben", Role::Viewer).await;
    for (credential, name, seen) in [
        ("1", "anna", 20),
        ("2", "anna", 20),
        ("3", "ben", 20),
        ("4", "ben", 90),
    ] {
        start(stores, credential, session(name, 10, seen)).await;
    }
    start(stores, "nobody", session("carl", 10, 10)).await;
    assert!(!lives(stores, "nobody").await);
    people.touch_session(hash("1"), at(30)).await.unwrap();
    let (found, person) = people.session(hash("1")).await.unwrap().unwrap();
    assert_eq!(found, session("anna", 10, 30));
    assert_eq!(
        (person.name, person.last_seen_at),
        ("anna".to_owned(), Some(at(30)))
    );

    assert_eq!(
        people.remove_sessions("anna", Some(hash("2")), None).await,
        Ok(1)
    );
    assert!(!lives(stores, "1").await && lives(stores, "2").await && lives(stores, "3").await);
    assert_eq!(people.count_sessions().await, Ok(3));
    people.remove_session(hash("2"), None).await.unwrap();
    assert!(!lives(stores, "2").await);
    let limits = |idle, total| SessionLimits {
        idle: Duration::from_secs(idle),
        total: Duration::from_secs(total),
    };
    assert_eq!(
        people.expire_sessions(limits(50, 1000), at(100)).await,
        Ok(1)
    );
    assert!(!lives(stores, "3").await && lives(stores, "4").await);
    assert_eq!(people.expire_sessions(limits(50, 90), at(100)).await, Ok(1));
}

pub(in crate::store) async fn a_token_is_found_by_its_hash_until_it_is_removed(stores: &Stores) {
    let people = &stores.people;
    people
        .save_token(hash("gt_1"), token("a"), None)
        .await
        .unwrap();
    people
        .save_token(hash("gt_2"), token("b"), None)
        .await
        .unwrap();
    assert_eq!(people.token(hash("gt_1")).await, Ok(Some(token("a"))));
    assert_eq!(people.token(hash("gt_3")).await, Ok(None));
    people.touch_token("a", at(7)).await.unwrap();
    let used: Vec<Option<Timestamp>> = {
        let tokens = people.tokens().await.unwrap();
        tokens.into_iter().map(|it| it.last_used_at).collect()
    };
    assert_eq!(used, [Some(at(7)), None]);
    // The token of this id is replaced.
    people
        .save_token(hash("gt_3"), token("a"), None)
        .await
        .unwrap();
    assert_eq!(people.token(hash("gt_1")).await, Ok(None));
    let removed = people.remove_token("a", None).await.unwrap();
    assert_eq!(removed.map(|it| it.id).as_deref(), Some("a"));
    assert_eq!(people.token(hash("gt_3")).await, Ok(None));
    assert_eq!(people.remove_token("a", None).await, Ok(None));
}
