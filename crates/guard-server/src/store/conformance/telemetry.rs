//! Events and metrics.

use guard_wire::Kind;
use jiff::Timestamp;

use super::{at, newest, project};
use crate::store::{
    Batch, Columns, Cursor, Expired, Expiry, KindCounts, NewRecord, ProjectId, StoreError, Stores,
};

fn record(key: Option<&str>, type_name: &str, body: &str) -> NewRecord {
    NewRecord {
        idempotency_key: key.map(str::to_owned),
        timestamp: at(0),
        type_name: type_name.to_owned(),
        ip: None,
        endpoint: None,
        value: None,
        columns: Columns::default(),
        body: body.to_owned(),
    }
}

fn batch(project: ProjectId, events: Vec<NewRecord>) -> Batch {
    Batch {
        project,
        received_at: at(1),
        install_id: None,
        events,
        metrics: Vec::new(),
        invalid: KindCounts::default(),
    }
}

async fn append(stores: &Stores, batch: Batch) {
    stores.telemetry.append(batch, 100).await.unwrap();
}

/// Stores an event and a metric.
async fn store_one_of_each(stores: &Stores, project: ProjectId) {
    let mut batch = batch(project, vec![record(Some("e"), "x", "1")]);
    batch.metrics.push(record(Some("m"), "x", "2"));
    append(stores, batch).await;
}

/// How many records a list has.
async fn stored(stores: &Stores, project: ProjectId, kind: Kind) -> usize {
    let slice = newest(&*stores.search, project, kind, None, (100, usize::MAX)).await;
    slice.unwrap().events.len()
}

/// The bodies of all events, one list per page.
async fn pages(stores: &Stores, project: ProjectId, limit: u16, bytes: usize) -> Vec<Vec<String>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = newest(&*stores.search, project, Kind::Event, after, (limit, bytes)).await;
        let page = page.unwrap();
        let bodies = page.events.iter().map(|event| event.body.get().to_owned());
        pages.push(bodies.collect());
        // The cursor goes through text, as when a client sends it.
        let Some(next) = page.next.map(|cursor| cursor.to_string()) else {
            return pages;
        };
        after = Some(next.parse::<Cursor>().unwrap());
    }
}

pub(in crate::store) async fn a_record_sent_again_is_stored_once(stores: &Stores) {
    let project = project(stores, "default").await;
    for _ in 0..2 {
        let events = vec![record(Some("a"), "x", "1"), record(Some("b"), "x", "2")];
        append(stores, batch(project, events)).await;
    }
    assert_eq!(pages(stores, project, 10, 1000).await, [["2", "1"]]);
    let counts = stores.telemetry.counts(project).await.unwrap();
    assert_eq!(counts.events.total, 2);
}

pub(in crate::store) async fn a_record_without_a_key_is_stored_each_time(stores: &Stores) {
    let project = project(stores, "default").await;
    for _ in 0..2 {
        append(stores, batch(project, vec![record(None, "x", "1")])).await;
    }
    assert_eq!(pages(stores, project, 10, 1000).await, [["1", "1"]]);
}

pub(in crate::store) async fn records_are_read_newest_first_page_by_page(stores: &Stores) {
    let project = project(stores, "default").await;
    for body in ["1", "2", "3", "4", "5"] {
        append(stores, batch(project, vec![record(None, "x", body)])).await;
    }
    let expected = [vec!["5", "4"], vec!["3", "2"], vec!["1"]];
    assert_eq!(pages(stores, project, 2, 1000).await, expected);
}

pub(in crate::store) async fn a_page_ends_with_the_record_that_fills_it(stores: &Stores) {
    let project = project(stores, "default").await;
    for body in ["\"1\"", "\"2\"", "\"3\""] {
        append(stores, batch(project, vec![record(None, "x", body)])).await;
    }
    let expected = [vec!["\"3\"", "\"2\""], vec!["\"1\""]];
    assert_eq!(pages(stores, project, 10, 4).await, expected);
}

pub(in crate::store) async fn a_cursor_that_the_engine_did_not_make_is_refused(stores: &Stores) {
    let project = project(stores, "default").await;
    let foreign = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let refused = newest(&*stores.search, project, Kind::Event, Some(foreign), (1, 1)).await;
    assert_eq!(refused.unwrap_err(), StoreError::InvalidCursor);
}

