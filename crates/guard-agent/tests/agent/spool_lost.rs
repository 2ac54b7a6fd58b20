//! The agent with a spool that other programs remove, move, cover or share while it runs.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guard_agent::stats::DurabilityStats;
use guard_agent::store::SpoolFsync;
use guard_agent::{Agent, AgentBuilder};
use guard_spool::sim::{Faults, SimFs};
use guard_spool::{Disk, FileSystem, inspect};

use crate::spool::{NOWHERE, ROOT, after_a_kill, saved, simulated};
use crate::support::clock::ManualClock;
use crate::support::{Outcome, builder, eventually, ledger, send};

const SECOND: Duration = Duration::from_secs(1);

type Heard = Arc<Mutex<Vec<String>>>;

/// Collects the agent's reports about its spool.
fn listening(builder: AgentBuilder) -> (AgentBuilder, Heard) {
    let heard = Heard::default();
    let sink = Arc::clone(&heard);
    let builder = builder.on_report(move |report| {
        if report.stage == "spool" {
            sink.lock().expect("whole").push(report.message.clone());
        }
    });
    (builder, heard)
}

fn durability(agent: &Agent) -> DurabilityStats {
    agent.stats().durability.expect("a store")
}

/// The keys of the records that can be read below a root.
fn on_disk(root: &Path) -> Vec<String> {
    let mut keys = Vec::new();
    let read = inspect::records(&Disk, root, None, |_, bytes| {
        let event: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        keys.push(event["idempotency_key"].as_str().expect("a key").to_owned());
        ControlFlow::Continue(())
    });
    // Records written meanwhile are checked again.
    read.map_or(Vec::new(), |()| keys)
}

/// An agent without a backend that has saved 500 events in its spool. Some of them wait and
/// some are in flight.
fn with_500(root: &Path, clock: &ManualClock) -> (Agent, Heard) {
    let (builder, heard) = listening(builder(NOWHERE).clock(clock.clone()).spool_dir(root));
    let agent = builder.build().expect("valid");
    agent.start();
    send(&agent, 0, 400);
    eventually("saved", || saved(&agent) == 400);
    agent.flush(Duration::ZERO);
    eventually("on their way", || {
        agent.stats().requests.requests_failed > 0
    });
    send(&agent, 400, 100);
    eventually("saved", || saved(&agent) == 500);
    assert_eq!(on_disk(root).len(), 500);
    (agent, heard)
}

/// The only process directory below a root.
fn own(root: &Path) -> PathBuf {
    let entries = fs::read_dir(root).expect("read");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("read").path()).collect();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// A change to the spool at a root, with a path to move things to.
type Act = fn(&Path, &Path);

const ACTS: [(&str, Act); 7] = [
    ("the spool removed", |root, _| {
        fs::remove_dir_all(root).expect("removed")
    }),
    ("the directory of the process removed", |root, _| {
        fs::remove_dir_all(own(root)).expect("removed");
    }),
    ("the spool moved", |root, aside| {
        fs::rename(root, aside).expect("moved")
    }),
    ("the directory of the process moved", |root, aside| {
        fs::rename(own(root), aside).expect("moved");
    }),
    ("another file system over the spool", |root, aside| {
        // Mounting requires root. Programs see the same result.
        if !mount("mount", &["-t", "tmpfs", "tmpfs"], root) {
            fs::rename(root, aside).expect("moved");
            fs::create_dir(root).expect("made");
        }
    }),
    ("a segment removed", |root, _| {
        for entry in fs::read_dir(own(root)).expect("read") {
            let path = entry.expect("read").path();
            if path.extension().is_some_and(|extension| extension == "log") {
                fs::remove_file(path).expect("removed");
            }
        }
    }),
    ("the lock removed", |root, _| {
        fs::remove_file(own(root).join("lock")).expect("removed");
    }),
];

/// Returns true if a mount command succeeded.
fn mount(command: &str, options: &[&str], place: &Path) -> bool {
    let mut command = Command::new(command);
    command.args(options).arg(place).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A path over which a file system may be mounted. It is unmounted on drop.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        mount("umount", &["--lazy"], &self.0);
    }
}

