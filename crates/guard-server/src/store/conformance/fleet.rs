//! What the store knows of agents, and which agents it forgets.

use jiff::SignedDuration;

use super::{at, project};
use crate::fleet::subscribers::{FORGET_AFTER, GIVES_WAY_AFTER, policy, room_for};
use crate::store::{
    AgentId, AgentSignal, CheckIn, ProjectId, RuleSubscriber, Since, StatusReport, Stores,
};

/// More room than these agents need.
const MANY: u32 = 100;

async fn names(stores: &Stores, project: ProjectId) -> Vec<String> {
    let kept = stores.fleet.subscribers(project).await.unwrap();
    kept.into_iter().map(|it| it.id.install_id).collect()
}

fn check_in(project: ProjectId, install: &str, second: i64, signal: AgentSignal) -> CheckIn {
    CheckIn {
        project,
        agent: AgentId {
            install_id: install.to_owned(),
            process: "7".to_owned(),
            agent: "an-agent/1".to_owned(),
        },
        at: at(second),
        signal,
    }
}

const ASKED: AgentSignal = AgentSignal::Asked { holds: false };

/// The stored subscriber after one agent sent these signals, a second apart.
async fn known(stores: &Stores, signals: &[AgentSignal]) -> Option<RuleSubscriber> {
    let project = project(stores, "default").await;
    let check_ins = (0..).zip(signals);
    let check_ins =
        check_ins.map(|(second, signal)| check_in(project, "a", second, signal.clone()));
    save(stores, check_ins.collect(), MANY).await;
    stores.fleet.subscribers(project).await.unwrap().pop()
}

/// Saves check-ins with room for `installs` installs. Returns how many agents were left out.
async fn save(stores: &Stores, check_ins: Vec<CheckIn>, installs: u32) -> u64 {
    let saving = stores
        .fleet
        .save_check_ins(check_ins.into(), policy(installs));
    saving.await.unwrap()
}

fn since(version: i64, second: i64) -> Option<Since> {
    let at = at(second);
    Some(Since { version, at })
}

pub(in crate::store) async fn signals_of_an_agent_are_combined(stores: &Stores) {
    let refused = Some("no".to_owned());
    let reported = AgentSignal::Reported {
        in_force: Some(3),
        refused: refused.clone(),
    };
    let heard = [
        ASKED,
        AgentSignal::Fetched(3),
        AgentSignal::Applied(3),
        reported,
    ];
    let expected = RuleSubscriber {
        id: check_in(ProjectId(1), "a", 0, ASKED).agent,
        seen_at: at(3),
        asked_at: at(0),
        holds: false,
        interval: None,
        fetched: since(3, 1),
        applied: since(3, 2),
        in_force: Some(3),
        refused,
        reported_at: Some(at(3)),
    };
    assert_eq!(known(stores, &heard).await, Some(expected));
}

pub(in crate::store) async fn the_interval_is_the_time_between_the_last_two_requests(
    stores: &Stores,
) {
    let fetched = AgentSignal::Fetched(1);
    let known = known(stores, &[ASKED, ASKED, fetched, ASKED])
        .await
        .unwrap();
    assert_eq!(known.interval, Some(SignedDuration::from_secs(2)));
    assert_eq!(known.asked_at, at(3));
}

pub(in crate::store) async fn a_version_that_is_fetched_again_keeps_its_first_time(
    stores: &Stores,
) {
    let heard = [1, 1, 2, 2].map(AgentSignal::Fetched);
    let known = known(stores, &[[ASKED].as_slice(), &heard].concat())
        .await
        .unwrap();
    assert_eq!(known.fetched, since(2, 3));
}

pub(in crate::store) async fn an_agent_applies_only_fetched_versions_and_never_goes_back(
    stores: &Stores,
) {
    let heard = [
        ASKED,
        AgentSignal::Applied(1),
        AgentSignal::Fetched(2),
        AgentSignal::Applied(3),
        AgentSignal::Applied(2),
        AgentSignal::Applied(1),
    ];
    assert_eq!(known(stores, &heard).await.unwrap().applied, since(2, 4));
}

pub(in crate::store) async fn agents_that_never_asked_for_rules_are_not_remembered(
    stores: &Stores,
) {
    let reported = AgentSignal::Reported {
        in_force: None,
        refused: None,
    };
    assert_eq!(
        known(stores, &[reported, AgentSignal::Applied(1)]).await,
        None
    );
}

