//! A webhook of Discord: one embed. Values from others stand in code, in which nothing is markup or a
//! link, and the message may mention nobody.
//!
//! Limits: 256 characters in a title, 4,096 in a description, 1,024 in the value of a field, 25 fields,
//! 6,000 together (<https://discord.com/developers/docs/resources/message#embed-object-embed-limits>).

use serde_json::{Value, json};

use super::words::{Link, Tone, Words, cut};

const MAX_TITLE: usize = 256;
/// Leaves room for the fields. A link that does not fit is left out.
const MAX_DESCRIPTION: usize = 3500;
const RED: u32 = 0xd1_3c_3c;
const GREEN: u32 = 0x2e_8b_57;
const GREY: u32 = 0x80_80_80;

pub(super) fn body(words: &Words) -> Value {
    let color = match words.tone {
        Tone::Alarm => RED,
        Tone::Calm => GREEN,
        Tone::Test => GREY,
    };
    let link = |link: &Link| format!("[{}](<{}>)", link.label, link.url);
    let mut description = code(&words.summary);
    for link in words.links.iter().map(link) {
        if description.len() + link.len() < MAX_DESCRIPTION {
            description = [&description, "\n", &link].concat();
        }
    }
    let fields = words.facts.iter().map(|fact| {
        let is_short = !fact.value.contains(", ");
        json!({ "name": fact.name, "value": code(&fact.value), "inline": is_short })
    });
    json!({
        "embeds": [{
            "title": cut(&unmarked(&words.title), MAX_TITLE),
            "description": description,
            "color": color,
            "fields": fields.collect::<Vec<_>>(),
        }],
        "allowed_mentions": { "parse": [] },
    })
}

/// As code. A backtick would end it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

/// With a backslash before each character that begins markup.
fn unmarked(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\*_~`|>#-[]()<@:".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}
