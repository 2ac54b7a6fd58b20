//! Where alerts stand, their histories, and the notifications that wait.

use jiff::Timestamp;

use super::{ALERT, AT, World};
use crate::store::postgres::Postgres;
use crate::store::{
    AlertCommit, AlertLimits, AlertUpdate, Alerts as _, BoxFuture, NewHistory, NewNotification,
    OutboxEntry, ProjectId,
};

const LIMITS: AlertLimits = AlertLimits {
    outbox: 3,
    history: 100,
};

/// What an evaluation found: an entry of the history of this second, and these notifications.
pub(super) fn update(second: i64, notifications: &[&str]) -> AlertUpdate {
    let notification = |id: &&str| NewNotification {
        id: (*id).to_owned(),
        channel: "c".to_owned(),
        created_at: AT,
        content: "{}".to_owned(),
    };
    AlertUpdate {
        alert: ALERT.to_owned(),
        history: vec![history(second)],
        outbox: notifications.iter().map(notification).collect(),
        ..AlertUpdate::default()
    }
}

fn history(second: i64) -> NewHistory {
    NewHistory {
        at: Timestamp::from_second(second).unwrap(),
        content: "{}".to_owned(),
    }
}

/// Commits an evaluation that has no position, which would put the commits in order by its row.
pub(super) fn commit(
    project: ProjectId,
    update: AlertUpdate,
) -> impl FnOnce(&Postgres) -> BoxFuture<'_, usize> + Send + 'static {
    let commit = AlertCommit {
        project,
        position: None,
        updates: vec![update],
    };
    move |node| node.commit_alerts(commit, LIMITS)
}

/// The first notification of the only channel.
async fn first(node: &Postgres) -> Option<OutboxEntry> {
    node.outbox().await.unwrap().into_iter().next()
}

#[tokio::test]
async fn a_notification_that_two_nodes_commit_waits_once() {
    let world = World::new().await;
    world.keep("LOCK TABLE alert_outbox IN SHARE MODE").await;
    let calls = [1, 2].map(|node| world.start(node, commit(world.project, update(1, &["n"]))));
    world.waiting(2).await;
    world.release().await;
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(0));
    }
    let size = world.nodes[0].outbox_size().await.unwrap();
    assert_eq!(size.waiting, 1);
    assert_eq!(first(&world.nodes[0]).await.unwrap().notification.id, "n");
}

#[tokio::test]
async fn the_outbox_holds_no_more_than_its_limit_when_two_nodes_fill_it() {
    let world = World::new().await;
    world.keep("LOCK TABLE alert_outbox IN SHARE MODE").await;
    let calls = [
        world.start(1, commit(world.project, update(1, &["n1", "n2"]))),
        world.start(2, commit(world.project, update(2, &["m1", "m2"]))),
    ];
    world.waiting(2).await;
    world.release().await;
    let mut left_out = 0;
    for call in calls {
        left_out += call.await.unwrap().unwrap();
    }
    assert_eq!(left_out, 1);
    let size = world.nodes[0].outbox_size().await.unwrap();
    assert_eq!(size.waiting, 3);
}

#[tokio::test]
async fn a_notification_that_two_nodes_settle_is_settled_once() {
    let world = World::new().await;
    commit(world.project, update(1, &["n1", "n2"]))(&world.nodes[0])
        .await
        .unwrap();
    let entry = first(&world.nodes[0]).await.unwrap();
    assert_eq!(first(&world.nodes[1]).await.as_ref(), Some(&entry));
    world.keep("SELECT FROM alert_outbox FOR UPDATE").await;
    let calls = [1, 2].map(|node| {
        let entry = entry.clone();
        world.start(node, move |node| node.settle(entry, history(2), LIMITS))
    });
    world.waiting(2).await;
    world.release().await;
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    let mut reader = Reader::default();
    reader.follow(&world, 0).await;
    assert_eq!(reader.known, [1, 2]);
    assert_eq!(first(&world.nodes[0]).await.unwrap().notification.id, "n2");
}

#[tokio::test]
async fn a_channel_gets_notifications_of_two_nodes_in_the_order_in_which_they_got_their_place() {
    let world = World::new().await;
    // The first commit waits for another one with its second notification, after the first has its
    // place.
    world
        .keep(
            "INSERT INTO alert_outbox (seq, id, project, alert, channel, created_at, due_at, attempts,
                 content) VALUES (1000, 'held', 1, '-', '-', 0, 0, 0, '')",
        )
        .await;
    let slow = world.start(1, commit(world.project, update(1, &["n1", "held"])));
    world.waiting(1).await;
    let later = world.start(2, commit(world.project, update(2, &["n2"])));
    world.waiting(2).await;
    assert_eq!(first(&world.nodes[0]).await, None);
    world.release().await;
    for call in [slow, later] {
        assert_eq!(call.await.unwrap(), Ok(0));
    }
    let mut delivered = Vec::new();
    while let Some(entry) = first(&world.nodes[0]).await {
        delivered.push(entry.notification.id.clone());
        world.nodes[0]
            .settle(entry, history(9), LIMITS)
            .await
            .unwrap();
    }
    assert_eq!(delivered, ["n1", "held", "n2"]);
}

/// Follows the history of the alert: reads it page by page, newest first, until it comes to what it
/// knows.
#[derive(Default)]
struct Reader {
    /// The seconds of the entries, the oldest first.
    known: Vec<i64>,
}

impl Reader {
    async fn follow(&mut self, world: &World, node: usize) {
        let (mut new, mut cursor) = (Vec::new(), None);
        loop {
            let page = world.nodes[node].alert_history(world.project, ALERT, cursor, 1);
            let page = page.await.unwrap();
            let seconds = page.items.iter().map(|entry| entry.at.as_second());
            let unknown: Vec<_> = seconds
                .take_while(|second| self.known.last() != Some(second))
                .collect();
            let is_end = unknown.len() < page.items.len();
            new.extend(unknown);
            cursor = page.next;
            if is_end || cursor.is_none() {
                break;
            }
        }
        self.known.extend(new.into_iter().rev());
    }
}

#[tokio::test]
async fn a_reader_by_page_misses_nothing_of_three_writers_when_one_commit_is_delayed() {
    let world = World::new().await;
    let mut reader = Reader::default();
    commit(world.project, update(1, &[]))(&world.nodes[0])
        .await
        .unwrap();
    reader.follow(&world, 0).await;
    // The first writer waits for the slow transaction after its entry has a number.
    world
        .keep(
            "INSERT INTO alert_outbox (id, project, alert, channel, created_at, due_at, attempts,
                 content) VALUES ('n', 1, '-', '-', 0, 0, 0, '')",
        )
        .await;
    let delayed = world.start(0, commit(world.project, update(2, &["n"])));
    world.waiting(1).await;
    let others = [
        world.start(1, commit(world.project, update(3, &[]))),
        world.start(2, commit(world.project, update(4, &[]))),
    ];
    world.waiting(3).await;
    reader.follow(&world, 1).await;
    world.release().await;
    for call in others.into_iter().chain([delayed]) {
        assert_eq!(call.await.unwrap(), Ok(0));
    }
    reader.follow(&world, 2).await;
    assert_eq!(reader.known[..2], [1, 2]);
    reader.known.sort_unstable();
    assert_eq!(reader.known, [1, 2, 3, 4]);
}
