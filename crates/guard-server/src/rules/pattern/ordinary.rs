//! Samples of ordinary requests, and the check whether a pattern matches them.

use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{
    Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition,
};

/// The most bytes of a compiled pattern.
const MAX_COMPILED: usize = 8 * 1024 * 1024;

/// User agents of browsers, as different as possible.
const BROWSERS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
];

/// Paths, queries, headers and bodies that any site gets.
const REQUESTS: [&str; 33] = [
    "/",
    "/a/path",
    "/health",
    "/index.html",
    "/favicon.ico",
    "/robots.txt",
    "/static/app.3f2a1b.js",
    "/static/css/main.css",
    "/images/logo-2x.png",
    "/login",
    "/search",
    "/users/42",
    "/users/ada/orders",
    "/api/v1/items/550e8400-e29b-41d4-a716-446655440000",
    "/blog/2026/11/a-post_about-tea",
    "/caf%C3%A9/menu",
    "page=2&sort=name&order=desc",
    "q=red+shoes&min=10&max=99.50",
    "utm_source=news&utm_medium=email",
    "2",
    "name",
    "true",
    "red shoes",
    "2026-11-22T14:28:58Z",
    "ada@example.org",
    "+44 20 7946 0958",
    "en-GB,en;q=0.9,de;q=0.8",
    "application/json",
    "gzip, deflate, br",
    "session=eyJhbGciOiJIUzI1NiJ9.c2Vzc2lvbg.Zm9v; theme=dark",
    r#"{"name": "Ada", "age": 36, "tags": ["a", "b"], "address": null}"#,
    r#"{"comment": "Well done! How was it? It's fine (really), 100% so: see you."}"#,
    "name=Ada+Lovelace&message=Hello%2C+world%21",
];

/// Which ordinary requests a pattern matches.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    /// Whether it matches the user agents of more than half of the browsers.
    pub(super) most_browsers: bool,
    /// The first part of an ordinary request that it matches.
    pub(super) request: Option<&'static str>,
}

impl Found {
    /// Searches for a pattern. Returns `None` if the pattern takes too much memory.
    pub(super) fn by(hir: &Hir) -> Option<Self> {
        let config = Config::new()
            .nfa_size_limit(Some(MAX_COMPILED))
            .which_captures(WhichCaptures::None);
        let nfa = Compiler::new()
            .configure(config)
            .build_from_hir(&in_ascii(hir));
        let engine = PikeVM::new_from_nfa(nfa.ok()?).ok()?;
        let mut cache = engine.create_cache();
        let mut finds = |text: &&str| {
            let input = Input::new(*text).anchored(Anchored::No).earliest(true);
            engine.is_match(&mut cache, input)
        };
        let browsers = BROWSERS.iter().filter(|text| finds(text)).count();
        Some(Self {
            most_browsers: browsers * 2 > BROWSERS.len(),
            request: REQUESTS.into_iter().find(|text| finds(text)),
        })
    }
}

/// Reduces a pattern to the part that can match ASCII text, as all samples are ASCII. A class such
/// as `\w` becomes hundreds of times smaller.
fn in_ascii(hir: &Hir) -> Hir {
    let each = |parts: &[Hir]| parts.iter().map(in_ascii).collect();
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            class.intersect(&ClassUnicode::new([ClassUnicodeRange::new('\0', '\x7f')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            sub: Box::new(in_ascii(&repetition.sub)),
            ..repetition.clone()
        }),
        HirKind::Capture(capture) => Hir::capture(Capture {
            sub: Box::new(in_ascii(&capture.sub)),
            ..capture.clone()
        }),
        HirKind::Concat(parts) => Hir::concat(each(parts)),
        HirKind::Alternation(parts) => Hir::alternation(each(parts)),
        _ => hir.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str) -> Found {
        let mut parser = regex_syntax::ParserBuilder::new();
        let hir = parser.case_insensitive(true).build().parse(pattern);
        Found::by(&hir.unwrap()).unwrap()
    }

    #[test]
    fn matches_in_ordinary_requests_are_reported() {
        for pattern in [
            ".*",
            "x?",
            "^",
            "/",
            "/.",
            "[a-z]",
            r"\d",
            r"\w+",
            "^/[^/]*$",
            "e",
            "=",
            "login",
            r"\.js$",
            "json",
            "&",
            "%",
            "session",
            r"\bor\b|\ba\b",
            "é|a",
        ] {
            assert!(found(pattern).request.is_some(), "{pattern}");
        }
        for pattern in [
            r"\.\./",
            r"union\s+select",
            r"\bor\b\s+1=1",
            "<script",
            r"\$\{jndi:",
            "^$",
            r"\.php$",
            "/etc/passwd",
            "wp-login",
            r"javascript:",
            r"\x00",
            "é",
            r"';\s*drop\s",
            r"[^\x00-\x7f]{2}",
        ] {
            assert_eq!(found(pattern).request, None, "{pattern}");
        }
    }

    #[test]
    fn matches_in_most_browsers_are_reported() {
        for pattern in [".*", "mozilla", "AppleWebKit", "safari", r"\d", "gecko"] {
            assert!(found(pattern).most_browsers, "{pattern}");
        }
        for pattern in ["sqlmap", "curl/", "^$", "Firefox", "Chrome/1", "python"] {
            assert!(!found(pattern).most_browsers, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_takes_too_much_memory_is_not_compiled() {
        let hir = regex_syntax::parse("(?:a{1000}){1000}").unwrap();
        assert_eq!(Found::by(&hir), None);
    }
}