#[test]
fn changes_to_the_spool_by_others_are_detected_within_a_second_and_repaired() {
    for (what, act) in ACTS {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, aside) = (folder.path().join("spool"), folder.path().join("aside"));
        let (place, clock) = (Place(root.clone()), ManualClock::new());
        let (agent, heard) = with_500(&root, &clock);
        act(&root, &aside);
        clock.advance(SECOND);
        eventually(what, || durability(&agent).failures == 1);
        // Check this before the store works again.
        assert!(durability(&agent).degraded, "{what}");
        Outcome::compare(0..500, 0..500, &on_disk(&root))
            .tell(&format!("{what}, a kill 1 s later"), "none");
        // The failure is counted before it is reported.
        eventually("told", || !heard.lock().expect("whole").is_empty());
        let told = heard.lock().expect("whole").remove(0);
        assert!(
            told.contains("it was removed or replaced while in use"),
            "{told}"
        );
        assert!(told.contains(&root.display().to_string()), "{told}");
        clock.advance(SECOND);
        eventually("it works again", || !durability(&agent).degraded);
        send(&agent, 500, 10);
        eventually("saved", || {
            on_disk(&root).len() == 510 && saved(&agent) == 510
        });
        assert_eq!(ledger(&agent).queued, 510, "{what}");
        agent.close();
        drop(place);
    }
}

#[test]
fn records_saved_again_after_a_removal_survive_a_power_cut() {
    let (fs, clock) = (SimFs::new(1), ManualClock::new());
    let agent = simulated(&fs, &clock, SpoolFsync::Interval)
        .build()
        .expect("valid");
    send(&agent, 0, 50);
    eventually("saved", || saved(&agent) == 50);
    fs.remove_all(Path::new(ROOT)).expect("removed");
    clock.advance(SECOND);
    eventually("noticed", || durability(&agent).degraded);
    let after = fs.fork();
    after.crash_losing_all();
    assert_eq!(after_a_kill(&after, &clock).len(), 50);
}

#[test]
fn a_removal_just_before_the_stop_is_repaired_by_the_stop() {
    let (fs, clock) = (SimFs::new(2), ManualClock::new());
    let agent = simulated(&fs, &clock, SpoolFsync::Interval)
        .build()
        .expect("valid");
    send(&agent, 0, 50);
    eventually("saved", || saved(&agent) == 50);
    fs.remove_all(Path::new(ROOT)).expect("removed");
    agent.close();
    assert_eq!(ledger(&agent).spooled, 50);
    assert_eq!(after_a_kill(&fs, &clock).len(), 50);
}

#[test]
fn records_only_in_a_removed_spool_are_counted_as_lost() {
    let (fs, clock) = (SimFs::new(3), ManualClock::new());
    let agent = simulated(&fs, &clock, SpoolFsync::Interval)
        .max_buffered(20_usize)
        .build()
        .expect("valid");
    for already in [0, 10, 20, 30, 40] {
        send(&agent, already, 10);
        eventually("saved", || saved(&agent) == already as u64 + 10);
    }
    assert_eq!(ledger(&agent).spooled, 30);
    fs.remove_all(Path::new(ROOT)).expect("removed");
    clock.advance(SECOND);
    eventually("counted", || {
        ledger(&agent).dropped.get("spool_damaged") == Some(&30)
    });
    assert_eq!(after_a_kill(&fs, &clock).len(), 20);
}

#[test]
fn a_file_system_without_locks_is_reported_once_and_not_filled_with_directories() {
    let (fs, clock) = (SimFs::new(4), ManualClock::new());
    fs.create_dir_all(Path::new(ROOT)).expect("made");
    fs.set_faults(Faults {
        locks: true,
        ..Faults::default()
    });
    let (builder, heard) = listening(simulated(&fs, &clock, SpoolFsync::Interval));
    let agent = builder.build().expect("valid");
    for attempts in 1..20 {
        // Makes the journal check the clock.
        send(&agent, attempts, 1);
        eventually("tried", || durability(&agent).failures >= attempts as u64);
        clock.advance(60 * SECOND);
    }
    assert!(durability(&agent).degraded);
    assert_eq!(fs.list(Path::new(ROOT)).expect("read"), []);
    let heard = heard.lock().expect("whole");
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(
        heard[0].contains("a file system that has locks (flock)"),
        "{heard:?}"
    );
}

#[test]
fn the_directory_of_another_user_is_not_a_failure() {
    let (fs, clock) = (SimFs::new(5), ManualClock::new());
    for name in ["1700000000000-1-00000000", "quarantine"] {
        let path = Path::new(ROOT).join(name);
        fs.create_dir_all(&path).expect("made");
        fs.give_away(&path).expect("there");
    }
    let agent = simulated(&fs, &clock, SpoolFsync::Interval)
        .build()
        .expect("valid");
    send(&agent, 0, 10);
    eventually("saved", || saved(&agent) == 10);
    for _ in 0..3 {
        let operations = fs.operations();
        clock.advance(10 * SECOND);
        eventually("it looked for dead processes", || {
            fs.operations() > operations
        });
    }
    assert_eq!(durability(&agent).failures, 0);
}
