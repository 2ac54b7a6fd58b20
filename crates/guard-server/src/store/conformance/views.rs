//! Saved views.

use super::{at, project};
use crate::store::{StoredView, Stores};

fn view(id: &str, second: i64) -> StoredView {
    StoredView {
        id: id.to_owned(),
        created_at: at(second),
        created_by: "person:ann".to_owned(),
        content: format!("{{\"name\":\"{id}\"}}"),
    }
}

pub(in crate::store) async fn views_are_listed_oldest_first_and_removed_one_by_one(
    stores: &Stores,
) {
    let project = project(stores, "default").await;
    for (id, second) in [("b", 2), ("a", 3), ("c", 1)] {
        assert!(
            stores
                .views
                .save_view(project, view(id, second), 10, None)
                .await
                .unwrap()
        );
    }
    let listed = stores.views.views(project).await.unwrap();
    assert_eq!(listed, [view("c", 1), view("b", 2), view("a", 3)]);
    let removed = stores.views.remove_view(project, "b", None).await.unwrap();
    assert_eq!(removed, Some(view("b", 2)));
    assert_eq!(
        stores.views.remove_view(project, "b", None).await.unwrap(),
        None
    );
    let listed = stores.views.views(project).await.unwrap();
    assert_eq!(listed, [view("c", 1), view("a", 3)]);
}

pub(in crate::store) async fn a_view_beyond_the_limit_is_not_saved(stores: &Stores) {
    let project = project(stores, "default").await;
    for (id, is_saved) in [("a", true), ("b", true), ("c", false)] {
        let saved = stores.views.save_view(project, view(id, 1), 2, None).await;
        assert_eq!(saved.unwrap(), is_saved, "{id}");
    }
    assert_eq!(stores.views.views(project).await.unwrap().len(), 2);
    stores.views.remove_view(project, "a", None).await.unwrap();
    assert!(
        stores
            .views
            .save_view(project, view("c", 1), 2, None)
            .await
            .unwrap()
    );
}

pub(in crate::store) async fn projects_do_not_see_the_views_of_each_other(stores: &Stores) {
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    stores
        .views
        .save_view(one, view("a", 1), 1, None)
        .await
        .unwrap();
    assert!(stores.views.views(other).await.unwrap().is_empty());
    assert_eq!(
        stores.views.remove_view(other, "a", None).await.unwrap(),
        None
    );
    // Neither the id nor the limit is shared.
    assert!(
        stores
            .views
            .save_view(other, view("a", 2), 1, None)
            .await
            .unwrap()
    );
    assert_eq!(stores.views.views(one).await.unwrap(), [view("a", 1)]);
}
