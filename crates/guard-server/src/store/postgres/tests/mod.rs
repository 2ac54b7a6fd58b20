//! The promises of every engine, and this engine's behaviour at start, with several nodes, and when
//! connections fail.

mod connections;
mod database;
mod nodes;
mod start;

use std::sync::Arc;

use tempfile::TempDir;

pub(in crate::store) use self::database::Database;
use crate::store::conformance::cases;
use crate::store::{Sqlite, Stores};

/// Telemetry is in another engine, as it is on several nodes.
async fn open() -> (Stores, (Database, TempDir)) {
    let database = Database::migrated().await;
    let directory = tempfile::tempdir().unwrap();
    let telemetry = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    let control = database.open().await;
    let stores = Stores {
        projects: control.clone(),
        people: control.clone(),
        audit: control.clone(),
        views: control,
        ..Stores::of(Arc::new(telemetry))
    };
    (stores, (database, directory))
}

cases! { super::open,
    projects: [
        missing_settings_keep_their_value_and_empty_secrets_remove_it,
        a_key_opens_its_project_and_no_other,
        a_new_key_replaces_the_old_one,
        a_project_that_was_not_saved_is_not_found,
        a_key_of_another_project_is_not_taken_over,
        projects_are_created_up_to_the_limit_and_listed_by_name,
        the_second_change_of_the_same_settings_is_refused,
        a_project_has_several_keys_that_are_removed_one_by_one,
        a_key_set_at_start_leaves_the_other_keys_alone,
        the_use_of_keys_and_refusals_are_saved,
        a_removed_project_frees_its_name_and_ends_its_keys_at_once,
        the_data_of_a_removed_project_is_removed_and_no_other,
    ],
    people: [
        a_person_is_added_once_and_read_back,
        the_last_admin_stays_whatever_is_changed,
        a_new_password_ends_sessions_and_links,
        a_link_works_once,
        sessions_end_alone_together_and_in_time,
        a_token_is_found_by_its_hash_until_it_is_removed,
    ],
    audit: [
        entries_are_read_back_newest_first_page_by_page,
        entries_are_filtered_by_author_action_project_and_time,
        old_entries_are_removed_oldest_first,
        a_cursor_of_another_list_is_refused,
        a_change_brings_its_entry_and_a_refused_one_brings_none,
    ],
    views: [
        views_are_listed_oldest_first_and_removed_one_by_one,
        a_view_beyond_the_limit_is_not_saved,
        projects_do_not_see_the_views_of_each_other,
    ],
}
