//! Events in order of arrival.

use serde_json::{Value, json};

use super::{at, project};
use crate::ingest::intake::Intake;
use crate::store::{ArrivalQuery, ArrivalSlice, Cursor, Expiry, ProjectId, StoreError, Stores};

/// Stores events with these keys, each at its time in seconds.
async fn append(stores: &Stores, project: ProjectId, events: &[(&str, i64)]) {
    let event = |(key, second): &(&str, i64)| {
        let timestamp = at(*second);
        json!({ "idempotency_key": key, "timestamp": timestamp, "event_type": "x" })
    };
    let events: Vec<Value> = events.iter().map(event).collect();
    let body = json!({ "events": events, "metrics": [] }).to_string();
    let intake = Intake::read(project, body.as_bytes(), None, 10_000).unwrap();
    assert!(intake.left_out.is_empty());
    stores.telemetry.append(intake.batch, 100).await.unwrap();
}

async fn now(stores: &Stores, project: ProjectId) -> Cursor {
    stores.arrivals.now(project).await.unwrap()
}

async fn slice(
    stores: &Stores,
    project: ProjectId,
    after: &Cursor,
    limit: u16,
) -> Result<ArrivalSlice, StoreError> {
    let query = ArrivalQuery {
        project,
        // The cursor goes through text, as when a client sends it.
        after: after.to_string().parse().unwrap(),
        until: None,
        limit,
        bytes: usize::MAX,
    };
    stores.arrivals.arrivals(query).await
}

fn keys(slice: &ArrivalSlice) -> Vec<String> {
    let key = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        body["idempotency_key"].as_str().unwrap().to_owned()
    };
    let events = slice.events.iter();
    events
        .map(|arrived| key(arrived.event.body.get()))
        .collect()
}

/// Reads everything after a position, in slices of `limit`.
async fn all(stores: &Stores, project: ProjectId, after: &Cursor, limit: u16) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), after.clone());
    loop {
        let slice = slice(stores, project, &after, limit).await.unwrap();
        assert!(slice.events.len() <= usize::from(limit));
        found.extend(keys(&slice));
        if slice.is_complete {
            return found;
        }
        after = slice.next;
    }
}

pub(in crate::store) async fn events_are_read_in_the_order_in_which_they_came(stores: &Stores) {
    let project = project(stores, "default").await;
    append(stores, project, &[("before", 100)]).await;
    let begin = now(stores, project).await;
    assert!(all(stores, project, &begin, 10).await.is_empty());
    append(stores, project, &[("b", 200), ("c", 50), ("d", 50)]).await;
    append(stores, project, &[("late", -500)]).await;
    append(stores, project, &[("a", 100)]).await;
    for limit in [1, 2, 3, 1000] {
        let found = all(stores, project, &begin, limit).await;
        assert_eq!(found, ["b", "c", "d", "late", "a"], "{limit}");
    }
    let end = now(stores, project).await;
    assert!(all(stores, project, &end, 10).await.is_empty());
}

pub(in crate::store) async fn an_event_that_is_sent_again_does_not_arrive_again(stores: &Stores) {
    let project = project(stores, "default").await;
    let begin = now(stores, project).await;
    append(stores, project, &[("a", 1), ("b", 2)]).await;
    append(
        stores,
        project,
        &[("b", 2), ("c", 3), ("a", 1), ("d", 3), ("c", 3)],
    )
    .await;
    append(stores, project, &[("d", 3)]).await;
    assert_eq!(all(stores, project, &begin, 1).await, ["a", "b", "c", "d"]);
    append(stores, project, &[("e", 2)]).await;
    assert_eq!(
        all(stores, project, &begin, 9).await,
        ["a", "b", "c", "d", "e"]
    );
}

pub(in crate::store) async fn an_arrived_event_is_the_stored_one(stores: &Stores) {
    let project = project(stores, "default").await;
    let begin = now(stores, project).await;
    append(stores, project, &[("a", 1), ("b", 2)]).await;
    for arrived in slice(stores, project, &begin, 9).await.unwrap().events {
        let event = arrived.event;
        let stored = stores.search.event(project, event.id.clone()).await;
        let stored = stored.unwrap().unwrap();
        assert_eq!(stored.body.get(), event.body.get());
        assert_eq!(stored.timestamp, event.timestamp);
        assert_eq!(stored.received_at, event.received_at);
        // Reading also goes on after each single event.
        let rest = all(stores, project, &arrived.position, 9).await;
        assert_eq!(rest.len(), usize::from(event.timestamp == at(1)));
    }
}

