//! What every engine promises, as tests that run on any of them.
//!
//! An engine runs the suite with `conformance_suite!(open)` in its tests. `open` returns
//! stores without content, and something that lives as long as they do.

pub(super) mod fleet;
pub(super) mod projects;
pub(super) mod rules;
pub(super) mod telemetry;

use jiff::Timestamp;

use crate::store::{ProjectId, ProjectSettings, Stores};

/// Makes the project `name`, and returns its id.
async fn project(stores: &Stores, name: &str) -> ProjectId {
    let projects = &stores.projects;
    let settings = ProjectSettings::default();
    projects.save_project(name, settings).await.unwrap();
    projects.project_named(name).await.unwrap().unwrap().id
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Runs every case on the engine that `$open` opens.
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::store::conformance::conformance_suite! { $open,
            projects: [
                settings_that_are_not_given_stay_and_empty_secrets_go,
                a_key_opens_its_project_and_no_other,
                a_new_key_replaces_the_old_one,
                a_project_that_was_not_saved_is_not_found,
            ],
            rules: [
                versions_of_rules_are_kept_as_far_as_there_is_room_and_the_newest_always,
                no_more_versions_are_kept_than_asked_for,
                a_version_that_is_replaced_is_removed,
                of_two_changes_to_one_version_the_later_is_refused,
                history_is_read_page_by_page,
                rules_are_due_by_their_newest_version,
                a_draft_is_replaced_and_only_the_one_that_was_read_is_removed,
            ],
            fleet: [
                all_that_an_agent_says_comes_together,
                the_interval_is_the_time_between_the_last_two_requests,
                a_version_that_is_fetched_again_keeps_its_first_time,
                an_agent_applied_only_what_it_fetched_and_never_an_older_version_again,
                who_never_asked_for_rules_is_not_remembered,
                agents_beyond_the_limit_displace_none_that_was_heard_of,
                the_longest_unseen_makes_way_when_it_was_silent_for_long,
                an_agent_that_is_unseen_for_a_day_is_forgotten,
                status_reports_of_installs_beyond_the_limit_displace_none_but_the_silent,
                reports_end_with_the_one_that_fills_the_room,
                when_the_clock_was_set_all_times_move_with_it,
                projects_do_not_see_the_agents_of_each_other,
            ],
            telemetry: [
                a_record_sent_again_is_stored_once,
                a_record_without_a_key_is_stored_each_time,
                records_are_read_newest_first_page_by_page,
                a_page_ends_with_the_record_that_fills_it,
                a_cursor_that_the_engine_did_not_make_is_refused,
                types_beyond_the_limit_are_counted_together,
                records_that_were_left_out_are_counted,
                projects_do_not_see_the_records_of_each_other,
                a_store_that_works_says_so,
            ],
        }
    };
    ($open:path, $($concern:ident: [$($case:ident,)*],)*) => {
        $(mod $concern {
            $(#[tokio::test]
            async fn $case() {
                let (stores, _keeps) = $open();
                $crate::store::conformance::$concern::$case(&stores).await;
            })*
        })*
    };
}
pub(super) use conformance_suite;
