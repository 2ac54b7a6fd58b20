//! Text from others is shown so that it cannot imitate other content.

use std::process::Output;

use serde_json::json;

use crate::logged::Logged;
use crate::process::command;
use crate::support::{Server, TOKEN, client};

/// A right-to-left override, and the C1 form of the escape that clears a screen.
const UNRULY: &str = "/\u{202e}exe.\u{9b}2J";

#[tokio::test]
async fn the_command_line_shows_them_too_and_no_field_imitates_another() {
    let server = Logged::start();
    // The command line refuses control characters.
    let turned = "\u{202e}exe.";
    let ban = [
        "rules",
        "ban",
        "192.0.2.7",
        "--reason",
        turned,
        "--author",
        turned,
    ];
    let ban = command(server.data.path(), &ban).status();
    assert!(ban.unwrap().success());
    let document = json!({ "version": 5, "message": UNRULY }).to_string();
    let file = server.path("rules.json");
    std::fs::write(&file, &document).unwrap();
    let print = |arguments: &[&str]| {
        let arguments = [&["rules"], arguments].concat();
        let Output { stdout, status, .. } =
            command(server.data.path(), &arguments).output().unwrap();
        assert!(status.success(), "{arguments:?}");
        let stdout = String::from_utf8(stdout).unwrap();
        assert!(!stdout.contains(['\u{202e}', '\u{9b}']), "{stdout}");
        stdout
    };
    for listing in ["list", "history"] {
        assert_eq!(
            print(&[listing]).matches(r"\u{202e}exe.").count(),
            2,
            "{listing}"
        );
    }
    print(&["draft", file.to_str().unwrap()]);
    print(&["diff"]);
    print(&["publish", "--yes"]);
    let shown: serde_json::Value = serde_json::from_str(&print(&["show"])).unwrap();
    assert_eq!(shown["message"], UNRULY);
}

#[tokio::test]
async fn received_text_cannot_forge_a_log_line() {
    // Refused input is logged too.
    let server = Logged::start_in(tempfile::tempdir().unwrap(), "guard_server=debug");
    let forged = "x\n2026-11-22T14:28:58Z ERROR all is lost \u{202e}";
    let body = json!({ "ip": "192.0.2.7", forged: 1 }).to_string();
    let url = format!(
        "{}/api/v1/projects/default/rules/bans",
        server.process.origin
    );
    let request = client().post(url).bearer_auth(TOKEN).body(body);
    assert_eq!(request.send().await.unwrap().status(), 400);
    assert_eq!(server.logged(r"all is lost \u{202e}"), 1);
    let log = server.log();
    assert!(
        log.lines().all(|line| !line.starts_with("2026-11-22T14")),
        "{log}"
    );
}

#[test]
fn an_error_message_is_one_line() {
    let data = tempfile::tempdir().unwrap();
    let name = data.path().join("a\n\u{9b}2Jb");
    let arguments = ["rules", "set", name.to_str().unwrap()];
    let Output { stderr, .. } = command(data.path(), &arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.contains(r"a\n\u{9b}2Jb"), "{stderr}");
}

#[tokio::test]
async fn an_answer_does_not_repeat_all_received_text() {
    let server = Server::start().await;
    let body = json!({ "events": "x".repeat(50_000) }).to_string();
    let answer = server.post("/api/v1/events", body).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.bytes().await.unwrap().len() < 3000);
}
