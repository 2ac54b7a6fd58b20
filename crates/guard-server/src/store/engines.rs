//! Real engines for tests. Each is started once in a test process, by the Python package
//! `tests/engines`, and ends with it: it runs until its standard input is closed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// An engine that runs as long as this process.
struct Engine {
    url: String,
    /// Holds the engine's standard input open.
    _process: Child,
}

/// The URL of the PostgreSQL of this process. Its user may do everything.
pub(super) fn postgres() -> &'static str {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    &ENGINE.get_or_init(|| start(&["engines.postgres"])).url
}

/// The URL of the ClickHouse of this process, without a database. It is in the zone of New York.
/// Its profile acknowledges inserts from memory and then loses them, and has other settings that
/// differ from the usual ones.
pub(super) fn clickhouse() -> &'static str {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let start = || {
        let zone = ["engines.clickhouse", "--timezone", "America/New_York"];
        let profile = [
            "async_insert=1",
            "wait_for_async_insert=0",
            "session_timezone=Asia/Tokyo",
            "max_insert_block_size=3",
            "limit=2",
            "join_use_nulls=1",
            "aggregate_functions_null_for_empty=1",
        ];
        let profile = profile.iter().flat_map(|setting| ["--profile", *setting]);
        start(&zone.into_iter().chain(profile).collect::<Vec<_>>())
    };
    &ENGINE.get_or_init(start).url
}

fn start(arguments: &[&str]) -> Engine {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".build/venv/bin/python");
    let mut process = Command::new(&python)
        .arg("-m")
        .args(arguments)
        .current_dir(root.join("tests"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; run make .build/tools", python.display());
        });
    let mut url = String::new();
    let output = process.stdout.take().expect("the output is a pipe");
    BufReader::new(output).read_line(&mut url).unwrap();
    let url = url.trim().to_owned();
    assert!(
        !url.is_empty(),
        "{arguments:?} printed no URL; run make test-tools"
    );
    Engine {
        url,
        _process: process,
    }
}
