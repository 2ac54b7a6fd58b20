//! Checks regular expressions: a pattern must not keep a backtracking engine, such as Python's,
//! busy for very long, and should not match ordinary requests. A pattern that cannot be checked is
//! refused.
//!
//! A pattern that could take too long is refused, by one of four rules that people can check by
//! reading. *Size*: with all repetitions written out, it has more than [`MAX_SIZE`] characters.
//! *Nesting*: a repetition of more than [`FEW`] times contains another such repetition or an
//! alternation. *Overlap*: two such repetitions in sequence can match the same character, and the
//! first can also match the text between them. *Repetition*: shorter repetitions, and alternatives
//! with a common beginning, may do both as long as one text can be matched in at most [`MAX_WAYS`]
//! ways.

mod characters;
mod ordinary;
mod overlap;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex_syntax::ast::{self, Ast, RepetitionKind, RepetitionRange};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Hir, HirKind};

use self::ordinary::Found;
use self::overlap::Ways;

/// The most characters of a pattern with all repetitions written out.
const MAX_SIZE: u64 = 10_000;
/// More repetitions than this count as endless.
const FEW: u32 = 10;
/// The most ways in which a pattern may match one text.
const MAX_WAYS: u64 = 1000;
/// How many checked patterns are cached. A document has at most 2,000.
const MAX_KEPT: usize = 8192;

/// The result of checking a pattern. Each pattern is checked once, and compiled only for that.
type CheckResult = Arc<Result<Found, String>>;

static KEPT: LazyLock<Mutex<HashMap<String, CheckResult>>> = LazyLock::new(Mutex::default);

/// Refuses a pattern that could take too long or cannot be checked. This may take some 10 ms, so do
/// not call it on asynchronous threads.
///
/// # Errors
///
/// The problem with the pattern, and how to solve it.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    checked(pattern)
        .as_ref()
        .as_ref()
        .map(drop)
        .map_err(String::clone)
}

/// Whether the pattern matches the user agents of most browsers. A refused pattern does not.
pub(super) fn finds_most_browsers(pattern: &str) -> bool {
    matches!(
        *checked(pattern),
        Ok(Found {
            most_browsers: true,
            ..
        })
    )
}

/// A part of an ordinary request that the pattern matches, if there is one. A refused pattern
/// matches none.
pub(super) fn ordinary_request(pattern: &str) -> Option<&'static str> {
    checked(pattern).as_ref().as_ref().ok()?.request
}

fn checked(pattern: &str) -> CheckResult {
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept().get(pattern) {
        return Arc::clone(known);
    }
    let result = Arc::new(examine(pattern));
    let mut kept = kept();
    // Clear the cache instead of searching for the oldest entry: another check is cheap.
    if kept.len() >= MAX_KEPT {
        kept.clear();
    }
    kept.insert(pattern.to_owned(), Arc::clone(&result));
    result
}

fn examine(pattern: &str) -> Result<Found, String> {
    if pattern.chars().any(char::is_control) {
        return Err("holds a control character; write it as an escape, such as \\t".to_owned());
    }
    let cannot = |why: String| {
        format!("cannot be checked: {why}; write it without look-around and back references")
    };
    let ast = ast::parse::Parser::new()
        .parse(pattern)
        .map_err(|error| cannot(error.kind().to_string()))?;
    // Guards ignore case.
    let mut translator = TranslatorBuilder::new().case_insensitive(true).build();
    let hir = translator
        .translate(pattern, &ast)
        .map_err(|error| cannot(error.kind().to_string()))?;
    let size = size(&hir);
    if size > MAX_SIZE {
        return Err(format!(
            "is too large: with all repetitions written out, it has {size} characters; {MAX_SIZE} at most, so repeat fewer times"
        ));
    }
    if is_nested(&ast, false) {
        return Err("could take forever on some texts: an endless repetition contains another repetition or an alternation; write it without nesting".to_owned());
    }
    if has_twins(&ast, pattern) {
        return Err("could take forever on some texts: its alternatives are all the same, as in (a|a); keep one of them".to_owned());
    }
    let Ok(ways) = Ways::of(&hir) else {
        return Err("could take forever on some texts: two endless repetitions can match the same text in many ways, as in .*a.*b; exclude the text between them from the first, as in [^a]*a.*b, or remove one".to_owned());
    };
    if ways.certain > MAX_WAYS {
        return Err(format!(
            "could take very long on some texts: its repetitions and alternatives can match the same text in more than {MAX_WAYS} ways; repeat fewer times, remove one, or exclude the text between two repetitions from the first"
        ));
    }
    Found::by(&hir).ok_or_else(|| "is too large when compiled; write a shorter one".to_owned())
}

/// The number of characters with all repetitions written out.
fn size(hir: &Hir) -> u64 {
    let sum = |parts: &[Hir]| parts.iter().map(size).fold(0, u64::saturating_add);
    match hir.kind() {
        HirKind::Empty => 0,
        HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Capture(capture) => size(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            size(&repetition.sub).saturating_mul(times.into())
        }
    }
}

fn is_nested(ast: &Ast, is_repeated: bool) -> bool {
    match ast {
        Ast::Repetition(repetition) => {
            let (varies, is_endless) = match &repetition.op.kind {
                RepetitionKind::ZeroOrOne => (true, false),
                RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => (true, true),
                RepetitionKind::Range(range) => match range {
                    RepetitionRange::Exactly(times) => (false, *times > FEW),
                    RepetitionRange::AtLeast(_) => (true, true),
                    RepetitionRange::Bounded(least, most) => (least != most, *most > FEW),
                },
            };
            (is_repeated && varies) || is_nested(&repetition.ast, is_repeated || is_endless)
        }
        Ast::Group(group) => is_nested(&group.ast, is_repeated),
        Ast::Alternation(alternation) => {
            is_repeated || alternation.asts.iter().any(|ast| is_nested(ast, false))
        }
        Ast::Concat(concat) => concat.asts.iter().any(|ast| is_nested(ast, is_repeated)),
        _ => false,
    }
}

