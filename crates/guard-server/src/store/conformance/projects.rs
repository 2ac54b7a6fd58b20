//! Projects and their keys.

use super::{at, project};
use crate::projects::activity::{Activity, Refusal};
use crate::projects::{ApiKey, KeyHash, KeyId, NewKey, Settings};
use crate::store::{AddOutcome, ProjectId, ProjectSettings, StoredView, Stores};

pub(in crate::store) async fn missing_settings_keep_their_value_and_empty_secrets_remove_it(
    stores: &Stores,
) {
    let projects = &stores.projects;
    let save = |settings| projects.save_project("default", settings);
    let project = async || projects.project_named("default").await.unwrap().unwrap();
    save(ProjectSettings {
        key: Some(KeyHash::of("k")),
        encryption_key: Some("e".into()),
        signing_secret: Some("s".into()),
    })
    .await
    .unwrap();
    save(ProjectSettings::default()).await.unwrap();
    assert_eq!(project().await.signing_secret, Some("s".into()));
    let found = projects.project_of_key(KeyHash::of("k")).await.unwrap();
    assert_eq!(found.map(|it| it.id), Some(project().await.id));
    save(ProjectSettings {
        signing_secret: Some("".into()),
        ..ProjectSettings::default()
    })
    .await
    .unwrap();
    assert_eq!(project().await.signing_secret, None);
    assert_eq!(project().await.encryption_key, Some("e".into()));
}

pub(in crate::store) async fn a_key_opens_its_project_and_no_other(stores: &Stores) {
    let projects = &stores.projects;
    let id_of = async |key: &str| {
        let found = projects.project_of_key(KeyHash::of(key)).await.unwrap();
        found.map(|project| project.id)
    };
    for name in ["one", "other"] {
        let settings = ProjectSettings {
            key: Some(KeyHash::of(name)),
            ..ProjectSettings::default()
        };
        projects.save_project(name, settings).await.unwrap();
    }
    assert_eq!(id_of("one").await, Some(project(stores, "one").await));
    assert_eq!(id_of("other").await, Some(project(stores, "other").await));
    assert_eq!(id_of("another").await, None);
}

pub(in crate::store) async fn a_new_key_replaces_the_old_one(stores: &Stores) {
    let projects = &stores.projects;
    for key in ["old", "new"] {
        let settings = ProjectSettings {
            key: Some(KeyHash::of(key)),
            ..ProjectSettings::default()
        };
        projects.save_project("default", settings).await.unwrap();
    }
    let is_known = async |key: &str| {
        let found = projects.project_of_key(KeyHash::of(key)).await.unwrap();
        found.is_some()
    };
    assert!(is_known("new").await);
    assert!(!is_known("old").await);
}

pub(in crate::store) async fn a_project_that_was_not_saved_is_not_found(stores: &Stores) {
    let found = stores.projects.project_named("default").await.unwrap();
    assert!(found.is_none());
}

pub(in crate::store) async fn a_key_of_another_project_is_not_taken_over(stores: &Stores) {
    let projects = &stores.projects;
    let save = async |name: &str, encryption_key: &str| {
        let settings = ProjectSettings {
            key: Some(KeyHash::of("k")),
            encryption_key: Some(encryption_key.into()),
            ..ProjectSettings::default()
        };
        projects.save_project(name, settings).await.unwrap()
    };
    let one = project(stores, "one").await;
    project(stores, "other").await;
    assert_eq!(save("one", "e").await, AddOutcome::Added);
    assert_eq!(save("other", "f").await, AddOutcome::Exists);
    let owner = projects.key_owner(KeyHash::of("k")).await.unwrap();
    assert_eq!(owner.unwrap().project.id, one);
    let other = projects.project_named("other").await.unwrap().unwrap();
    assert_eq!(other.encryption_key, None);
    assert_eq!(save("one", "g").await, AddOutcome::Added);
}

