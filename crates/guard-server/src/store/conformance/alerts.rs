//! Alerts, where they stand, and the notifications that wait.

use super::{at, project};
use crate::store::{
    AlertCommit, AlertLimits, AlertUpdate, Cursor, NewHistory, NewNotification, ProjectId,
    StoreError, StoredAlert, StoredChannel, Stores,
};

const LIMITS: AlertLimits = AlertLimits {
    outbox: 10,
    history: 5,
};

fn alert(project: ProjectId, id: &str) -> StoredAlert {
    StoredAlert {
        project,
        id: id.to_owned(),
        created_at: at(1),
        created_by: "cli".to_owned(),
        content: "{}".to_owned(),
        muted_until: None,
    }
}

fn channel(id: &str) -> StoredChannel {
    StoredChannel {
        id: id.to_owned(),
        created_at: at(1),
        created_by: "cli".to_owned(),
        label: "Ops".to_owned(),
        kind: "webhook".to_owned(),
        target: "https://example.com/x".into(),
        secret: Some("hush".into()),
    }
}

fn notification(id: &str, channel: &str) -> NewNotification {
    NewNotification {
        id: id.to_owned(),
        channel: channel.to_owned(),
        created_at: at(10),
        content: "{}".to_owned(),
    }
}

fn history(second: i64) -> NewHistory {
    NewHistory {
        at: at(second),
        content: format!("{{\"n\":{second}}}"),
    }
}

async fn commit(stores: &Stores, project: ProjectId, update: AlertUpdate) -> usize {
    let commit = AlertCommit {
        project,
        position: None,
        updates: vec![update],
    };
    stores.alerts.commit_alerts(commit, LIMITS).await.unwrap()
}

fn update(alert: &str) -> AlertUpdate {
    AlertUpdate {
        alert: alert.to_owned(),
        ..AlertUpdate::default()
    }
}

/// The ids of the first notification of each channel.
async fn firsts(stores: &Stores) -> Vec<String> {
    let outbox = stores.alerts.outbox().await.unwrap();
    outbox.into_iter().map(|it| it.notification.id).collect()
}

async fn seconds(stores: &Stores, project: ProjectId, alert: &str) -> Vec<i64> {
    let page = stores.alerts.alert_history(project, alert, None, 100).await;
    let items = page.unwrap().items.into_iter();
    items.map(|entry| entry.at.as_second()).collect()
}

pub(in crate::store) async fn alerts_are_added_changed_and_removed(stores: &Stores) {
    let (one, other) = (project(stores, "one").await, project(stores, "other").await);
    let alerts = &stores.alerts;
    assert_eq!(alerts.add_alert(alert(one, "a"), 2, None).await, Ok(true));
    assert_eq!(alerts.add_alert(alert(one, "b"), 2, None).await, Ok(true));
    assert_eq!(alerts.add_alert(alert(one, "c"), 2, None).await, Ok(false));
    assert_eq!(alerts.add_alert(alert(other, "a"), 2, None).await, Ok(true));
    let changed = StoredAlert {
        content: "{\"label\":1}".to_owned(),
        muted_until: Some(at(9)),
        ..alert(one, "a")
    };
    let change = |from: StoredAlert, to: StoredAlert| alerts.change_alert(from, to, None);
    assert_eq!(change(alert(one, "a"), changed.clone()).await, Ok(true));
    assert_eq!(change(alert(one, "a"), changed.clone()).await, Ok(false));
    let all = vec![changed.clone(), alert(one, "b")];
    assert_eq!(alerts.alerts(one).await, Ok(all));
    assert_eq!(alerts.all_alerts().await.unwrap().len(), 3);
    assert_eq!(alerts.remove_alert(one, "a", None).await, Ok(Some(changed)));
    assert_eq!(alerts.remove_alert(one, "a", None).await, Ok(None));
    assert_eq!(alerts.alerts(other).await, Ok(vec![alert(other, "a")]));
}

pub(in crate::store) async fn a_project_gets_its_default_alerts_once(stores: &Stores) {
    let project = project(stores, "default").await;
    let add = |id: &str| {
        stores
            .alerts
            .add_default_alerts(project, vec![alert(project, id)])
    };
    assert_eq!(add("a").await, Ok(true));
    stores
        .alerts
        .remove_alert(project, "a", None)
        .await
        .unwrap();
    assert_eq!(add("b").await, Ok(false));
    assert_eq!(stores.alerts.alerts(project).await, Ok(vec![]));
}

