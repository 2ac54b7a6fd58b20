use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::store::sqlite::schema;

fn migrated() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection, &crate::store::Progress::default()).unwrap();
    connection
}

#[test]
fn every_table_of_projects_is_swept_and_no_other() {
    let connection = migrated();
    let swept: Vec<_> = tables(&connection)
        .unwrap()
        .into_iter()
        .map(|it| it.name)
        .collect();
    for table in [
        "events",
        "metrics",
        "tallies",
        "rule_versions",
        "agent_status",
        "refusals",
    ] {
        assert!(
            swept.iter().any(|name| name == table),
            "{table} of {swept:?}"
        );
    }
    for table in ["projects", "probes", "sqlite_schema"] {
        assert!(!swept.iter().any(|name| name == table), "{table}");
    }
}

#[test]
fn a_large_project_is_swept_in_parts() {
    let connection = migrated();
    connection
        .execute_batch(
            "INSERT INTO projects (name, removed_at) VALUES ('#1', 1);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO tallies SELECT 1, 'event', 'stored', 'type ' || i, 1 FROM n;",
        )
        .unwrap();
    let count = || -> i64 {
        let query = "SELECT count(*) FROM tallies";
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    // Each look at the clock takes a second, so a step ends after its first part.
    let seconds = AtomicU64::new(0);
    let clock = move || Duration::from_secs(seconds.fetch_add(1, Ordering::Relaxed));
    let speed = Speed::new(Box::new(clock));
    let mut steps = 0;
    while sweep(&connection, &speed).unwrap() {
        steps += 1;
        let left = count();
        assert!(left >= 500 - 16 * steps, "{left} after {steps}");
    }
    assert_eq!(count(), 0);
    assert!(steps >= 30, "{steps}");
}
