//! Where the settings of the real binary come from.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::process::{Process, command};

/// Runs `check-config` with a configuration file, one variable and more flags.
fn check_config(file: &str, variable: (&str, &str), flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard-server.toml");
    std::fs::write(&path, file).unwrap();
    let config = ["--config", path.to_str().unwrap()];
    let mut command = command(Path::new("/nonexistent"), &config);
    let command = command.args(flags).env(variable.0, variable.1);
    command.arg("check-config").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The value and the kind of source of a setting.
fn in_force(output: &Output, setting: &str) -> (String, String) {
    let shown = text(&output.stdout);
    let mut words = shown
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(setting)).then_some(words))
        .unwrap();
    let mut word = || words.next().unwrap().to_owned();
    (word(), word())
}

#[test]
fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
    let variable = ("GUARD_SERVER_MAX_INSTALLS", "2");
    for (file, flags, expected) in [
        ("", &[][..], ("2", "environment")),
        ("max-installs = 1", &[], ("2", "environment")),
        ("max-installs = 1", &["--max-installs", "3"], ("3", "flag")),
    ] {
        let output = check_config(file, variable, flags);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let (value, source) = in_force(&output, "max-installs");
        assert_eq!((&*value, &*source), expected);
    }
    let output = check_config("max-installs = 1", ("UNUSED", ""), &[]);
    assert_eq!(
        in_force(&output, "max-installs"),
        ("1".into(), "file".into())
    );
}

#[test]
fn check_config_masks_secrets_wherever_they_come_from() {
    let file = "signing-secret = \"hush-hush\"";
    let output = check_config(file, ("GUARD_SERVER_API_KEY", "hush-hush-hush"), &[]);
    assert!(output.status.success());
    assert_eq!(
        in_force(&output, "api-key"),
        ("[secret]".into(), "environment".into())
    );
    assert_eq!(
        in_force(&output, "signing-secret"),
        ("[secret]".into(), "file".into())
    );
    assert!(!text(&output.stdout).contains("hush"));
}

#[test]
fn a_wrong_setting_stops_the_start_with_one_line_that_names_it() {
    for (file, variable, flags, named) in [
        (
            "",
            ("GUARD_SERVER_MAX_INSTALLS", "x"),
            &[][..],
            "GUARD_SERVER_MAX_INSTALLS",
        ),
        ("max-instals = 1", ("UNUSED", ""), &[], "\"max-installs\""),
        (
            "max-body-memory = 1",
            ("UNUSED", ""),
            &[],
            "--max-body-memory",
        ),
        (
            "",
            ("UNUSED", ""),
            &["--max-instals", "1"],
            "'--max-installs'",
        ),
        ("", ("GUARD_SERVER_API_KEY", "short"), &[], "--api-key"),
    ] {
        let output = check_config(file, variable, flags);
        assert_eq!(output.status.code(), Some(2), "{file} {flags:?}");
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(
            error.starts_with("guard-server: ") && error.contains(named),
            "{error}"
        );
    }
}

#[test]
fn the_log_can_be_one_json_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = command(folder.path(), &["--log-format", "json"]);
    command.stderr(std::fs::File::create(&log).unwrap());
    let mut server = Process::run(command, 3);
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    let lines = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stopping = lines.iter().find(|line| line["message"] == "stopping");
    assert_eq!(stopping.unwrap()["level"], "INFO", "{lines:?}");
}
