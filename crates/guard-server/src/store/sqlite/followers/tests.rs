//! What is remembered of agents, and what is forgotten.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::store::sqlite::Sqlite;
use crate::store::{Control as _, StatusReport, Telemetry as _};

const PROJECT: ProjectId = ProjectId(1);

fn store() -> (TempDir, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("guard.db")).unwrap();
    (directory, store)
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
async fn more_agents_than_the_limit_displace_the_longest_unseen() {
    let (_directory, store) = store();
    let count = i64::from(MAX_AGENTS) + 2;
    let all: Arc<[_]> = (0..count)
        .map(|n| sighting(&n.to_string(), n, ASKED))
        .collect();
    store.save_sightings(all).await.unwrap();
    let kept = store.followers(PROJECT).await.unwrap();
    assert_eq!(kept.len(), usize::from(MAX_AGENTS));
    assert_eq!(kept.iter().map(|it| it.seen_at).min(), Some(at(2)));
}

#[tokio::test]
async fn an_agent_that_is_unseen_for_a_day_is_forgotten() {
    let (_directory, store) = store();
    let day = FORGET_AFTER.as_secs();
    let seen = [("gone", 0), ("here", 1), ("new", day + 1)];
    let seen = seen.map(|(install, second)| sighting(install, second, ASKED));
    store.save_sightings(seen.into()).await.unwrap();
    let kept = store.followers(PROJECT).await.unwrap();
    let names: Vec<_> = kept.iter().map(|it| it.id.install_id.as_str()).collect();
    assert_eq!(names, ["here", "new"]);
}

#[tokio::test]
async fn status_reports_of_more_installs_than_the_limit_displace_the_oldest() {
    let (_directory, store) = store();
    let report = |n: i64| StatusReport {
        project: PROJECT,
        install_id: n.to_string(),
        received_at: at(n),
        body: "{}".to_owned(),
    };
    let full = store.writer.write(0, |connection| {
        let many =
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
            INSERT INTO agent_status SELECT 1, i, i * 1000000, '{}' FROM n";
        connection.execute(many, [MAX_AGENTS])
    });
    assert_eq!(full.await, Ok(usize::from(MAX_AGENTS)));
    let next = i64::from(MAX_AGENTS);
    store.save_status(report(next)).await.unwrap();
    store.save_status(report(next)).await.unwrap();
    let oldest = store
        .read(|connection| {
            let sql = "SELECT count(*), min(received_at) FROM agent_status";
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await;
    assert_eq!(oldest, Ok((next, 1_000_000)));
}