pub(in crate::store) async fn a_slice_ends_at_its_limits(stores: &Stores) {
    let project = project(stores, "default").await;
    let begin = now(stores, project).await;
    append(stores, project, &[("a", 1), ("b", 2)]).await;
    let middle = now(stores, project).await;
    append(stores, project, &[("c", 3), ("d", 4)]).await;
    let query = ArrivalQuery {
        project,
        after: begin,
        until: Some(middle),
        limit: 9,
        bytes: usize::MAX,
    };
    let found = stores.arrivals.arrivals(query.clone()).await.unwrap();
    assert_eq!(keys(&found), ["a", "b"]);
    assert!(found.is_complete);
    let small = ArrivalQuery { bytes: 1, ..query };
    let found = stores.arrivals.arrivals(small).await.unwrap();
    assert_eq!(keys(&found), ["a"]);
    assert!(!found.is_complete);
}

pub(in crate::store) async fn a_reader_misses_and_repeats_nothing_while_others_write(
    stores: &Stores,
) {
    const WRITERS: usize = 4;
    const BATCHES: usize = 30;
    let project = project(stores, "default").await;
    let begin = now(stores, project).await;
    let writers = (0..WRITERS).map(|writer| {
        let stores = stores.clone();
        tokio::spawn(async move {
            for n in 0..BATCHES {
                let (one, other) = (format!("{writer}/{n}/1"), format!("{writer}/{n}/2"));
                let second = i64::try_from(n % 3).unwrap();
                append(&stores, project, &[(&one, second), (&other, 9 - second)]).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut found, mut after) = (Vec::new(), begin.clone());
    while found.len() < 2 * WRITERS * BATCHES {
        let slice = slice(stores, project, &after, 7).await.unwrap();
        found.extend(keys(&slice));
        after = slice.next;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(found, all(stores, project, &begin, 1000).await);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 2 * WRITERS * BATCHES);
}

pub(in crate::store) async fn projects_do_not_see_the_arrivals_of_each_other(stores: &Stores) {
    let (one, other) = (project(stores, "one").await, project(stores, "other").await);
    let (of_one, of_other) = (now(stores, one).await, now(stores, other).await);
    append(stores, one, &[("a", 1)]).await;
    append(stores, other, &[("b", 1)]).await;
    assert_eq!(all(stores, one, &of_one, 9).await, ["a"]);
    assert_eq!(all(stores, other, &of_other, 9).await, ["b"]);
    for position in [of_other, "AAAA".parse().unwrap()] {
        let refused = slice(stores, one, &position, 9).await;
        assert_eq!(refused.unwrap_err(), StoreError::InvalidCursor);
    }
}

pub(in crate::store) async fn a_position_expires_when_a_later_event_is_removed(stores: &Stores) {
    let project = project(stores, "default").await;
    append(stores, project, &[("a", 10), ("b", 20)]).await;
    let begin = now(stores, project).await;
    append(stores, project, &[("c", 1), ("d", 30)]).await;
    let end = now(stores, project).await;
    let of_c = slice(stores, project, &begin, 1).await.unwrap().next;
    let expire = async |second| {
        let expiry = Expiry {
            events_before: at(second),
            metrics_before: at(0),
            rollups_before: at(0),
        };
        stores.telemetry.expire(project, expiry).await.unwrap();
    };
    expire(5).await;
    let expired = slice(stores, project, &begin, 9).await;
    assert_eq!(expired.unwrap_err(), StoreError::ExpiredCursor);
    assert_eq!(all(stores, project, &of_c, 9).await, ["d"]);
    expire(1000).await;
    let expired = slice(stores, project, &of_c, 9).await;
    assert_eq!(expired.unwrap_err(), StoreError::ExpiredCursor);
    // Nothing after these was removed.
    for position in [end, now(stores, project).await] {
        assert!(all(stores, project, &position, 9).await.is_empty());
    }
}