pub(in crate::store) async fn types_beyond_the_limit_are_counted_together(stores: &Stores) {
    let project = project(stores, "default").await;
    let events = ["a", "b", "c", "c"].map(|name| record(None, name, "1"));
    let appending = stores.telemetry.append(batch(project, events.into()), 2);
    appending.await.unwrap();
    let events = stores.telemetry.counts(project).await.unwrap().events;
    assert_eq!((events.total, events.other), (4, 2));
    assert_eq!(events.by_type.into_keys().collect::<Vec<_>>(), ["a", "b"]);
}

pub(in crate::store) async fn records_that_were_left_out_are_counted(stores: &Stores) {
    let project = project(stores, "default").await;
    let invalid = KindCounts {
        events: 2,
        metrics: 3,
    };
    let batch = Batch {
        invalid,
        ..batch(project, Vec::new())
    };
    append(stores, batch).await;
    let counts = stores.telemetry.counts(project).await.unwrap();
    assert_eq!(counts.invalid, invalid);
}

pub(in crate::store) async fn projects_do_not_see_the_records_of_each_other(stores: &Stores) {
    let (one, other) = (project(stores, "one").await, project(stores, "other").await);
    append(stores, batch(one, vec![record(Some("a"), "x", "1")])).await;
    append(stores, batch(other, vec![record(Some("a"), "x", "2")])).await;
    assert_eq!(pages(stores, one, 10, 1000).await, [["1"]]);
    assert_eq!(pages(stores, other, 10, 1000).await, [["2"]]);
}

pub(in crate::store) async fn the_probe_of_a_working_store_succeeds(stores: &Stores) {
    assert_eq!(stores.telemetry.probe().await, Ok(()));
}

fn event_at(second: i64, body: &str) -> NewRecord {
    NewRecord {
        timestamp: at(second),
        ..record(Some(&format!("{second}/{body}")), "x", body)
    }
}

pub(in crate::store) async fn a_late_record_takes_its_place_by_time(stores: &Stores) {
    let project = project(stores, "default").await;
    for second in [1, 3, 2, -7, 4] {
        let event = event_at(second, &second.to_string());
        append(stores, batch(project, vec![event])).await;
    }
    let expected = [vec!["4", "3"], vec!["2", "1"], vec!["-7"]];
    assert_eq!(pages(stores, project, 2, 1000).await, expected);
}

pub(in crate::store) async fn pages_stay_stable_while_new_records_come_in(stores: &Stores) {
    let project = project(stores, "default").await;
    let of_second = |second, body: &str| batch(project, vec![event_at(second, body)]);
    for body in ["1", "2", "3"] {
        append(stores, of_second(5, body)).await;
    }
    let read = async |after| {
        let page = newest(
            &*stores.search,
            project,
            Kind::Event,
            after,
            (2, usize::MAX),
        )
        .await;
        let page = page.unwrap();
        let bodies = page.events.iter().map(|event| event.body.get().to_owned());
        (bodies.collect::<Vec<_>>(), page.next)
    };
    let (first, next) = read(None).await;
    assert_eq!(first, ["3", "2"]);
    append(stores, of_second(5, "4")).await;
    append(stores, of_second(6, "5")).await;
    assert_eq!(read(next).await.0, ["1"]);
}

pub(in crate::store) async fn a_record_sent_again_with_others_is_counted_once(stores: &Stores) {
    let project = project(stores, "default").await;
    let first = vec![event_at(1, "1"), event_at(2, "2")];
    append(stores, batch(project, first)).await;
    let mixed = vec![event_at(0, "0"), event_at(2, "2"), event_at(3, "3")];
    let receipt = stores.telemetry.append(batch(project, mixed), 100).await;
    let duplicates = KindCounts {
        events: 1,
        metrics: 0,
    };
    // An engine may detect duplicates later.
    let found = receipt.unwrap().duplicates;
    assert!(found.is_none_or(|found| found == duplicates), "{found:?}");
    assert_eq!(
        pages(stores, project, 10, 1000).await,
        [["3", "2", "1", "0"]]
    );
}

fn expiry(events_before: i64, metrics_before: i64) -> Expiry {
    Expiry {
        events_before: at(events_before),
        metrics_before: at(metrics_before),
        rollups_before: at(0),
    }
}

