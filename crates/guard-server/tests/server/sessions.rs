//! People: the first admin, signing in and out, roles, passwords, and requests from other sites.

use guard_server::Clock as _;
use guard_server::people::{PersonOutcome, SessionLimits};
use guard_server::store::People as _;
use jiff::SignedDuration;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::clocks::TestClock;
use crate::process::{Process, command};
use crate::support::{P, Server, Setup, client, read};

const PASSWORD: &str = "correct horse battery";

/// A person who signed in.
struct Visitor<'a> {
    server: &'a Server,
    cookie: String,
}

impl Visitor<'_> {
    /// A request from a page of the server.
    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.server.request(method, path);
        let request = request.header("Cookie", &self.cookie);
        request.header("Sec-Fetch-Site", "same-origin")
    }

    async fn status(&self, method: Method, path: &str) -> u16 {
        let sent = self.ask(method, path).body("{}").send().await;
        sent.unwrap().status().as_u16()
    }
}

/// The session cookie that an answer sets, as `NAME=VALUE`.
fn cookie(response: &Response) -> String {
    let set = response.headers()["Set-Cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

async fn add(server: &Server, name: &str, role: &str, projects: Value) {
    let body = json!({ "name": name, "role": role, "projects": projects, "password": PASSWORD });
    let response = server.post("/api/v1/people", body.to_string()).send().await;
    let (status, answer) = read(response.unwrap()).await;
    assert_eq!((status, answer.get("link")), (200, None), "{answer}");
}

fn try_in(server: &Server, name: &str, password: &str) -> RequestBuilder {
    let body = json!({ "name": name, "password": password }).to_string();
    server.request(Method::POST, "/api/v1/session").body(body)
}

async fn sign_in<'a>(server: &'a Server, name: &str) -> Visitor<'a> {
    let response = try_in(server, name, PASSWORD).send().await.unwrap();
    assert_eq!(response.status(), 200);
    Visitor {
        server,
        cookie: cookie(&response),
    }
}