pub(in crate::store) async fn channels_are_added_changed_and_removed(stores: &Stores) {
    let alerts = &stores.alerts;
    assert_eq!(alerts.add_channel(channel("a"), 1, None).await, Ok(true));
    assert_eq!(alerts.add_channel(channel("b"), 1, None).await, Ok(false));
    let changed = StoredChannel {
        target: "https://example.com/y".into(),
        secret: None,
        ..channel("a")
    };
    let change = |from: StoredChannel, to: StoredChannel| alerts.change_channel(from, to, None);
    assert_eq!(change(channel("a"), changed.clone()).await, Ok(true));
    assert_eq!(change(channel("a"), changed.clone()).await, Ok(false));
    assert_eq!(alerts.channels().await, Ok(vec![changed.clone()]));
    assert_eq!(alerts.remove_channel("a", None).await, Ok(Some(changed)));
    assert_eq!(alerts.remove_channel("a", None).await, Ok(None));
}

pub(in crate::store) async fn a_state_and_its_notifications_are_stored_together(stores: &Stores) {
    let project = project(stores, "default").await;
    stores
        .alerts
        .add_alert(alert(project, "a"), 9, None)
        .await
        .unwrap();
    let position = Cursor::new(b"a position");
    let full = AlertUpdate {
        states: vec![("g".to_owned(), Some("{\"since\":1}".to_owned()))],
        seen: vec!["x".to_owned(), "y".to_owned(), "x".to_owned()],
        history: vec![history(1)],
        outbox: vec![notification("n1", "c1"), notification("n1", "c1")],
        ..update("a")
    };
    let commit_of = |updates| AlertCommit {
        project,
        position: Some(position.clone()),
        updates,
    };
    let stored = stores.alerts.commit_alerts(commit_of(vec![full]), LIMITS);
    assert_eq!(stored.await, Ok(0));
    assert_eq!(
        stores.alerts.evaluated(project).await,
        Ok(Some(position.clone()))
    );
    let states = stores.alerts.alert_states().await.unwrap();
    assert_eq!((states.len(), &*states[0].group), (1, "g"));
    let seen = ["x".to_owned(), "y".to_owned()];
    assert_eq!(stores.alerts.seen(project, "a").await, Ok(seen.to_vec()));
    assert_eq!(firsts(stores).await, ["n1"]);
    assert_eq!(stores.alerts.outbox_size().await.unwrap().waiting, 1);
    let less = AlertUpdate {
        states: vec![("g".to_owned(), None)],
        forgotten: vec!["x".to_owned()],
        ..update("a")
    };
    commit(stores, project, less).await;
    assert_eq!(stores.alerts.alert_states().await, Ok(vec![]));
    let seen = vec!["y".to_owned()];
    assert_eq!(stores.alerts.seen(project, "a").await, Ok(seen));
}

