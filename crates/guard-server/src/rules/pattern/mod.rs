//! What a regular expression could do: take a backtracking engine, as Python's is,
//! forever, or be found in everything. A conservative reading: what cannot be
//! judged is refused.

mod ways;

use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::util::syntax;
use regex_syntax::ast::{self, Ast, RepetitionKind, RepetitionRange};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition};

use self::ways::Ways;

/// More repetitions than this are as bad as endless ones.
const FEW: u32 = 10;
/// In more ways than this no pattern may match one text.
const MAX_WAYS: u64 = 1000;
/// User agents that have little in common but that they are browsers.
const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
];
/// The shortest of all paths, and one that is longer.
const REQUESTS: [&str; 2] = ["/", "/a/path"];

/// Refuses repetitions of what itself can match in several ways, repetitions one
/// behind the other that can share a text in several ways, and few of either
/// that come to more than a thousand ways.
///
/// # Errors
///
/// What is wrong with the pattern, and what to do.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if pattern.chars().any(char::is_control) {
        return Err("holds a control character; write it as an escape, such as \\t".to_owned());
    }
    let cannot = |why: String| {
        format!("cannot be judged: {why}; write it without look-around and back references")
    };
    let ast = ast::parse::Parser::new()
        .parse(pattern)
        .map_err(|error| cannot(error.kind().to_string()))?;
    if is_nested(&ast, false) {
        return Err("could take forever on some texts: a repetition without end holds another repetition or an alternation; write it without nesting".to_owned());
    }
    if has_twins(&ast, pattern) {
        return Err("could take forever on some texts: its alternatives are all the same, as in (a|a); write one of them".to_owned());
    }
    // Guards look in any case.
    let mut translator = TranslatorBuilder::new().case_insensitive(true).build();
    let hir = translator
        .translate(pattern, &ast)
        .map_err(|error| cannot(error.kind().to_string()))?;
    if shares(&hir) {
        return Err("could take forever on some texts: two repetitions without end can share a text in many ways, as in .*a.*b; have what stands between them be something that the first cannot match, as in [^a]*a.*b, or leave one out".to_owned());
    }
    if Ways::of(&hir).all() > MAX_WAYS {
        return Err(format!(
            "could take very long on some texts: its repetitions and alternatives can share a text in more than {MAX_WAYS} ways; repeat fewer times, leave one out, or have what stands between them be something that the first cannot match"
        ));
    }
    Ok(())
}

/// Whether it is found in the user agents of all browsers.
pub(super) fn finds_every_browser(pattern: &str) -> bool {
    finds_all(pattern, &BROWSERS)
}

/// Whether it is found in the path of every request.
pub(super) fn finds_every_request(pattern: &str) -> bool {
    finds_all(pattern, &REQUESTS)
}

fn finds_all(pattern: &str, texts: &[&str]) -> bool {
    let syntax = syntax::Config::new().case_insensitive(true);
    let Ok(engine) = PikeVM::builder().syntax(syntax).build(pattern) else {
        return false;
    };
    let mut cache = engine.create_cache();
    texts.iter().all(|text| engine.is_match(&mut cache, *text))
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

/// Whether all alternatives somewhere are written the same, which the translation
/// would make one of.
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

/// A part of what stands one behind the other.
struct Piece<'h> {
    hir: &'h Hir,
    is_optional: bool,
}

/// Whether two repetitions without end, one behind the other, can share a text in
/// many ways: both match it, and the first matches what stands between them too.
/// Alternatives are each judged on their own.
fn shares(hir: &Hir) -> bool {
    let mut pieces = Vec::new();
    flatten(hir, false, &mut pieces);
    let is_shared_within = |piece: &Piece<'_>| match piece.hir.kind() {
        HirKind::Alternation(alternatives) => alternatives.iter().any(shares),
        _ => false,
    };
    pieces.iter().any(is_shared_within)
        || (0..pieces.len()).any(|at| is_shared_by_later(&pieces[at..]))
}