pub(in crate::store) async fn projects_are_created_up_to_the_limit_and_listed_by_name(
    stores: &Stores,
) {
    let projects = &stores.projects;
    let create = async |name: &str| projects.create_project(name, at(7), 2, None).await.unwrap();
    assert_eq!(create("b").await, AddOutcome::Added);
    assert_eq!(create("a").await, AddOutcome::Added);
    assert_eq!(create("a").await, AddOutcome::Exists);
    assert_eq!(create("c").await, AddOutcome::Full);
    let all = projects.projects().await.unwrap();
    let names: Vec<_> = all.iter().map(|project| &*project.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(all[0].created_at, at(7));
    assert_eq!(all[0].settings, Settings::default());
}

pub(in crate::store) async fn the_second_change_of_the_same_settings_is_refused(stores: &Stores) {
    let projects = &stores.projects;
    project(stores, "one").await;
    let read = async || projects.project_named("one").await.unwrap().unwrap();
    let before = read().await;
    let mut after = before.clone();
    after.settings.quota_per_minute = Some(7);
    after.settings.ip_allowlist = vec!["192.0.2.0/24".parse().unwrap()];
    after.signing_secret = Some("s".into());
    assert!(
        projects
            .change_project(before.clone(), after.clone(), None)
            .await
            .unwrap()
    );
    assert_eq!(read().await, after);
    assert!(
        !projects
            .change_project(before.clone(), before, None)
            .await
            .unwrap()
    );
    assert_eq!(read().await, after);
}

fn new_key(id: &str) -> NewKey {
    NewKey {
        hash: KeyHash::of(id),
        id: KeyId(id.to_owned()),
        label: format!("label of {id}"),
        created_at: at(5),
        created_by: "cli".to_owned(),
    }
}

async fn add_key(stores: &Stores, project: ProjectId, id: &str) -> AddOutcome {
    let added = stores.projects.add_key(project, new_key(id), 2, None).await;
    added.unwrap()
}

async fn key_ids(stores: &Stores, project: ProjectId) -> Vec<String> {
    let keys = stores.projects.keys(project).await.unwrap();
    keys.into_iter().map(|key| key.id.0).collect()
}

pub(in crate::store) async fn a_project_has_several_keys_that_are_removed_one_by_one(
    stores: &Stores,
) {
    let projects = &stores.projects;
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    assert_eq!(add_key(stores, one, "a").await, AddOutcome::Added);
    assert_eq!(add_key(stores, one, "b").await, AddOutcome::Added);
    assert_eq!(add_key(stores, one, "c").await, AddOutcome::Full);
    assert_eq!(add_key(stores, other, "a").await, AddOutcome::Exists);
    let owner = async |key: &str| {
        let owner = projects.key_owner(KeyHash::of(key)).await.unwrap();
        owner.map(|owner| (owner.project.id, owner.key.0))
    };
    assert_eq!(owner("b").await, Some((one, "b".to_owned())));
    assert_eq!(
        projects.keys(one).await.unwrap()[0],
        ApiKey {
            id: KeyId("a".to_owned()),
            label: "label of a".to_owned(),
            created_at: at(5),
            created_by: "cli".to_owned(),
            last_used_at: None,
        }
    );
    let remove = async |project| {
        let removed = projects
            .remove_key(project, KeyId("b".to_owned()), None)
            .await;
        removed.unwrap()
    };
    assert!(!remove(other).await, "it belongs to another project");
    assert!(remove(one).await);
    assert!(!remove(one).await);
    assert_eq!(owner("b").await, None);
    let asked = ["a", "b"].map(|id| KeyId(id.to_owned())).to_vec();
    let live = projects.live_keys(asked).await.unwrap();
    assert_eq!(live, [KeyId("a".to_owned())]);
}

pub(in crate::store) async fn a_key_set_at_start_leaves_the_other_keys_alone(stores: &Stores) {
    let one = project(stores, "one").await;
    add_key(stores, one, "a").await;
    for key in ["old", "new", "new"] {
        let settings = ProjectSettings {
            key: Some(KeyHash::of(key)),
            ..ProjectSettings::default()
        };
        stores.projects.save_project("one", settings).await.unwrap();
    }
    let is_known = async |key: &str| {
        let found = stores.projects.key_owner(KeyHash::of(key)).await.unwrap();
        found.is_some()
    };
    assert!(is_known("a").await && is_known("new").await);
    assert!(!is_known("old").await);
    assert_eq!(key_ids(stores, one).await.len(), 2);
}

pub(in crate::store) async fn the_use_of_keys_and_refusals_are_saved(stores: &Stores) {
    let projects = &stores.projects;
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    add_key(stores, one, "a").await;
    let save = async |second, n| {
        let activity = Activity {
            used: vec![
                (KeyId("a".to_owned()), at(second)),
                (KeyId("gone".to_owned()), at(1)),
            ],
            refused: vec![(one, Refusal::Quota, n), (one, Refusal::Signature, 1)],
        };
        projects.save_activity(activity).await.unwrap();
    };
    save(10, 2).await;
    save(20, 40).await;
    assert_eq!(
        projects.keys(one).await.unwrap()[0].last_used_at,
        Some(at(20))
    );
    let refusals = projects.refusals(one).await.unwrap();
    let expected = [("quota", 42), ("signature", 2)];
    assert_eq!(
        refusals,
        expected.map(|(why, n)| (why.to_owned(), n)).into()
    );
    assert!(projects.refusals(other).await.unwrap().is_empty());
}

pub(in crate::store) async fn a_removed_project_frees_its_name_and_ends_its_keys_at_once(
    stores: &Stores,
) {
    let projects = &stores.projects;
    let one = project(stores, "one").await;
    add_key(stores, one, "a").await;
    assert!(projects.remove_project(one, at(9), None).await.unwrap());
    assert!(!projects.remove_project(one, at(9), None).await.unwrap());
    assert!(projects.project_named("one").await.unwrap().is_none());
    assert!(projects.projects().await.unwrap().is_empty());
    assert!(
        projects
            .key_owner(KeyHash::of("a"))
            .await
            .unwrap()
            .is_none()
    );
    assert_ne!(project(stores, "one").await, one);
}

pub(in crate::store) async fn the_data_of_a_removed_project_is_removed_and_no_other(
    stores: &Stores,
) {
    let projects = &stores.projects;
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    let view = || StoredView {
        id: "a".to_owned(),
        created_at: at(1),
        created_by: "cli".to_owned(),
        content: "{}".to_owned(),
    };
    for project in [one, other] {
        let saved = stores.views.save_view(project, view(), 9, None).await;
        assert_eq!(saved, Ok(true));
        refuse(stores, project).await;
    }
    assert!(!projects.sweep().await.unwrap());
    projects.remove_project(one, at(9), None).await.unwrap();
    refuse(stores, one).await;
    while projects.sweep().await.unwrap() {}
    for (project, kept) in [(one, 0), (other, 1)] {
        assert_eq!(stores.views.views(project).await.unwrap().len(), kept);
        assert_eq!(projects.refusals(project).await.unwrap().len(), kept);
    }
}

async fn refuse(stores: &Stores, project: ProjectId) {
    let activity = Activity {
        used: vec![],
        refused: vec![(project, Refusal::Quota, 1)],
    };
    stores.projects.save_activity(activity).await.unwrap();
}
