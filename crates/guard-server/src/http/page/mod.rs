//! The page at `/` for people with a session or on this machine: counts by type and the newest events. Plain HTML without
//! scripts; everything in it that agents sent is escaped.

mod who;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use guard_wire::Kind;
use ring::digest::{SHA256, digest};
use serde_json::value::RawValue;

use crate::DEFAULT_PROJECT;
use crate::fleet::adoption::{Adoption, adoption};
use crate::http::caller::basic_password;
use crate::http::error::ApiError;
use crate::http::principal::{Credential, authenticate, find};
use crate::http::state::{Access, AppState};
use crate::http::wrong_keys::WrongKey;
use crate::people::{CredentialHash, Role};
use crate::query::{self, Summary};
use crate::store::{KindSummary, Page, Project};
use crate::visible::visible;

const STYLE: &str = include_str!("page.css");
const NEWEST: u16 = 50;
/// The list also stops at the record that brings it to this many bytes.
const NEWEST_BYTES: usize = 1024 * 1024;
/// The most frequent types have a row each, up to this many.
const MAX_TYPES: usize = 100;
/// The longest text that a cell shows, in characters.
const MAX_CELL: usize = 200;
const REFRESH_SECONDS: u16 = 5;
/// The columns of the newest events: heading and key.
const COLUMNS: [(&str, &str); 8] = [
    ("time", "timestamp"),
    ("type", "event_type"),
    ("address", "ip_address"),
    ("action", "action_taken"),
    ("method", "method"),
    ("endpoint", "endpoint"),
    ("status", "status_code"),
    ("reason", "reason"),
];

/// `GET /`.
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    parts: Parts,
) -> Result<Response, ApiError> {
    if !may_open(&state, &parts).await? {
        let mut response = ask_for_token();
        if basic_password(&parts.headers).is_some() {
            response.extensions_mut().insert(WrongKey);
        }
        return Ok(response);
    }
    let project = state.stores.projects.project_named(DEFAULT_PROJECT).await?;
    let project = project.ok_or_else(|| ApiError::not_found("There is no project yet"))?;
    let summary = query::summary(&state.stores, project.id).await?;
    let page = Page {
        before: None,
        limit: NEWEST,
        bytes: NEWEST_BYTES,
    };
    let newest = state
        .stores
        .telemetry
        .records(project.id, Kind::Event, page)
        .await?
        .records;
    state.save_check_ins().await;
    let now = state.clock.now();
    let adoption = adoption(
        &*state.stores.rules,
        &*state.stores.fleet,
        project.id,
        None,
        now,
    )
    .await?;
    let work = move || render(&project, &summary, &adoption, &newest);
    let mut response = Html(state.workers.run(work).await?).into_response();
    harden(response.headers_mut());
    Ok(response)
}

/// Whether the page is open to this request: on loopback to everybody, else to people with a
/// session, and with a token as password.
async fn may_open(state: &AppState, parts: &Parts) -> Result<bool, ApiError> {
    if state.access == Access::Loopback {
        if names_loopback(&parts.headers) {
            return Ok(true);
        }
        return Err(ApiError::forbidden(
            "Open this page by a loopback name, such as http://localhost",
        ));
    }
    let principal = match basic_password(&parts.headers) {
        Some(token) => {
            let credential = Credential::Token(CredentialHash::of(&token));
            find(state, credential, None).await?
        }
        None => authenticate(parts, state).await.ok(),
    };
    Ok(principal.is_some_and(|it| it.may(Role::Viewer, DEFAULT_PROJECT)))
}

/// Whether the browser used a name that always means this machine. Any other name could come from
/// an attacker's DNS (DNS rebinding).
fn names_loopback(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    host.is_some_and(|authority| {
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => {
                let name = name.to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    })
}

fn ask_for_token() -> Response {
    let mut response = (
        StatusCode::UNAUTHORIZED,
        "Sign in with any user name and a token (gt_...) as password.\n",
    )
        .into_response();
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"guard-server\", charset=\"UTF-8\""),
    );
    response
}

/// Forbids the browser to load, run, frame or cache anything.
fn harden(headers: &mut HeaderMap) {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn render(
    project: &Project,
    summary: &Summary,
    adoption: &Adoption,
    newest: &[Box<RawValue>],
) -> String {
    let figures = figures(summary);
    let events = counts("Events by type", &summary.counts.events);
    let metrics = counts("Metrics by type", &summary.counts.metrics);
    let agents = agents(summary);
    let rules = who::section_of(adoption);
    let newest = newest_events(newest);
    let name = escape(&project.name);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">\
         <title>Guard: {name}</title><style>{STYLE}</style></head><body>\
         <header><h1>Guard</h1><p>project {name}</p></header><main>{figures}\
         <div class=\"pair\">{events}{metrics}</div>{agents}{rules}{newest}</main></body></html>\n"
    )
}

