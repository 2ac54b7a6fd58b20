//! The agents of a project, and what they lost.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{AT, World};
use crate::fleet::subscribers::{policy, room_for};
use crate::query::TimeRange;
use crate::store::postgres::Postgres;
use crate::store::{
    AgentId, AgentSignal, BoxFuture, CheckIn, Fleet as _, LossReport, Losses as _, ProjectId,
    StatusReport,
};

pub(super) fn check_in(
    project: ProjectId,
    install: &str,
    second: i64,
    signal: AgentSignal,
) -> CheckIn {
    CheckIn {
        project,
        agent: AgentId {
            install_id: install.to_owned(),
            ..AgentId::default()
        },
        at: Timestamp::from_second(second).unwrap(),
        signal,
    }
}

/// Saves check-ins with room for this many agents.
pub(super) fn save(
    check_ins: Vec<CheckIn>,
    installs: u32,
) -> impl FnOnce(&Postgres) -> BoxFuture<'_, u64> + Send + 'static {
    move |node| node.save_check_ins(check_ins.into(), policy(installs))
}

pub(super) const ASKED: AgentSignal = AgentSignal::Asked { holds: true };

#[tokio::test]
async fn check_ins_of_an_agent_on_two_nodes_are_all_kept() {
    let world = World::new().await;
    let check_in = |second, signal| check_in(world.project, "web", second, signal);
    let asked = save(vec![check_in(0, ASKED)], 9);
    asked(&world.nodes[0]).await.unwrap();
    world.keep("SELECT FROM rule_followers FOR UPDATE").await;
    let reported = AgentSignal::Reported {
        in_force: Some(2),
        refused: Some("no".to_owned()),
    };
    let calls = [
        world.start(1, save(vec![check_in(1, AgentSignal::Fetched(3))], 9)),
        world.start(2, save(vec![check_in(2, reported)], 9)),
    ];
    world.waiting(2).await;
    world.release().await;
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(0));
    }
    let agents = world.nodes[0].subscribers(world.project).await.unwrap();
    let [agent] = &agents[..] else {
        panic!("{agents:?}")
    };
    assert_eq!(agent.fetched.map(|it| it.version), Some(3));
    assert_eq!(
        (agent.in_force, agent.refused.as_deref()),
        (Some(2), Some("no"))
    );
    assert_eq!(agent.seen_at.as_second(), 2);
}

#[tokio::test]
async fn two_nodes_remember_no_more_agents_than_there_is_room_for() {
    let world = World::new().await;
    let project = world.project;
    world
        .keep("LOCK TABLE rule_followers, agent_status IN SHARE MODE")
        .await;
    let asked = |install| vec![check_in(project, install, 0, ASKED)];
    let calls = [
        world.start(1, save(asked("one"), 1)),
        world.start(2, save(asked("other"), 1)),
    ];
    let report = |node, install: &str| {
        let report = StatusReport {
            project,
            install_id: install.to_owned(),
            received_at: AT,
            body: "{}".to_owned(),
        };
        world.start(node, move |node| node.save_report(report, room_for(1)))
    };
    let reports = [report(1, "one"), report(2, "other")];
    world.waiting(4).await;
    world.release().await;
    let mut left_out = 0;
    for call in calls {
        left_out += call.await.unwrap().unwrap();
    }
    assert_eq!(left_out, 1);
    assert_eq!(world.number("SELECT count(*) FROM rule_followers").await, 1);
    let mut saved = 0;
    for report in reports {
        saved += u64::from(report.await.unwrap().unwrap());
    }
    assert_eq!(saved, 1);
    assert_eq!(world.number("SELECT count(*) FROM agent_status").await, 1);
}

#[tokio::test]
async fn losses_that_are_reported_to_two_nodes_at_once_count_once() {
    let world = World::new().await;
    world.keep("LOCK TABLE loss_totals IN SHARE MODE").await;
    let report = LossReport {
        project: world.project,
        install_id: "web".to_owned(),
        process: "1".to_owned(),
        at: AT,
        totals: BTreeMap::from([("expired".to_owned(), 5), ("queue_full".to_owned(), 3)]),
    };
    let calls = [1, 2].map(|node| {
        let report = report.clone();
        world.start(node, move |node| node.report_losses(report))
    });
    world.waiting(2).await;
    world.release().await;
    let mut new = BTreeMap::new();
    for call in calls {
        for (reason, n) in call.await.unwrap().unwrap() {
            *new.entry(reason).or_insert(0) += n;
        }
    }
    assert_eq!(new, report.totals);
    let range = TimeRange {
        from: AT,
        to: Timestamp::from_second(60).unwrap(),
    };
    let losses = world.nodes[0].losses(world.project, range).await.unwrap();
    let losses: BTreeMap<_, _> = losses.into_iter().map(|it| (it.reason, it.n)).collect();
    assert_eq!(losses, report.totals);
}
