//! The rules of a project.

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{AT, World};
use crate::people::{Actor, AuditEntry};
use crate::store::postgres::rules::RULES_CHANGED;
use crate::store::{
    Change, KeepVersions, ProjectId, Projects as _, RulesOutcome, RulesStore as _, StoredRules,
};

pub(super) fn rules(version: i64) -> StoredRules {
    StoredRules {
        version,
        document: format!("{{\"version\":{version}}}"),
        policy: "{}".to_owned(),
        lease_ends: None,
        due: None,
        change: Change {
            created_at: AT,
            action: "set".to_owned(),
            author: None,
            reason: None,
        },
        automatic: false,
    }
}

#[tokio::test]
async fn of_two_nodes_that_set_rules_from_the_same_version_one_wins() {
    let world = World::new().await;
    let project = world.project;
    let set = |node, from: Option<i64>, version: i64| {
        world.start(node, move |node| {
            let change = crate::people::Change::default();
            let entry = Some(AuditEntry::new(&Actor::CLI, change, AT));
            node.set_rules(
                project,
                from,
                rules(version),
                KeepVersions::ALL,
                None,
                entry,
            )
        })
    };
    set(0, None, 1).await.unwrap().unwrap();
    world.keep("SELECT FROM projects FOR UPDATE").await;
    let [one, other] = [set(1, Some(1), 2), set(2, Some(1), 3)];
    world.waiting(2).await;
    world.release().await;
    let outcomes = [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()];
    let winner = match outcomes {
        [RulesOutcome::Set, RulesOutcome::Outdated] => 2,
        [RulesOutcome::Outdated, RulesOutcome::Set] => 3,
        neither => panic!("{neither:?}"),
    };
    let stored = world.nodes[0].rules(project).await.unwrap();
    assert_eq!(stored, Some(rules(winner)));
    assert_eq!(world.number("SELECT count(*) FROM rule_versions").await, 2);
    assert_eq!(world.number("SELECT count(*) FROM audit").await, 2);
}

/// What another node hears of rules, as long as the client lives.
async fn listen(world: &World) -> (Client, mpsc::UnboundedReceiver<String>) {
    let url = world.database.url();
    let (client, mut connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    let (sender, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(|context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(told) = message {
                sender.send(told.payload().to_owned()).unwrap();
            }
        }
    });
    let listen = format!("LISTEN {RULES_CHANGED}");
    client.batch_execute(&listen).await.unwrap();
    (client, heard)
}

#[tokio::test]
async fn other_nodes_hear_of_rules_that_are_set_and_of_no_others() {
    let world = World::new().await;
    let [node, other, _] = &world.nodes;
    other.create_project("blog", AT, 9, None).await.unwrap();
    let blog = other.project_named("blog").await.unwrap().unwrap().id;
    let (_client, mut heard) = listen(&world).await;
    let set = |project| node.set_rules(project, None, rules(1), KeepVersions::ALL, None, None);
    assert_eq!(set(world.project).await, Ok(RulesOutcome::Set));
    assert_eq!(set(world.project).await, Ok(RulesOutcome::Outdated));
    assert_eq!(set(blog).await, Ok(RulesOutcome::Set));
    for project in [world.project, blog] {
        assert_eq!(heard.recv().await, Some(project.0.to_string()));
    }
    let versions = other.rules_versions(vec![blog, ProjectId(99), world.project]);
    let expected = vec![(blog, 1), (world.project, 1)];
    assert_eq!(versions.await, Ok(expected));
}