fn figures(summary: &Summary) -> String {
    let duplicates = summary.counts.duplicates.events + summary.counts.duplicates.metrics;
    let invalid = summary.counts.invalid.events + summary.counts.invalid.metrics;
    let figures = [
        ("events", summary.counts.events.total),
        ("metrics", summary.counts.metrics.total),
        ("duplicates not stored", duplicates),
        ("invalid, left out", invalid),
    ];
    let cells: String = figures
        .iter()
        .map(|(name, n)| format!("<div><dd>{n}</dd><dt>{name}</dt></div>"))
        .collect();
    format!("<dl>{cells}</dl>")
}

fn counts(title: &str, summary: &KindSummary) -> String {
    let mut rows: Vec<_> = summary.by_type.iter().collect();
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let row = |name: &str, n| {
        format!(
            "<tr><td>{}</td><td class=\"n\">{n}</td></tr>",
            cell_text(name)
        )
    };
    let others = rows.split_off(rows.len().min(MAX_TYPES));
    let mut rows: String = rows.iter().map(|(name, n)| row(name, **n)).collect();
    let n = summary.other + others.iter().map(|(_, n)| **n).sum::<u64>();
    if summary.other > 0 {
        rows.push_str(&row("all others", n));
    } else if n > 0 {
        rows.push_str(&row(&format!("{} others", others.len()), n));
    }
    section(title, &["type", "records"], &rows, "None yet.")
}

fn agents(summary: &Summary) -> String {
    let rows: String = summary
        .agents
        .iter()
        .map(|agent| {
            let status = fields(&agent.status);
            let time = agent.received_at.to_string();
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                cell_text(&agent.install_id),
                cell(&status, "status"),
                cell_text(&time)
            )
        })
        .collect();
    let headings = ["agent", "status", "reported"];
    section("Agents", &headings, &rows, "None has reported yet.")
}

fn newest_events(newest: &[Box<RawValue>]) -> String {
    let mut rows = String::new();
    for record in newest {
        let event = fields(record);
        rows.push_str("<tr>");
        for (_, key) in COLUMNS {
            // Writing to a String cannot fail.
            let _ = write!(rows, "<td>{}</td>", cell(&event, key));
        }
        rows.push_str("</tr>");
    }
    let headings = COLUMNS.map(|(heading, _)| heading);
    section("Newest events", &headings, &rows, "None yet.")
}

fn section(title: &str, headings: &[&str], rows: &str, empty: &str) -> String {
    if rows.is_empty() {
        return format!("<section><h2>{title}</h2><p>{empty}</p></section>");
    }
    let headings: String = headings
        .iter()
        .map(|heading| format!("<th>{heading}</th>"))
        .collect();
    format!(
        "<section><h2>{title}</h2><table><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table></section>"
    )
}

/// Splits an object into its fields without parsing their values: most are not shown.
fn fields(object: &RawValue) -> HashMap<String, &RawValue> {
    serde_json::from_str(object.get()).unwrap_or_default()
}

fn cell(fields: &HashMap<String, &RawValue>, key: &str) -> String {
    let value = fields.get(key).map_or("null", |value| value.get());
    match serde_json::from_str::<Option<String>>(value) {
        Ok(text) => cell_text(&text.unwrap_or_default()),
        Err(_) => cell_text(value),
    }
}

/// The start of the text for a cell, with invisible characters made visible, escaped.
fn cell_text(text: &str) -> String {
    let start = match text.char_indices().nth(MAX_CELL) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    };
    escape(&visible(&start))
}

/// Escapes text for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_open_the_page() {
        let opens = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            names_loopback(&headers)
        };
        for host in [
            "localhost",
            "LOCALHOST:8400",
            "127.0.0.1:8400",
            "127.9.9.9",
            "[::1]:80",
            "app.localhost",
        ] {
            assert!(opens(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "192.0.2.1",
            "",
        ] {
            assert!(!opens(host), "{host}");
        }
        assert!(!names_loopback(&HeaderMap::new()));
    }

    #[test]
    fn types_without_a_count_share_the_row_of_rare_types() {
        let frequent = (0..MAX_TYPES).map(|n| (format!("frequent-{n}"), 2));
        let summary = KindSummary {
            total: 0,
            by_type: frequent.chain([("rare".to_owned(), 1)]).collect(),
            other: 7,
        };
        let table = counts("", &summary);
        assert!(
            table.contains("<td>all others</td><td class=\"n\">8</td>"),
            "{table}"
        );
    }

    #[test]
    fn text_from_agents_is_escaped() {
        assert_eq!(
            escape("<img src=x onerror=\"alert('&')\">"),
            "&lt;img src=x onerror=&quot;alert(&#39;&amp;&#39;)&quot;&gt;"
        );
    }
}
