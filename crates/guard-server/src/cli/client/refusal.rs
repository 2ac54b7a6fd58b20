//! Why the server did not do it, in the words of the command line.

use std::io::Write as _;

use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::super::{FAILED, USAGE, terminal};
use super::Client;
use crate::visible::visible;

/// The most bytes that are read of a refusal.
const MAX_REFUSAL: usize = 64 * 1024;
/// The parameters of calls that are options of the same name.
const OPTIONS: [&str; 9] = [
    "filter", "from", "to", "limit", "by", "metric", "stat", "interval", "tz",
];

/// The answer to a failed request.
#[derive(Debug, Deserialize)]
struct Refusal {
    detail: String,
    code: Option<String>,
    field: Option<String>,
    position: Option<usize>,
}

/// The exit code and message for the answer to `asked`. If a filter is wrong, standard error shows
/// where.
pub(super) async fn refused(response: Response, asked: &Url, client: &Client) -> (u8, String) {
    let status = response.status();
    let location = response.headers().get(LOCATION).cloned();
    let Some(refusal) = read(response).await else {
        let elsewhere = location.as_ref().and_then(|it| it.to_str().ok());
        return (FAILED, stranger(client, status, elsewhere));
    };
    if let Some(position) = refusal.position
        && let Some((_, filter)) = asked.query_pairs().find(|(name, _)| name == "filter")
    {
        let lines = pointer(&filter, position, terminal::width());
        // The message says where, too.
        let _ = writeln!(std::io::stderr(), "{lines}");
    }
    let code = if status == StatusCode::BAD_REQUEST {
        USAGE
    } else {
        FAILED
    };
    (code, in_words(refusal, status, &client.project))
}

async fn read(mut response: Response) -> Option<Refusal> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.ok()? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_REFUSAL {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

/// Something else than guard-server answered, such as a proxy in front of it.
fn stranger(client: &Client, status: StatusCode, location: Option<&str>) -> String {
    let Client {
        server, named_by, ..
    } = client;
    let remedy = match location {
        Some(location) => format!("it may have to be {location}; {named_by} names it"),
        None => format!("is it guard-server? {named_by} names it"),
    };
    format!("{server} answers {status}; {remedy}")
}

fn in_words(refusal: Refusal, status: StatusCode, project: &str) -> String {
    let Refusal {
        detail,
        code,
        field,
        ..
    } = refusal;
    if code.as_deref() == Some("no_such_project") {
        return format!("--project: there is no project {project} that this token may see");
    }
    if status == StatusCode::UNAUTHORIZED {
        return "the server does not know the token in GUARD_SERVER_TOKEN or --token-file; it may \
                have expired, or have been revoked"
            .to_owned();
    }
    let Some(field) = field.filter(|field| OPTIONS.contains(&field.as_str())) else {
        return detail;
    };
    let rest = detail.strip_prefix(field.as_str());
    match rest.filter(|rest| rest.starts_with([' ', ':'])) {
        Some(rest) => format!("--{field}{rest}"),
        None => format!("--{field}: {detail}"),
    }
}

/// The filter, and below it a caret at a position, in a terminal of this width.
fn pointer(filter: &str, position: usize, width: usize) -> String {
    const MARGIN: &str = "  ";
    let room = width.saturating_sub(MARGIN.len() + 2).max(20);
    let characters: Vec<char> = filter.chars().collect();
    let position = position.min(characters.len());
    // What fits, with the position in it.
    let start = if characters.len() <= room {
        0
    } else {
        position.saturating_sub(room * 2 / 3)
    };
    let text = |part: &[char]| visible(&part.iter().collect::<String>()).into_owned();
    let before = text(&characters[start..position]);
    let after = text(&characters[position..]);
    let cut = if start > 0 { "…" } else { "" };
    let mut line = format!("{cut}{before}{after}");
    if line.chars().count() > room {
        line = line.chars().take(room).chain(['…']).collect();
    }
    let column = cut.chars().count() + before.chars().count();
    format!("{MARGIN}{line}\n{MARGIN}{:column$}^", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(detail: &str, field: &str) -> String {
        let refusal = Refusal {
            detail: detail.to_owned(),
            code: None,
            field: Some(field.to_owned()),
            position: None,
        };
        in_words(refusal, StatusCode::BAD_REQUEST, "default")
    }

    #[test]
    fn a_parameter_has_the_name_of_its_option() {
        for (detail, field, expected) in [
            ("from is \"x\"; give", "from", "--from is \"x\"; give"),
            ("filter: no", "filter", "--filter: no"),
            ("total is no field", "to", "--to: total is no field"),
            ("cursor is bad", "cursor", "cursor is bad"),
        ] {
            assert_eq!(words(detail, field), expected);
        }
    }

    #[test]
    fn a_caret_stands_below_the_position() {
        let shown = pointer("a:1 tipe:2", 4, 80);
        assert_eq!(shown, "  a:1 tipe:2\n      ^");
        let at_the_end = pointer("a:", 9, 80);
        assert_eq!(at_the_end, "  a:\n    ^");
        let control = pointer("a\u{1b}:1 b", 5, 80);
        assert_eq!(control, "  a\\u{1b}:1 b\n            ^");
    }

    #[test]
    fn of_a_long_filter_the_part_around_the_position_is_shown() {
        let filter = format!("{}wrong:1 {}", "type:a ".repeat(50), "type:b ".repeat(50));
        let shown = pointer(&filter, 350, 80);
        let [line, caret] = [0, 1].map(|at| shown.lines().nth(at).unwrap());
        let column = caret.chars().count() - 1;
        let found: String = line.chars().skip(column).take(5).collect();
        assert_eq!(found, "wrong");
        assert!(line.chars().count() <= 80, "{line}");
    }
}