pub(in crate::store) async fn groups_and_values_may_be_any_text(stores: &Stores) {
    let project = project(stores, "default").await;
    stores
        .alerts
        .add_alert(alert(project, "a"), 9, None)
        .await
        .unwrap();
    let values = ["", "\0", "v\0\u{fffd}", "\u{10ffff}'\\"].map(str::to_owned);
    // An endpoint may be long, and not compressible.
    let long = (0..16_000_u32).map(|n| char::from(b'!' + u8::try_from(n * n / 7 % 90).unwrap()));
    let groups = values.iter().cloned().chain([long.collect()]);
    let groups: Vec<(String, Option<String>)> =
        groups.map(|group| (group, Some("{}".to_owned()))).collect();
    let full = AlertUpdate {
        states: groups.clone(),
        seen: values.to_vec(),
        ..update("a")
    };
    commit(stores, project, full).await;
    let seen = stores.alerts.seen(project, "a").await;
    assert_eq!(seen, Ok(values.to_vec()));
    let states = stores.alerts.alert_states().await.unwrap();
    let mut found: Vec<_> = states.into_iter().map(|it| it.group).collect();
    let mut expected: Vec<_> = groups.iter().map(|(group, _)| group.clone()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let none = AlertUpdate {
        states: groups.into_iter().map(|(group, _)| (group, None)).collect(),
        forgotten: values.to_vec(),
        ..update("a")
    };
    commit(stores, project, none).await;
    assert_eq!(stores.alerts.alert_states().await, Ok(vec![]));
    assert_eq!(stores.alerts.seen(project, "a").await, Ok(vec![]));
}

pub(in crate::store) async fn nothing_is_stored_for_an_alert_that_was_removed(stores: &Stores) {
    let project = project(stores, "default").await;
    stores
        .alerts
        .add_alert(alert(project, "a"), 9, None)
        .await
        .unwrap();
    let full = AlertUpdate {
        states: vec![("g".to_owned(), Some("{}".to_owned()))],
        seen: vec!["x".to_owned()],
        history: vec![history(1)],
        outbox: vec![notification("n1", "c1")],
        ..update("a")
    };
    commit(stores, project, full.clone()).await;
    let waiting = stores.alerts.outbox().await.unwrap().remove(0);
    stores
        .alerts
        .remove_alert(project, "a", None)
        .await
        .unwrap();
    commit(stores, project, full).await;
    stores
        .alerts
        .settle(waiting, history(2), LIMITS)
        .await
        .unwrap();
    assert_eq!(stores.alerts.alert_states().await, Ok(vec![]));
    assert_eq!(stores.alerts.seen(project, "a").await, Ok(vec![]));
    assert!(firsts(stores).await.is_empty());
    assert!(seconds(stores, project, "a").await.is_empty());
}

pub(in crate::store) async fn each_channel_gets_its_notifications_in_order(stores: &Stores) {
    let project = project(stores, "default").await;
    stores
        .alerts
        .add_alert(alert(project, "a"), 9, None)
        .await
        .unwrap();
    let outbox = [("n1", "c1"), ("n2", "c1"), ("n3", "c2")];
    let outbox = outbox
        .map(|(id, channel)| notification(id, channel))
        .to_vec();
    commit(
        stores,
        project,
        AlertUpdate {
            outbox,
            ..update("a")
        },
    )
    .await;
    assert_eq!(firsts(stores).await, ["n1", "n3"]);
    stores.alerts.postpone("n1", at(99)).await.unwrap();
    let first = stores.alerts.outbox().await.unwrap().remove(0);
    assert_eq!((first.attempts, first.due_at), (1, at(99)));
    assert_eq!((first.project, &*first.alert), (project, "a"));
    assert_eq!(first.notification, notification("n1", "c1"));
    stores
        .alerts
        .settle(first.clone(), history(7), LIMITS)
        .await
        .unwrap();
    // A second time, as by an attempt that was given up for lost.
    stores
        .alerts
        .settle(first, history(8), LIMITS)
        .await
        .unwrap();
    assert_eq!(firsts(stores).await, ["n2", "n3"]);
    assert_eq!(seconds(stores, project, "a").await, [7]);
    stores.alerts.remove_channel("c1", None).await.unwrap();
    assert_eq!(firsts(stores).await, ["n3"]);
}

pub(in crate::store) async fn outbox_and_history_are_limited(stores: &Stores) {
    let project = project(stores, "default").await;
    for id in ["a", "b"] {
        stores
            .alerts
            .add_alert(alert(project, id), 9, None)
            .await
            .unwrap();
    }
    let outbox: Vec<_> = (0..12).map(|n| notification(&n.to_string(), "c")).collect();
    let left_out = commit(
        stores,
        project,
        AlertUpdate {
            outbox,
            ..update("a")
        },
    )
    .await;
    assert_eq!(left_out, 2);
    for second in 0..8 {
        let history = vec![history(second)];
        commit(
            stores,
            project,
            AlertUpdate {
                history,
                ..update("a")
            },
        )
        .await;
        let history = vec![super::alerts::history(second)];
        commit(
            stores,
            project,
            AlertUpdate {
                history,
                ..update("b")
            },
        )
        .await;
    }
    assert_eq!(seconds(stores, project, "a").await, [7, 6, 5, 4, 3]);
}

pub(in crate::store) async fn a_history_is_read_page_by_page(stores: &Stores) {
    let project = project(stores, "default").await;
    stores
        .alerts
        .add_alert(alert(project, "a"), 9, None)
        .await
        .unwrap();
    let history = (1..=5).map(history).collect();
    commit(
        stores,
        project,
        AlertUpdate {
            history,
            ..update("a")
        },
    )
    .await;
    let (mut found, mut cursor): (Vec<i64>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = stores
            .alerts
            .alert_history(project, "a", cursor, 2)
            .await
            .unwrap();
        found.extend(page.items.iter().map(|entry| entry.at.as_second()));
        match page.next {
            Some(next) => cursor = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(found, [5, 4, 3, 2, 1]);
    let foreign = Some("AAAA".parse().unwrap());
    let page = stores.alerts.alert_history(project, "a", foreign, 2).await;
    assert_eq!(page, Err(StoreError::InvalidCursor));
}