/// Whether an alternation has only equal alternatives. The translation to HIR would merge them.
fn has_twins(ast: &Ast, pattern: &str) -> bool {
    match ast {
        Ast::Repetition(repetition) => has_twins(&repetition.ast, pattern),
        Ast::Group(group) => has_twins(&group.ast, pattern),
        Ast::Concat(concat) => concat.asts.iter().any(|ast| has_twins(ast, pattern)),
        Ast::Alternation(alternation) => {
            let mut texts = alternation.asts.iter().map(|ast| {
                let span = ast.span();
                &pattern[span.start.offset..span.end.offset]
            });
            let first = texts.next();
            texts.all(|text| Some(text) == first)
                || alternation.asts.iter().any(|ast| has_twins(ast, pattern))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_a_backtracking_engine_handles_are_accepted() {
        for pattern in [
            "sqlmap",
            "(?i)union\\s+select",
            "a|b",
            "(ab)+",
            "[a-z]{2,8}x",
            "^curl/.*$",
            "\\w+@\\w+\\.\\w+",
            "<script[^>]*>.*</script>",
            "[^/]+/[^/]+/[^/]+z",
            "(\\d{1,3}\\.){3}\\d{1,3}",
            "a.*b|c.*d",
            "x*y*z*",
            "a+,?b+",
            "\\d{1,3}(?:\\.\\d{1,3}){3}",
            "(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
            "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
            "\\+?\\d{1,3}[-. ]?\\(?\\d{1,3}\\)?[-. ]?\\d{1,4}[-. ]?\\d{1,4}",
            "(?:(?:%2e|\\.){2}(?:%2f|%5c|[/\\\\])){2,10}",
            "\\b(?:select|insert|update|delete|drop)\\b.{0,20}\\b(?:from|into|table)\\b",
            ".*https?://(?:www\\.)?colou?rs?\\.example",
            r"union\s+\w{1,30}\s+from",
            r"\w+\W+\w+;",
            r"\d+\D+\d+",
            "[а-я]+[a-z]+[^а-яa-z]+",
            "(?:python-requests|python-urllib|curl|wget|libwww|go-http-client)/?[\\d.]*",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_is_large_when_written_out_is_refused_even_if_short() {
        for pattern in [
            "a{4000000000}",
            "((a{1000}){1000}){1000}",
            r"\w{20000}",
            "((((a{99}){99}){99}){99}){99}",
            "(?:abc){4000}",
            "[^/]{20000,}",
        ] {
            let why = check(pattern).expect_err(pattern);
            assert!(why.contains("too large"), "{pattern}: {why}");
            assert!(!finds_most_browsers(pattern) && ordinary_request(pattern).is_none());
        }
        for pattern in [r"\w{9999}", "[^/]{4096,}", "a{1000}", ".{0,2000}x"] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_checked_once() {
        let pattern = "checked-once";
        assert!(Arc::ptr_eq(&checked(pattern), &checked(pattern)));
    }

    #[test]
    fn the_cache_of_patterns_is_limited() {
        for n in 0..MAX_KEPT + 10 {
            check(&format!("kept-{n}")).unwrap();
        }
        assert!(KEPT.lock().unwrap().len() <= MAX_KEPT);
    }

    #[test]
    fn nested_repetitions_and_patterns_that_cannot_be_checked_are_refused() {
        for pattern in [
            "(a+)+",
            "(a*)*b",
            "(a|aa)+$",
            "(x+x+)+y",
            "(a?){50}",
            "(a{1,9})*",
            "x(a|a){9}y",
            "([ab]|[ab])",
            "a\tb",
            "(?=a)b",
            "(a)\\1",
            "(",
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn few_repetitions_with_many_ways_are_refused() {
        let row = format!("^{}b", "a{0,10}".repeat(9));
        for pattern in [
            "(a{0,10}){0,10}b",
            "(?:x{1,10}){1,10}y",
            "((a?){10}){10}b",
            "(a|a?){10}(a|a?){10}(a|a?){10}z",
            &row,
            "(?:a?b?c?){9}d",
            "(?:a{1,3}b?){9}c",
            ".*a{0,9}a{0,9}a{0,9}b",
            "x|y(?:(?:a|ab)(?:c|bc)){10}z",
        ] {
            let why = check(pattern).expect_err(pattern);
            assert!(why.contains("repeat fewer times"), "{pattern}: {why}");
        }
    }

    #[test]
    fn repetitions_that_can_match_the_same_text_are_refused() {
        for pattern in [
            ".*.*x",
            ".*a.*b",
            "a*a*b",
            "a*A+b",
            "\\d+\\d+x",
            "\\d+[.,]?\\d+x",
            "[a-z]+[0-9]*[a-z]+x",
            "select\\s+.*from",
            "(ab)+(ab)+c",
            "(a+){3}b",
            "(\\d+,?){2,4}x",
            "(a+b?)?a+c",
            "b|(c.*).*d",
            ".{1,200}.{1,200}x",
            "a+(b|a)a+c",
            "[а-я]+ж+x",
        ] {
            let why = check(pattern).expect_err(pattern);
            assert!(why.contains("match the same text"), "{pattern}: {why}");
        }
    }
}