fn flatten<'h>(hir: &'h Hir, is_optional: bool, pieces: &mut Vec<Piece<'h>>) {
    match hir.kind() {
        HirKind::Concat(parts) => {
            for part in parts {
                flatten(part, is_optional, pieces);
            }
        }
        HirKind::Capture(capture) => flatten(&capture.sub, is_optional, pieces),
        HirKind::Repetition(repetition) if !is_endless(repetition) => {
            let is_optional = is_optional || repetition.min == 0;
            // What stands behind itself once more shares with itself.
            for _ in 0..repetition.max.unwrap_or(0).min(2) {
                flatten(&repetition.sub, is_optional, pieces);
            }
        }
        _ => pieces.push(Piece { hir, is_optional }),
    }
}

fn is_shared_by_later(pieces: &[Piece<'_>]) -> bool {
    let Some((first, later)) = pieces.split_first() else {
        return false;
    };
    let HirKind::Repetition(first) = first.hir.kind() else {
        return false;
    };
    let matched = characters(&first.sub);
    for piece in later {
        if let HirKind::Repetition(other) = piece.hir.kind()
            && have_common(&matched, &characters(&other.sub))
        {
            return true;
        }
        if !piece.is_optional && !can_be_within(piece.hir, &matched) {
            return false;
        }
    }
    false
}

const fn is_endless(repetition: &Repetition) -> bool {
    match repetition.max {
        None => true,
        Some(most) => most > FEW && most != repetition.min,
    }
}

/// Whether it could match a text of these characters, or nothing.
fn can_be_within(piece: &Hir, matched: &ClassUnicode) -> bool {
    match piece.kind() {
        HirKind::Alternation(parts) => parts.iter().any(|part| can_be_within(part, matched)),
        HirKind::Concat(parts) => parts.iter().all(|part| can_be_within(part, matched)),
        HirKind::Capture(capture) => can_be_within(&capture.sub, matched),
        HirKind::Repetition(repetition) => {
            repetition.min == 0 || can_be_within(&repetition.sub, matched)
        }
        HirKind::Class(_) => have_common(matched, &characters(piece)),
        HirKind::Literal(_) => {
            let own = characters(piece);
            let mut common = own.clone();
            common.intersect(matched);
            common == own
        }
        HirKind::Empty | HirKind::Look(_) => true,
    }
}

fn have_common(one: &ClassUnicode, other: &ClassUnicode) -> bool {
    let mut common = one.clone();
    common.intersect(other);
    !common.ranges().is_empty()
}

fn class_of(characters: impl IntoIterator<Item = char>) -> ClassUnicode {
    ClassUnicode::new(
        characters
            .into_iter()
            .map(|it| ClassUnicodeRange::new(it, it)),
    )
}

/// All characters that may stand in what it matches.
fn characters(hir: &Hir) -> ClassUnicode {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0);
            class_of(text.chars())
        }
        HirKind::Class(Class::Unicode(class)) => class.clone(),
        HirKind::Class(Class::Bytes(class)) => {
            class.to_unicode_class().unwrap_or_else(ClassUnicode::empty)
        }
        HirKind::Repetition(repetition) => characters(&repetition.sub),
        HirKind::Capture(capture) => characters(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            let mut all = ClassUnicode::empty();
            for part in parts {
                all.union(&characters(part));
            }
            all
        }
        HirKind::Empty | HirKind::Look(_) => ClassUnicode::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_a_backtracking_engine_handles_are_taken() {
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
            "(?:python-requests|python-urllib|curl|wget|libwww|go-http-client)/?[\\d.]*",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn nested_repetitions_and_what_cannot_be_judged_are_refused() {
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
    fn few_repetitions_that_come_to_many_ways_are_refused() {
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
    fn repetitions_that_can_share_a_text_are_refused() {
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
        ] {
            let why = check(pattern).expect_err(pattern);
            assert!(why.contains("share a text"), "{pattern}: {why}");
        }
    }
}