async fn expire(stores: &Stores, project: ProjectId, expiry: Expiry) -> (u64, u64) {
    let (mut events, mut metrics) = (0, 0);
    loop {
        let step = stores.telemetry.expire(project, expiry).await.unwrap();
        events += step.events;
        metrics += step.metrics;
        if !step.has_more {
            return (events, metrics);
        }
    }
}

pub(in crate::store) async fn expired_records_leave_with_their_counts(stores: &Stores) {
    let project = project(stores, "default").await;
    let events = (0..1000).map(|second| event_at(second, &second.to_string()));
    append(stores, batch(project, events.collect())).await;
    assert_eq!(expire(stores, project, expiry(997, 0)).await, (997, 0));
    assert_eq!(
        pages(stores, project, 10, 1000).await,
        [["999", "998", "997"]]
    );
    let counts = stores.telemetry.counts(project).await.unwrap();
    assert_eq!((counts.events.total, counts.events.by_type["x"]), (3, 3));
    assert_eq!(expire(stores, project, expiry(2000, 0)).await, (3, 0));
    let counts = stores.telemetry.counts(project).await.unwrap();
    assert_eq!(counts.events, crate::store::KindSummary::default());
    // A record that was removed counts as new when it is sent again. An engine may hide it as one
    // that has expired.
    append(stores, batch(project, vec![event_at(5, "5")])).await;
    let pages = pages(stores, project, 10, 1000).await;
    assert!(pages == [["5"]] || pages == [[""; 0]], "{pages:?}");
}

pub(in crate::store) async fn expiry_removes_only_what_it_names(stores: &Stores) {
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    for project in [one, other] {
        store_one_of_each(stores, project).await;
    }
    assert_eq!(expire(stores, one, expiry(0, 1)).await, (0, 1));
    assert_eq!(stored(stores, one, Kind::Event).await, 1);
    assert_eq!(stored(stores, one, Kind::Metric).await, 0);
    assert_eq!(stored(stores, other, Kind::Metric).await, 1);
    let counts = stores.telemetry.counts(one).await.unwrap();
    assert_eq!((counts.events.total, counts.metrics.total), (1, 0));
}

pub(in crate::store) async fn the_oldest_records_leave_first(stores: &Stores) {
    let project = project(stores, "default").await;
    let events: Vec<_> = (0..50_000).map(|second| event_at(second, "1")).collect();
    append(stores, batch(project, events)).await;
    let mut left = 50_000;
    while left > 0 {
        let step = stores
            .telemetry
            .expire_oldest(project, u64::MAX)
            .await
            .unwrap();
        assert!(step.events > 0);
        left -= step.events;
        let counts = stores.telemetry.counts(project).await.unwrap();
        assert_eq!(counts.events.total, left);
        let found = newest(&*stores.search, project, Kind::Event, None, (1, 1000)).await;
        assert_eq!(found.unwrap().events.len(), usize::from(left > 0));
    }
    let step = stores
        .telemetry
        .expire_oldest(project, u64::MAX)
        .await
        .unwrap();
    assert_eq!(step, Expired::default());
}

pub(in crate::store) async fn the_records_of_a_removed_project_are_removed_and_no_other(
    stores: &Stores,
) {
    let projects = &stores.projects;
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    for project in [one, other] {
        store_one_of_each(stores, project).await;
    }
    assert!(!projects.sweep().await.unwrap());
    let now = Timestamp::now();
    projects.remove_project(one, now, None).await.unwrap();
    store_one_of_each(stores, one).await;
    while projects.sweep().await.unwrap() {}
    while stores.sweep_records().await.unwrap() {}
    while stores.telemetry.sweep(vec![one]).await.unwrap() {}
    for kind in Kind::ALL {
        assert_eq!(stored(stores, one, kind).await, 0);
        assert_eq!(stored(stores, other, kind).await, 1);
    }
    let counts = stores.telemetry.counts(one).await.unwrap();
    assert_eq!(counts, crate::store::RecordCounts::default());
}

pub(in crate::store) async fn the_room_of_a_project_grows_with_its_records(stores: &Stores) {
    let [one, other] = [project(stores, "one").await, project(stores, "other").await];
    store_one_of_each(stores, one).await;
    let usage = async |project| stores.telemetry.usage(project).await.unwrap();
    assert!(usage(one).await.bytes > 0);
    assert!(usage(one).await.bytes_per_day > 0);
    assert_eq!(usage(other).await.bytes, 0);
}
