//! The promises of every engine, as tests that run on any engine.
//!
//! An engine runs the suite with `conformance_suite!(open)` in its tests, or the half that it implements
//! with `control_suite!(open)` or `telemetry_suite!(open)`; the other half is then another engine.
//! `open` is asynchronous and returns empty stores, and a guard value that must live as long as they
//! do.

pub(super) mod alerts;
pub(super) mod arrivals;
pub(super) mod audit;
pub(super) mod fleet;
pub(super) mod losses;
pub(super) mod pages;
pub(super) mod people;
pub(super) mod projects;
pub(super) mod rules;
pub(super) mod search;
pub(super) mod telemetry;
pub(super) mod views;

use std::sync::Arc;

use guard_wire::Kind;
use jiff::Timestamp;

use crate::query::TimeRange;
use crate::query::filter::Filter;
use crate::store::{
    Cursor, EventQuery, EventSlice, ProjectId, ProjectSettings, Search, Selection, StoreError,
    Stores,
};

/// Creates the project `name` and returns its id.
async fn project(stores: &Stores, name: &str) -> ProjectId {
    let projects = &stores.projects;
    let settings = ProjectSettings::default();
    projects.save_project(name, settings).await.unwrap();
    projects.project_named(name).await.unwrap().unwrap().id
}

/// The newest records of a kind after a position, until they have `bytes` bytes.
pub(super) async fn newest(
    search: &dyn Search,
    project: ProjectId,
    kind: Kind,
    after: Option<Cursor>,
    (limit, bytes): (u16, usize),
) -> Result<EventSlice, StoreError> {
    let range = TimeRange {
        from: Timestamp::MIN,
        to: Timestamp::MAX,
    };
    let query = EventQuery {
        selection: Selection {
            project,
            range,
            filter: Arc::new(Filter::everything()),
        },
        after,
        is_oldest_first: false,
        limit,
        bytes,
        compare: 0,
    };
    match kind {
        Kind::Event => search.events(query).await,
        Kind::Metric => search.metrics(query).await,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Runs every case on an engine that implements every trait.
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::store::conformance::control_suite!($open);
        $crate::store::conformance::telemetry_suite!($open);
    };
}
pub(super) use conformance_suite;

/// Runs the cases of what the server knows and decides: everything but telemetry.
macro_rules! control_suite {
    ($open:path) => {
        $crate::store::conformance::cases! { $open,
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
            rules: [
                versions_are_kept_within_the_limit_and_the_newest_always,
                no_more_versions_are_kept_than_asked_for,
                automatic_versions_never_displace_those_of_people,
                a_version_that_is_replaced_is_removed,
                the_second_change_to_the_same_version_is_refused,
                history_is_read_page_by_page,
                the_newest_version_decides_when_rules_are_due,
                a_draft_is_replaced_and_removed_only_if_it_is_unchanged,
                a_draft_goes_with_the_version_that_publishes_it,
            ],
            fleet: [
                signals_of_an_agent_are_combined,
                the_interval_is_the_time_between_the_last_two_requests,
                a_version_that_is_fetched_again_keeps_its_first_time,
                an_agent_applies_only_fetched_versions_and_never_goes_back,
                agents_that_never_asked_for_rules_are_not_remembered,
                agents_beyond_the_limit_displace_no_active_agent,
                a_new_agent_replaces_the_one_silent_for_longest,
                an_agent_silent_for_a_day_is_forgotten,
                status_reports_beyond_the_limit_displace_only_silent_installs,
                a_list_of_reports_ends_with_the_one_that_fills_it,
                all_times_move_with_the_clock,
                projects_do_not_see_the_agents_of_each_other,
            ],
            losses: [
                only_what_a_process_lost_since_its_last_report_is_added,
                losses_are_found_in_the_minute_of_their_report,
                sums_of_losses_agree_with_loops_over_reports,
            ],
            views: [
                views_are_listed_oldest_first_and_removed_one_by_one,
                a_view_beyond_the_limit_is_not_saved,
                projects_do_not_see_the_views_of_each_other,
            ],
            alerts: [
                alerts_are_added_changed_and_removed,
                a_project_gets_its_default_alerts_once,
                channels_are_added_changed_and_removed,
                a_state_and_its_notifications_are_stored_together,
                groups_and_values_may_be_any_text,
                nothing_is_stored_for_an_alert_that_was_removed,
                each_channel_gets_its_notifications_in_order,
                outbox_and_history_are_limited,
                a_history_is_read_page_by_page,
            ],
        }
    };
}
pub(super) use control_suite;

/// Runs the cases of telemetry. They create projects, so the stores need a control store too.
macro_rules! telemetry_suite {
    ($open:path) => {
        $crate::store::conformance::cases! { $open,
            telemetry: [
                a_record_sent_again_is_stored_once,
                a_record_without_a_key_is_stored_each_time,
                records_are_read_newest_first_page_by_page,
                a_page_ends_with_the_record_that_fills_it,
                a_cursor_that_the_engine_did_not_make_is_refused,
                types_beyond_the_limit_are_counted_together,
                records_that_were_left_out_are_counted,
                projects_do_not_see_the_records_of_each_other,
                the_probe_of_a_working_store_succeeds,
                a_late_record_takes_its_place_by_time,
                pages_stay_stable_while_new_records_come_in,
                a_record_sent_again_with_others_is_counted_once,
                expired_records_leave_with_their_counts,
                expiry_removes_only_what_it_names,
                the_oldest_records_leave_first,
                the_records_of_a_removed_project_are_removed_and_no_other,
                the_room_of_a_project_grows_with_its_records,
            ],
            arrivals: [
                events_are_read_in_the_order_in_which_they_came,
                an_event_that_is_sent_again_does_not_arrive_again,
                an_arrived_event_is_the_stored_one,
                a_slice_ends_at_its_limits,
                a_reader_misses_and_repeats_nothing_while_others_write,
                projects_do_not_see_the_arrivals_of_each_other,
                a_position_expires_when_a_later_event_is_removed,
            ],
            search: [
                lists_series_and_tops_agree_with_loops_over_records,
                metrics_agree_with_loops_over_records,
                projects_do_not_find_the_events_of_each_other,
                an_id_that_the_engine_did_not_make_finds_nothing,
                answers_agree_after_records_expired,
            ],
            pages: [
                the_overview_agrees_with_loops_over_records,
                an_address_agrees_with_loops_over_records,
                passive_mode_agrees_with_loops_over_records,
                agents_are_counted_as_loops_over_their_reports_do,
            ],
        }
    };
}
pub(super) use telemetry_suite;

/// Makes a test of each case.
macro_rules! cases {
    ($open:path, $($concern:ident: [$($case:ident,)*],)*) => {
        $(mod $concern {
            $(#[tokio::test]
            async fn $case() {
                let (stores, _keeps) = $open().await;
                $crate::store::conformance::$concern::$case(&stores).await;
            })*
        })*
    };
}
pub(super) use cases;
