//! Text from others, made safe to show on a page, in a terminal or in a log: none of its characters
//! can hide, move or break the text beside it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `text` with such characters as escapes: `
/// `, `\u{202e}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_unruly, |escaped, character| {
        escaped.extend(character.escape_default());
    })
}

/// Returns `json` with such characters as JSON escapes, `\u202e`. The meaning stays the same. White
/// space between the parts stays.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |character| is_unruly(character) && !matches!(character, '\n' | '\r' | '\t');
    escaped(json, is_escaped, |escaped, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    })
}

fn escaped(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_escaped(character) {
            escape(&mut escaped, character);
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL and C1), line separators, and characters that change the text
/// direction.
const fn is_unruly(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// The first characters of an agent's text, without those that control a terminal.
pub(crate) fn shortened(text: &str, len: usize) -> String {
    let visible = text.chars().filter(|character| !character.is_control());
    visible.take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_the_terminal_or_text_direction_are_escaped() {
        for (text, expected) in [
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\u{1b}[2J\u{7f}", r"\u{1b}[2J\u{7f}"),
            ("\u{9b}2J\u{85}", r"\u{9b}2J\u{85}"),
            ("\u{202e}gpj.exe", r"\u{202e}gpj.exe"),
            (
                "\u{2067}a\u{2069}\u{200f}\u{61c}",
                r"\u{2067}a\u{2069}\u{200f}\u{61c}",
            ),
            ("\u{2028}\u{feff}", r"\u{2028}\u{feff}"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn text_of_every_language_stays_unchanged() {
        let text = "/café?q='x' \\ שלום مرحبا 日本 \u{1f469}\u{200d}\u{1f4bb}";
        assert_eq!(visible(text), text);
        assert_eq!(visible_json(text), text);
    }

    #[test]
    fn escaped_json_keeps_its_meaning() {
        let json = "{\n\t\"a\": \"\u{202e}\u{9b}\u{7f}\"\n}";
        let shown = visible_json(json);
        assert_eq!(shown, "{\n\t\"a\": \"\\u202e\\u009b\\u007f\"\n}");
        let parsed = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parsed(&shown), parsed(json));
    }
}
