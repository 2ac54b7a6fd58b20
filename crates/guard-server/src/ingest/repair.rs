//! Turns the JSON that Python writes into standard JSON.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Replaces the bare `NaN`, `Infinity` and `-Infinity` that Python's encoder writes, and numbers
/// beyond the range of a double, with `null`. Replaces unpaired surrogates with U+FFFD. Other
/// errors in the text stay.
///
/// Strict parsers find some of these errors only when they parse the record itself.
pub(crate) fn repair(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut repaired = String::new();
    let (mut copied, mut at) = (0, 0);
    let mut in_string = false;
    while let Some(&byte) = bytes.get(at) {
        let rest = &text.as_bytes()[at..];
        let replacement = match byte {
            b'"' => {
                in_string = !in_string;
                None
            }
            b'\\' if in_string => match escape(rest) {
                Escape::Kept(len) => {
                    at += len;
                    continue;
                }
                Escape::LoneSurrogate => Some((6, "\\ufffd")),
            },
            b'N' | b'I' | b'-' | b'0'..=b'9' if !in_string => match bare(&text[at..]) {
                Bare::Kept(len) => {
                    at += len;
                    continue;
                }
                Bare::NoDouble(len) => Some((len, "null")),
            },
            _ => None,
        };
        let Some((len, with)) = replacement else {
            at += 1;
            continue;
        };
        repaired.push_str(&text[copied..at]);
        repaired.push_str(with);
        at += len;
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(&text[copied..]);
    Cow::Owned(repaired)
}

/// A double can hold any number with fewer digits and no exponent.
const DIGITS_OF_DOUBLES: usize = 300;

enum Bare {
    /// This many bytes are valid, or are broken in another way.
    Kept(usize),
    /// This many bytes are a number beyond the range of a double.
    NoDouble(usize),
}

fn bare(rest: &str) -> Bare {
    for name in ["NaN", "Infinity", "-Infinity"] {
        if rest.starts_with(name) {
            return Bare::NoDouble(name.len());
        }
    }
    let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let len = rest.bytes().take_while(is_of_number).count();
    let number = &rest[..len];
    if len < DIGITS_OF_DOUBLES && !number.contains(['e', 'E']) {
        return Bare::Kept(len.max(1));
    }
    let is_json = || serde_json::from_str::<&RawValue>(number).is_ok();
    if serde_json::from_str::<f64>(number).is_err() && is_json() {
        return Bare::NoDouble(len);
    }
    Bare::Kept(len.max(1))
}

enum Escape {
    /// This many bytes are valid.
    Kept(usize),
    LoneSurrogate,
}

fn escape(rest: &[u8]) -> Escape {
    match code_unit(rest) {
        Some(0xD800..0xDC00) => match rest.get(6..).and_then(code_unit) {
            Some(0xDC00..0xE000) => Escape::Kept(12),
            _ => Escape::LoneSurrogate,
        },
        Some(0xDC00..0xE000) => Escape::LoneSurrogate,
        Some(_) => Escape::Kept(6),
        None => Escape::Kept(2),
    }
}

/// The code unit of a `\uXXXX` at the start.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bare_numbers_that_json_lacks_become_null() {
        assert_eq!(
            repair(r#"{"a": NaN, "b": [Infinity, -Infinity, -1], "c": "NaN"}"#),
            r#"{"a": null, "b": [null, null, -1], "c": "NaN"}"#
        );
    }

    #[test]
    fn numbers_beyond_the_range_of_a_double_become_null() {
        let long = "9".repeat(400);
        assert_eq!(
            repair(&format!(
                r#"{{"a": 1e400, "b": [-1.5E+999,{long},1e-400], "c": "1e400"}}"#
            )),
            r#"{"a": null, "b": [null,null,1e-400], "c": "1e400"}"#
        );
        for kept in [
            "1.7976931348623157e308",
            "0e999",
            "01e400",
            "1e400e",
            "1e",
            "-",
        ] {
            assert_eq!(repair(kept), kept);
        }
    }

    #[test]
    fn strings_keep_text_that_looks_like_such_a_number() {
        let text = r#"{"a \\": "\\\\", "NaN \" Infinity": "-Infinity é \n NaN"}"#;
        assert_eq!(repair(text), text);
    }

    #[test]
    fn surrogate_pairs_stay_and_unpaired_surrogates_are_replaced() {
        assert_eq!(repair(r#""\ud83d\ude00""#), r#""\ud83d\ude00""#);
        assert_eq!(repair(r#""\udc80 \ud83d!""#), r#""\ufffd \ufffd!""#);
        assert_eq!(repair(r#""\\ud800""#), r#""\\ud800""#);
    }

    proptest! {
        #[test]
        fn repaired_text_needs_no_further_repair(text in r#"[NaInfity\-"\\ud8c0é{}:,1e9 ]{0,40}"#) {
            let once = repair(&text).into_owned();
            prop_assert_eq!(repair(&once), once.as_str());
        }

        #[test]
        fn valid_json_stays_unchanged(value in "\\PC{0,40}") {
            let text = serde_json::json!({ "k": value, "n": -1.5 }).to_string();
            prop_assert_eq!(repair(&text), text.as_str());
        }
    }
}
