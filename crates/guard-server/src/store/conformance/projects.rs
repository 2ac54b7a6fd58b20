//! Projects and their keys.

use super::project;
use crate::projects::KeyHash;
use crate::store::{ProjectSettings, Stores};

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