async fn refused(request: RequestBuilder) -> (u16, String) {
    let (status, answer) = read(request.send().await.unwrap()).await;
    (status, answer["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_person_signs_in_and_may_do_what_the_role_allows() {
    let server = Server::start().await;
    add(&server, "anna", "operator", json!(["*"])).await;
    let anna = sign_in(&server, "anna").await;
    let (_, me) = read(
        anna.ask(Method::GET, "/api/v1/session")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        me,
        json!({ "who": "person:anna", "name": "anna", "role": "operator", "projects": ["*"] })
    );
    let ban = anna.ask(Method::POST, &format!("{P}/rules/bans"));
    let ban = ban.body(r#"{ "ip": "192.0.2.7" }"#).send().await.unwrap();
    assert_eq!(ban.status(), 200);
    let versions = server.get(&format!("{P}/rules/versions")).send().await;
    let (_, versions) = read(versions.unwrap()).await;
    assert_eq!(versions["versions"][0]["author"], "person:anna");
    assert_eq!(anna.status(Method::GET, "/api/v1/people").await, 403);

    assert_eq!(anna.status(Method::DELETE, "/api/v1/session").await, 204);
    assert_eq!(anna.status(Method::GET, "/api/v1/session").await, 401);
}

#[tokio::test]
async fn the_cookie_is_hidden_from_scripts_and_secure_only_over_https() {
    for (url, path, is_secure) in [
        (None, "/", false),
        (Some("http://127.0.0.1/guard"), "/guard", false),
        (Some("https://guard.example/guard"), "/guard", true),
    ] {
        let setup = Setup {
            public_url: url,
            ..Setup::default()
        };
        let server = setup.start().await;
        add(&server, "anna", "viewer", json!(["*"])).await;
        let request = try_in(&server, "anna", PASSWORD);
        let request = request.header("Host", "guard.example");
        let response = request.send().await.unwrap();
        let cookie = response.headers()["Set-Cookie"].to_str().unwrap();
        let parts: Vec<_> = cookie.split("; ").collect();
        assert!(
            parts[0].starts_with("guard_session=") && parts[0].len() > 50,
            "{cookie}"
        );
        assert_eq!(parts[1], format!("Path={path}"));
        assert!(
            parts.contains(&"HttpOnly") && parts.contains(&"SameSite=Lax"),
            "{cookie}"
        );
        assert_eq!(parts.contains(&"Secure"), is_secure, "{url:?}: {cookie}");
    }
}

#[tokio::test]
async fn over_plain_http_the_cookie_is_not_secure_even_if_the_public_url_is_https() {
    let setup = Setup {
        public_url: Some("https://guard.example"),
        ..Setup::default()
    };
    let server = setup.start().await;
    add(&server, "anna", "viewer", json!(["*"])).await;
    // Somebody opens the server by its address, past the proxy.
    let response = try_in(&server, "anna", PASSWORD).send().await.unwrap();
    let cookie = response.headers()["Set-Cookie"].to_str().unwrap();
    assert!(!cookie.contains("Secure"), "{cookie}");
}

#[tokio::test]
async fn a_request_of_another_site_is_refused_with_what_was_seen() {
    let server = Server::start().await;
    add(&server, "anna", "operator", json!(["*"])).await;
    let anna = sign_in(&server, "anna").await;
    let origin = server.origin.clone();
    for (headers, expected) in [
        (vec![("Origin", origin.as_str())], 404),
        (vec![("Sec-Fetch-Site", "same-origin")], 404),
        // A policy of referrers makes the origin null.
        (
            vec![("Sec-Fetch-Site", "same-origin"), ("Origin", "null")],
            404,
        ),
        (vec![], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", "https://evil.example")], 403),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Origin", origin.as_str()),
            ],
            403,
        ),
        (vec![("Sec-Fetch-Site", "same-site")], 403),
        (vec![("Sec-Fetch-Site", "none")], 403),
    ] {
        let path = format!("{P}/rules/bans/1");
        let mut request = server.request(Method::DELETE, &path);
        request = request.header("Cookie", &anna.cookie);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let (status, answer) = read(request.send().await.unwrap()).await;
        assert_eq!(status, expected, "{headers:?}: {answer}");
        if expected == 403 {
            let detail = answer["detail"].as_str().unwrap();
            assert_eq!(answer["code"], "cross_site");
            assert!(
                detail.contains(&format!("Expected: Origin {origin:?}")),
                "{detail}"
            );
            for (_, value) in headers {
                assert!(detail.contains(value), "{detail}");
            }
        }
    }
    // Reading needs neither.
    let read_only = server.request(Method::GET, "/api/v1/session");
    let read_only = read_only.header("Cookie", &anna.cookie).send().await;
    assert_eq!(read_only.unwrap().status(), 200);
    // Another site cannot sign a browser in as somebody else.
    let foreign = try_in(&server, "anna", PASSWORD).header("Origin", "https://evil.example");
    assert_eq!(refused(foreign).await, (403, "cross_site".to_owned()));
}

#[tokio::test]
async fn behind_a_proxy_that_ends_tls_the_public_origin_counts() {
    let setup = Setup {
        public_url: Some("https://guard.example"),
        ..Setup::default()
    };
    let server = setup.start().await;
    add(&server, "anna", "operator", json!(["*"])).await;
    let anna = sign_in(&server, "anna").await;
    let ask = async |origin: &str| {
        let request = server.request(Method::DELETE, &format!("{P}/rules/bans/1"));
        let request = request
            .header("Cookie", &anna.cookie)
            .header("Origin", origin);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("https://guard.example").await, 404);
    assert_eq!(ask("http://guard.example").await, 403);
    assert_eq!(ask("https://evil.example").await, 403);
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_get_the_same_answer() {
    let server = Server::start().await;
    add(&server, "anna", "viewer", json!(["*"])).await;
    let body = json!({ "name": "new", "role": "viewer", "projects": ["*"] }).to_string();
    let invited = server.post("/api/v1/people", body).send().await.unwrap();
    assert_eq!(invited.status(), 200);
    let mut answers = Vec::new();
    for (name, password) in [
        ("anna", "wrong password"),
        ("nobody", PASSWORD),
        ("new", ""),
    ] {
        let response = try_in(&server, name, password).send().await.unwrap();
        assert!(!response.headers().contains_key("Set-Cookie"));
        answers.push(read(response).await);
    }
    assert_eq!(answers[0].0, 401);
    assert_eq!(answers[0].1["code"], "wrong_password");
    assert_eq!((&answers[1], &answers[2]), (&answers[0], &answers[0]));
}

#[tokio::test]
async fn wrong_passwords_are_slowed_down_and_never_lock_the_account() {
    let setup = Setup {
        proxies: &["127.0.0.1"],
        ..Setup::default()
    };
    let server = setup.start().await;
    add(&server, "anna", "viewer", json!(["*"])).await;
    let attempt = |from: &str, name: &str, password: &str| {
        try_in(&server, name, password).header("X-Forwarded-For", from)
    };
    for name in ["anna", "nobody"] {
        let from = format!("192.0.2.{}", name.len());
        for _ in 0..10 {
            let wrong = refused(attempt(&from, name, "a wrong password")).await;
            assert_eq!(wrong, (401, "wrong_password".to_owned()));
        }
        let response = attempt(&from, name, PASSWORD).send().await.unwrap();
        let seconds = response.headers()["Retry-After"].to_str().unwrap();
        assert!(
            (1..=60).contains(&seconds.parse::<u32>().unwrap()),
            "{seconds}"
        );
        let (status, answer) = read(response).await;
        assert_eq!(
            (status, &answer["code"]),
            (429, &json!("too_many_attempts"))
        );
    }
    let elsewhere = attempt("198.51.100.7", "anna", PASSWORD).send().await;
    assert_eq!(elsewhere.unwrap().status(), 200);
}

#[tokio::test]
async fn a_change_of_role_and_a_removal_take_effect_with_the_next_request() {
    let server = Server::start().await;
    add(&server, "anna", "operator", json!(["*"])).await;
    let anna = sign_in(&server, "anna").await;
    let bans = format!("{P}/rules/bans/1");
    assert_eq!(anna.status(Method::DELETE, &bans).await, 404);
    let patch = async |body: Value| {
        let request = server.ask(Method::PATCH, "/api/v1/people/anna");
        read(request.body(body.to_string()).send().await.unwrap()).await
    };
    let (status, person) = patch(json!({ "role": "viewer" })).await;
    assert_eq!((status, &person["role"]), (200, &json!("viewer")));
    assert_eq!(anna.status(Method::DELETE, &bans).await, 403);
    assert_eq!(anna.status(Method::GET, &format!("{P}/summary")).await, 200);
    // A new password ends the sessions.
    assert_eq!(
        patch(json!({ "password": "another long one" })).await.0,
        200
    );
    assert_eq!(anna.status(Method::GET, "/api/v1/session").await, 401);
    assert_eq!(patch(json!({ "password": PASSWORD })).await.0, 200);
    let anna = sign_in(&server, "anna").await;
    let removed = server
        .ask(Method::DELETE, "/api/v1/people/anna")
        .send()
        .await;
    assert_eq!(removed.unwrap().status(), 204);
    assert_eq!(anna.status(Method::GET, "/api/v1/session").await, 401);
    assert_eq!(patch(json!({ "role": "viewer" })).await.0, 404);
}

#[tokio::test]
async fn the_last_admin_can_neither_be_removed_nor_lowered() {
    let server = Server::start().await;
    add(&server, "anna", "admin", json!(["*"])).await;
    let ask = |method, body: &'static str| server.ask(method, "/api/v1/people/anna").body(body);
    for request in [
        ask(Method::DELETE, ""),
        ask(Method::PATCH, r#"{ "role": "operator" }"#),
        ask(Method::PATCH, r#"{ "projects": ["default"] }"#),
    ] {
        assert_eq!(refused(request).await, (409, "last_admin".to_owned()));
    }
    add(&server, "ben", "admin", json!(["*"])).await;
    let removed = ask(Method::DELETE, "").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    let ben = server.store.remove_person("ben", None).await;
    assert_eq!(ben, Ok(PersonOutcome::LastAdmin));
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_sessions_of_the_person() {
    let server = Server::start().await;
    add(&server, "anna", "viewer", json!(["*"])).await;
    add(&server, "ben", "viewer", json!(["*"])).await;
    let (one, other) = (
        sign_in(&server, "anna").await,
        sign_in(&server, "anna").await,
    );
    let ben = sign_in(&server, "ben").await;
    let everywhere = "/api/v1/session?everywhere=true";
    assert_eq!(one.status(Method::DELETE, everywhere).await, 204);
    for (visitor, expected) in [(one, 401), (other, 401), (ben, 200)] {
        assert_eq!(
            visitor.status(Method::GET, "/api/v1/session").await,
            expected
        );
    }
}

#[tokio::test]
async fn people_change_their_own_password_and_other_sessions_end() {
    let server = Server::start().await;
    add(&server, "anna", "viewer", json!(["*"])).await;
    let (here, elsewhere) = (
        sign_in(&server, "anna").await,
        sign_in(&server, "anna").await,
    );
    let change = |current: &str, password: &str| {
        let body = json!({ "current": current, "password": password }).to_string();
        here.ask(Method::POST, "/api/v1/session/password")
            .body(body)
    };
    let wrong = refused(change("not the one", "a new long password")).await;
    assert_eq!(wrong, (401, "wrong_password".to_owned()));
    let short = refused(change(PASSWORD, "short")).await;
    assert_eq!(short, (400, "bad_request".to_owned()));
    let changed = change(PASSWORD, "a new long password")
        .send()
        .await
        .unwrap();
    assert_eq!(changed.status(), 200);
    let now = Visitor {
        server: &server,
        cookie: cookie(&changed),
    };
    assert_eq!(now.status(Method::GET, "/api/v1/session").await, 200);
    assert_eq!(elsewhere.status(Method::GET, "/api/v1/session").await, 401);
    assert_eq!(refused(try_in(&server, "anna", PASSWORD)).await.0, 401);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let clock = TestClock::at("2026-11-22T14:00:00Z");
    let setup = Setup {
        clock: clock.clone(),
        is_maintained: false,
        sessions: SessionLimits {
            idle: std::time::Duration::from_secs(600),
            total: std::time::Duration::from_secs(2000),
        },
        ..Setup::default()
    };
    let server = setup.start().await;
    add(&server, "anna", "viewer", json!(["*"])).await;
    let me = "/api/v1/session";
    let anna = sign_in(&server, "anna").await;
    for _ in 0..3 {
        clock.pass(500);
        assert_eq!(anna.status(Method::GET, me).await, 200, "used in time");
    }
    clock.pass(500);
    assert_eq!(anna.status(Method::GET, me).await, 401, "2000 s old");
    let anna = sign_in(&server, "anna").await;
    clock.pass(600);
    assert_eq!(anna.status(Method::GET, me).await, 401, "600 s idle");
    assert!(clock.now() - SignedDuration::from_secs(2600) < clock.now());
}

#[tokio::test]
async fn an_invited_person_chooses_a_password_by_a_link_that_works_once() {
    let server = Server::start().await;
    let body = json!({ "name": "anna", "role": "operator", "projects": ["default"] });
    let made = server.post("/api/v1/people", body.to_string()).send().await;
    let (_, made) = read(made.unwrap()).await;
    let link = made["link"].as_str().unwrap();
    let token = link.strip_prefix(&format!("{}/setup?token=", server.origin));
    let token = token.unwrap().to_owned();
    let valid = async |token: &str| {
        let path = format!("/api/v1/setup?token={token}");
        read(server.request(Method::GET, &path).send().await.unwrap()).await
    };
    assert_eq!(
        valid(&token).await,
        (200, json!({ "valid": true, "name": "anna" }))
    );
    let complete = |token: &str, name: Value, password: &str| {
        let body = json!({ "token": token, "name": name, "password": password }).to_string();
        server.request(Method::POST, "/api/v1/setup").body(body)
    };
    let other = read(
        complete(&token, json!("ben"), PASSWORD)
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        (other.0, &other.1["field"]),
        (400, &json!("name")),
        "{other:?}"
    );
    let short = read(
        complete(&token, Value::Null, "eleven char")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        (short.0, &short.1["field"]),
        (400, &json!("password")),
        "{short:?}"
    );
    let done = complete(&token, Value::Null, PASSWORD)
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), 200);
    let anna = Visitor {
        server: &server,
        cookie: cookie(&done),
    };
    assert_eq!(anna.status(Method::GET, &format!("{P}/summary")).await, 200);
    for request in [
        complete(&token, Value::Null, PASSWORD),
        complete("x", json!("b"), PASSWORD),
    ] {
        assert_eq!(refused(request).await, (404, "no_such_link".to_owned()));
    }
    assert_eq!(valid(&token).await.0, 404);

    let again = server
        .ask(Method::POST, "/api/v1/people/anna/link")
        .send()
        .await;
    let (_, again) = read(again.unwrap()).await;
    assert!(
        again["link"].as_str().unwrap().contains("/setup?token="),
        "{again}"
    );
    let (_, log) = read(server.get("/api/v1/audit").send().await.unwrap()).await;
    let actions: Vec<_> = log["items"].as_array().unwrap().iter().rev().collect();
    let actions: Vec<_> = actions
        .iter()
        .map(|it| it["action"].as_str().unwrap())
        .collect();
    let expected = [
        "person.add",
        "person.set_password",
        "session.sign_in",
        "person.link",
    ];
    assert_eq!(actions, expected);
    assert!(!log.to_string().contains(&token) && !log.to_string().contains(PASSWORD));
}

#[tokio::test]
async fn the_first_start_prints_a_link_for_the_first_admin() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::start(data.path(), &[], 4);
    let link = |server: &Process| {
        let line = server
            .printed()
            .iter()
            .find(|line| line.contains("/setup?token="));
        line.and_then(|line| line.rsplit(' ').next())
            .unwrap()
            .to_owned()
    };
    let first = link(&server);
    assert!(first.starts_with(&server.origin), "{first}");
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    // It stays valid, and later starts print another until somebody used one.
    let server = Process::start(data.path(), &[], 3);
    let second = link(&server);
    assert_ne!(first, second);
    let token = first.split_once("token=").unwrap().1;
    let body = json!({ "token": token, "name": "anna", "password": PASSWORD }).to_string();
    let url = format!("{}/api/v1/setup", server.origin);
    let done = client().post(url).body(body).send().await.unwrap();
    assert_eq!(done.status(), 200);
    let (_, me) = read(done).await;
    assert_eq!(
        (&me["name"], &me["role"]),
        (&json!("anna"), &json!("admin"))
    );
    let token = second.split_once("token=").unwrap().1;
    let url = format!("{}/api/v1/setup?token={token}", server.origin);
    assert_eq!(client().get(url).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn the_command_line_manages_people_and_tokens() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::with_key(data.path());
    let run = |words: &[&str]| {
        let output = command(data.path(), words).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let (is_ok, made) = run(&["tokens", "add", "nightly", "--role", "viewer"]);
    assert!(is_ok && made.contains("gt_"), "{made}");
    let token = made
        .split_whitespace()
        .find(|word| word.starts_with("gt_"))
        .unwrap();
    assert_eq!(server.get(&format!("{P}/summary"), token).await.0, 200);
    let (_, listed) = run(&["tokens", "list"]);
    assert!(
        listed.contains("nightly") && !listed.contains(token),
        "{listed}"
    );
    let id = listed
        .lines()
        .find(|line| line.contains("nightly"))
        .unwrap();
    let id = id.split('\t').next().unwrap().to_owned();
    assert!(run(&["tokens", "revoke", &id]).0);
    assert_eq!(server.get(&format!("{P}/summary"), token).await.0, 401);
    assert!(!run(&["tokens", "revoke", &id]).0);

    // Nobody can manage the server yet, so this link adds the first admin.
    let (is_ok, first) = run(&["people", "link", "anna"]);
    assert!(is_ok && first.contains("/setup?token="), "{first}");
    let link = first
        .split_whitespace()
        .find(|word| word.contains("/setup?token="));
    let token = link.unwrap().split_once("token=").unwrap().1;
    let body = json!({ "token": token, "name": "anna", "password": PASSWORD }).to_string();
    let url = format!("{}/api/v1/setup", server.origin);
    let done = client().post(url).body(body).send().await.unwrap();
    assert_eq!(done.status(), 200);
    let anna = cookie(&done);
    let me = async || {
        let request = client().get(format!("{}/api/v1/session", server.origin));
        request
            .header("Cookie", &anna)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(me().await, 200);

    let (is_ok, told) = run(&[
        "people",
        "add",
        "ben",
        "--role",
        "operator",
        "--project",
        "default",
    ]);
    assert!(is_ok && told.contains("/setup?token="), "{told}");
    assert!(
        !run(&["people", "add", "ben", "--role", "viewer"]).0,
        "the name is taken"
    );
    assert!(
        !run(&[
            "people",
            "add",
            "cy",
            "--role",
            "viewer",
            "--project",
            "nowhere"
        ])
        .0
    );
    assert!(!run(&["people", "link", "nobody"]).0);
    let (_, told) = run(&["people", "set", "ben", "--role", "viewer", "--project", "*"]);
    assert!(told.contains("ben is viewer in all projects"), "{told}");
    let (is_ok, told) = run(&["people", "remove", "anna"]);
    assert!(!is_ok && told.contains("last admin"), "{told}");
    assert!(run(&["people", "sign-out", "anna"]).0);
    assert_eq!(me().await, 401);
    assert!(run(&["people", "remove", "ben"]).0);
    let (_, listed) = run(&["people", "list"]);
    assert!(
        listed.contains("anna\tadmin\t*\tyes") && !listed.contains("ben"),
        "{listed}"
    );
}