pub(in crate::store) async fn agents_beyond_the_limit_displace_no_active_agent(stores: &Stores) {
    let project = project(stores, "default").await;
    let all = ["real", "invented-1", "invented-2", "invented-3"];
    let all = (0..).zip(all);
    let all = all.map(|(second, install)| check_in(project, install, second, ASKED));
    assert_eq!(save(stores, all.collect(), 2).await, 2);
    assert_eq!(names(stores, project).await, ["invented-1", "real"]);
}

pub(in crate::store) async fn a_new_agent_replaces_the_one_silent_for_longest(stores: &Stores) {
    let project = project(stores, "default").await;
    let hour = GIVES_WAY_AFTER.as_secs();
    let seen = [
        ("silent", 0),
        ("here", 1),
        ("late", hour),
        ("new", hour + 1),
        ("more", hour + 1),
    ];
    let seen = seen.map(|(install, second)| check_in(project, install, second, ASKED));
    save(stores, seen.into(), 2).await;
    assert_eq!(names(stores, project).await, ["here", "new"]);
}

pub(in crate::store) async fn an_agent_silent_for_a_day_is_forgotten(stores: &Stores) {
    let project = project(stores, "default").await;
    let day = FORGET_AFTER.as_secs();
    let seen = [("gone", 0), ("here", 1), ("new", day + 1)];
    let seen = seen.map(|(install, second)| check_in(project, install, second, ASKED));
    save(stores, seen.into(), MANY).await;
    assert_eq!(names(stores, project).await, ["here", "new"]);
}

pub(in crate::store) async fn status_reports_beyond_the_limit_displace_only_silent_installs(
    stores: &Stores,
) {
    let project = project(stores, "default").await;
    let report = async |install: &str, second: i64| {
        let report = StatusReport {
            project,
            install_id: install.to_owned(),
            received_at: at(second),
            body: "{}".to_owned(),
        };
        stores.fleet.save_report(report, room_for(2)).await.unwrap();
        let agents = stores.fleet.reports(project, 10, usize::MAX).await.unwrap();
        agents
            .into_iter()
            .map(|it| it.install_id)
            .collect::<Vec<_>>()
    };
    report("real", 0).await;
    assert_eq!(report("other", 1).await, ["other", "real"]);
    assert_eq!(report("invented", 2).await, ["other", "real"]);
    assert_eq!(report("real", 3).await, ["real", "other"]);
    let hour = GIVES_WAY_AFTER.as_secs();
    assert_eq!(report("new", hour + 2).await, ["new", "real"]);
}

pub(in crate::store) async fn a_list_of_reports_ends_with_the_one_that_fills_it(stores: &Stores) {
    let project = project(stores, "default").await;
    for (second, install_id) in (0..).zip(["a", "b", "c"]) {
        let report = StatusReport {
            project,
            install_id: install_id.to_owned(),
            received_at: at(second),
            body: r#"{"status":"healthy"}"#.to_owned(),
        };
        assert!(
            stores
                .fleet
                .save_report(report, room_for(MANY))
                .await
                .unwrap()
        );
    }
    let names = async |limit, bytes| {
        let reports = stores.fleet.reports(project, limit, bytes).await.unwrap();
        let names = reports.into_iter().map(|it| it.install_id);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(10, 1000).await, ["c", "b", "a"]);
    assert_eq!(names(2, 1000).await, ["c", "b"]);
    assert_eq!(names(10, 21).await, ["c", "b"]);
    let one = stores.fleet.report(project, "b").await.unwrap().unwrap();
    assert_eq!((&*one.install_id, one.received_at), ("b", at(1)));
    let none = stores.fleet.report(project, "d").await.unwrap();
    assert!(none.is_none());
}

pub(in crate::store) async fn all_times_move_with_the_clock(stores: &Stores) {
    let before = known(stores, &[ASKED, AgentSignal::Fetched(1)]).await;
    let hour = SignedDuration::from_hours(1);
    stores.fleet.shift_times(hour).await.unwrap();
    let project = project(stores, "default").await;
    let after = stores.fleet.subscribers(project).await.unwrap().pop();
    let (before, after) = (before.unwrap(), after.unwrap());
    assert_eq!(after.seen_at, before.seen_at + hour);
    assert_eq!(after.asked_at, before.asked_at + hour);
    assert_eq!(after.fetched, since(1, 1 + hour.as_secs()));
}

pub(in crate::store) async fn projects_do_not_see_the_agents_of_each_other(stores: &Stores) {
    let (one, other) = (project(stores, "one").await, project(stores, "other").await);
    save(stores, vec![check_in(one, "a", 0, ASKED)], MANY).await;
    assert_eq!(names(stores, one).await, ["a"]);
    assert_eq!(names(stores, other).await, [""; 0]);
}
