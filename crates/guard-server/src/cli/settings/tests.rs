//! Precedence with the environment is tested with the real binary, in `tests/server/settings.rs`.

use std::path::Path;

use super::*;

const DOCUMENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/server-configuration.md"
);
const BEGIN: &str =
    "<!-- settings: written by GUARD_UPDATE_DOCS=1 cargo test -p guard-server --lib settings -->\n";
const END: &str = "<!-- end of settings -->";

fn load_line(line: &[&str]) -> Result<Loaded, LoadError> {
    load(["guard-server"].iter().chain(line).map(OsString::from))
}

fn load_with_file(text: &str, line: &[&str]) -> Result<Loaded, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard-server.toml");
    std::fs::write(&path, text).unwrap();
    let line: Vec<_> = ["--config", path.to_str().unwrap()]
        .iter()
        .chain(line)
        .copied()
        .collect();
    load_line(&line)
}

fn error(loaded: Result<Loaded, LoadError>) -> String {
    let text = loaded.unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_value_of_the_file_is_in_force_unless_a_flag_gives_another() {
    let text = "listen = \"127.0.0.1:1\"\nmax-event-types = 7\nlog-format = \"json\"\n";
    let loaded = load_with_file(text, &["--max-event-types", "8"]).unwrap();
    assert_eq!(loaded.args.listen, "127.0.0.1:1");
    assert_eq!(loaded.args.max_event_types, 8);
    let shown = show(&loaded);
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(line("listen")[1..3], ["127.0.0.1:1", "file"]);
    assert_eq!(
        line("max-event-types")[1..],
        ["8", "flag", "--max-event-types"]
    );
    assert_eq!(line("max-installs")[1..], ["10000", "default"]);
    assert_eq!(line("database-url")[1..], ["(not", "set)", "default"]);
}

#[test]
fn the_file_also_applies_to_commands() {
    let loaded = load_with_file("data-dir = \"/srv/guard\"\n", &["rules", "show"]).unwrap();
    assert_eq!(loaded.args.stores.data_dir, Path::new("/srv/guard"));
    let loaded = load_with_file(
        "data-dir = \"/srv/guard\"\n",
        &["rules", "show", "--data-dir", "/srv/other"],
    );
    assert_eq!(
        loaded.unwrap().args.stores.data_dir,
        Path::new("/srv/other")
    );
}

#[test]
fn secrets_are_masked() {
    let loaded = load_with_file("api-key = \"hush-hush-hush\"\n", &["check-config"]).unwrap();
    let shown = show(&loaded);
    assert!(
        shown.contains("[secret]") && !shown.contains("hush"),
        "{shown}"
    );
    assert!(!format!("{loaded:?}").contains("hush"));
    let urls = "control-url = \"postgres://guard:hush@db/guard\"\n\
        telemetry-url = \"http://guard:hush@ch:8123/guard\"\n";
    let loaded = load_with_file(urls, &["check-config"]).unwrap();
    let shown = show(&loaded);
    assert_eq!(shown.matches("[secret]").count(), 2, "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
    assert!(!format!("{loaded:?}").contains("hush"));
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_name() {
    let text = error(load_with_file("max_body_bytes = 1", &[]));
    assert!(
        text.contains("guard-server.toml: unknown setting \"max_body_bytes\""),
        "{text}"
    );
    assert!(text.ends_with("did you mean \"max-body-bytes\"?"), "{text}");
    for other in ["zzz = 1", "config = \"x\"", "[listen]"] {
        error(load_with_file(other, &[]));
    }
}

#[test]
fn a_wrong_value_is_refused_with_the_file_and_the_setting() {
    for (given, named) in [
        ("max-event-types = 0", "max-event-types: invalid value '0'"),
        (
            "max-event-types = \"many\"",
            "max-event-types: invalid value 'many'",
        ),
        ("max-event-types = [1]", "max-event-types: takes one value"),
        ("listen = 2026-01-01", "listen: a datetime"),
        ("log-format = \"xml\"", "[possible values: text, json]"),
        (
            "listen = 'a'\nlisten = 'b'",
            "guard-server.toml:2: duplicate key",
        ),
        ("listen = ", "guard-server.toml:1: "),
    ] {
        let text = error(load_with_file(given, &[]));
        assert!(text.contains(named), "{given}: {text}");
    }
    let text = error(load_line(&["--config", "/nonexistent/x.toml"]));
    assert!(
        text.starts_with("--config: cannot read /nonexistent/x.toml"),
        "{text}"
    );
}

#[test]
fn a_wrong_flag_is_one_line_that_names_it() {
    for (line, named) in [
        (["--max-event-types", "x"], "'--max-event-types <N>'"),
        (
            ["--max-event-type", "1"],
            "a similar argument exists: '--max-event-types'",
        ),
        (["rules", "another"], "unrecognized subcommand 'another'"),
    ] {
        let text = error(load_line(&line));
        assert!(text.contains(named), "{text}");
        assert!(!text.contains("Usage"), "{text}");
    }
    assert!(matches!(load_line(&["--help"]), Err(LoadError::Help(_))));
    assert!(matches!(load_line(&["--version"]), Err(LoadError::Help(_))));
}

/// The table of settings, from their definition.
fn table() -> String {
    let mut text = "| setting | environment | default | |\n|---|---|---|---|\n".to_owned();
    for setting in settings(&Args::command()) {
        let defaults = setting.get_default_values();
        let defaults: Vec<_> = defaults
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        let default = match defaults.join(",") {
            none if none.is_empty() => String::new(),
            value => format!("`{value}`"),
        };
        let help = setting.get_long_help().or(setting.get_help()).unwrap();
        text += &format!(
            "| `{}` | `{}` | {default} | {} |\n",
            name(setting),
            environment(setting),
            help.to_string().replace('\n', " ").replace('|', "\\|"),
        );
    }
    text
}

#[test]
fn the_documentation_lists_every_setting() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    if std::env::var_os("GUARD_UPDATE_DOCS").is_some() {
        let updated = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
        std::fs::write(DOCUMENT, updated).unwrap();
        return;
    }
    assert_eq!(
        listed.trim(),
        table().trim(),
        "run the tests once with GUARD_UPDATE_DOCS=1"
    );
}
