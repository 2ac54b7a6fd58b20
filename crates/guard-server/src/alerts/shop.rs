//! A store with a project, for tests.

use std::sync::Arc;

use tempfile::TempDir;

use crate::store::{Project, ProjectSettings, Sqlite, Stores};

/// A new store, the folder that holds it, and its project `shop`.
pub(super) async fn shop() -> (TempDir, Stores, Project) {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    let stores = Stores::of(Arc::new(store));
    let (projects, settings) = (&stores.projects, ProjectSettings::default());
    projects.save_project("shop", settings).await.unwrap();
    let project = projects.project_named("shop").await.unwrap().unwrap();
    (directory, stores, project)
}

/// Stores that fail: the file is gone.
pub(super) fn gone() -> Stores {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    directory.close().unwrap();
    Stores::of(Arc::new(store))
}
