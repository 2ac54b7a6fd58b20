//! What is remembered of agents, and what is forgotten.

use tempfile::TempDir;

use super::*;
use crate::store::sqlite::Sqlite;
use crate::store::{Control as _, MAKES_WAY_AFTER, StatusReport, StoreLimits, Telemetry as _};

const PROJECT: ProjectId = ProjectId(1);

fn store() -> (TempDir, Sqlite) {
    store_for(StoreLimits::default().installs)
}

fn store_for(installs: u32) -> (TempDir, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let limits = StoreLimits {
        installs,
        ..StoreLimits::default()
    };
    let store = Sqlite::open_with(&directory.path().join("guard.db"), limits).unwrap();
    (directory, store)
}

async fn names(store: &Sqlite) -> Vec<String> {
    let kept = store.followers(PROJECT).await.unwrap();
    kept.into_iter().map(|it| it.id.install_id).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn sighting(install: &str, second: i64, what: Heard) -> Sighting {
    Sighting {
        project: PROJECT,
        agent: AgentId {
            install_id: install.to_owned(),
            process: "7".to_owned(),
            agent: "an-agent/1".to_owned(),
        },
        at: at(second),
        what,
    }
}

const ASKED: Heard = Heard::Asked { holds: false };

/// What is known of one agent after it was heard to say this, a second apart.
async fn known(heard: &[Heard]) -> Option<Follower> {
    let (_directory, store) = store();
    let sightings = (0..).zip(heard);
    let sightings = sightings.map(|(second, what)| sighting("a", second, what.clone()));
    store.save_sightings(sightings.collect()).await.unwrap();
    store.followers(PROJECT).await.unwrap().pop()
}

fn since(version: i64, second: i64) -> Option<Since> {
    let at = at(second);
    Some(Since { version, at })
}

#[tokio::test]
async fn all_that_an_agent_says_comes_together() {
    let refused = Some("no".to_owned());
    let reported = Heard::Reported {
        in_force: Some(3),
        refused: refused.clone(),
    };
    let heard = [ASKED, Heard::Fetched(3), Heard::Applied(3), reported];
    let expected = Follower {
        id: sighting("a", 0, ASKED).agent,
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
    assert_eq!(known(&heard).await, Some(expected));
}

#[tokio::test]
async fn the_interval_is_the_time_between_the_last_two_requests() {
    let fetched = Heard::Fetched(1);
    let known = known(&[ASKED, ASKED, fetched, ASKED]).await.unwrap();
    assert_eq!(known.interval, Some(SignedDuration::from_secs(2)));
    assert_eq!(known.asked_at, at(3));
}

#[tokio::test]
async fn a_version_that_is_fetched_again_keeps_its_first_time() {
    let heard = [1, 1, 2, 2].map(Heard::Fetched);
    let known = known(&[[ASKED].as_slice(), &heard].concat()).await.unwrap();
    assert_eq!(known.fetched, since(2, 3));
}

#[tokio::test]
async fn an_agent_applied_only_what_it_fetched_and_never_an_older_version_again() {
    let heard = [
        ASKED,
        Heard::Applied(1),
        Heard::Fetched(2),
        Heard::Applied(3),
        Heard::Applied(2),
        Heard::Applied(1),
    ];
    assert_eq!(known(&heard).await.unwrap().applied, since(2, 4));
}

#[tokio::test]
async fn who_never_asked_for_rules_is_not_remembered() {
    let reported = Heard::Reported {
        in_force: None,
        refused: None,
    };
    assert_eq!(known(&[reported, Heard::Applied(1)]).await, None);
}

#[tokio::test]
async fn agents_beyond_the_limit_displace_none_that_was_heard_of() {
    let (_directory, store) = store_for(2);
    let all = ["real", "invented-1", "invented-2", "invented-3"];
    let all = (0..).zip(all);
    let all = all.map(|(second, install)| sighting(install, second, ASKED));
    store.save_sightings(all.collect()).await.unwrap();
    assert_eq!(names(&store).await, ["invented-1", "real"]);
}

#[tokio::test]
async fn the_longest_unseen_makes_way_when_it_was_silent_for_long() {
    let (_directory, store) = store_for(2);
    let hour = MAKES_WAY_AFTER.as_secs();
    let seen = [
        ("silent", 0),
        ("here", 1),
        ("late", hour),
        ("new", hour + 1),
        ("more", hour + 1),
    ];
    let seen = seen.map(|(install, second)| sighting(install, second, ASKED));
    store.save_sightings(seen.into()).await.unwrap();
    assert_eq!(names(&store).await, ["here", "new"]);
}

#[tokio::test]
async fn an_agent_that_is_unseen_for_a_day_is_forgotten() {
    let (_directory, store) = store();
    let day = FORGET_AFTER.as_secs();
    let seen = [("gone", 0), ("here", 1), ("new", day + 1)];
    let seen = seen.map(|(install, second)| sighting(install, second, ASKED));
    store.save_sightings(seen.into()).await.unwrap();
    assert_eq!(names(&store).await, ["here", "new"]);
}

#[tokio::test]
async fn status_reports_of_installs_beyond_the_limit_displace_none_but_the_silent() {
    let (_directory, store) = store_for(2);
    let report = async |install: &str, second: i64| {
        let report = StatusReport {
            project: PROJECT,
            install_id: install.to_owned(),
            received_at: at(second),
            body: "{}".to_owned(),
        };
        store.save_status(report).await.unwrap();
        let agents = store.summary(PROJECT).await.unwrap().agents;
        agents
            .into_iter()
            .map(|it| it.install_id)
            .collect::<Vec<_>>()
    };
    report("real", 0).await;
    assert_eq!(report("other", 1).await, ["other", "real"]);
    assert_eq!(report("invented", 2).await, ["other", "real"]);
    assert_eq!(report("real", 3).await, ["real", "other"]);
    let hour = MAKES_WAY_AFTER.as_secs();
    assert_eq!(report("new", hour + 2).await, ["new", "real"]);
}
