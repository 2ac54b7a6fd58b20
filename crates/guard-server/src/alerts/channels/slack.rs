//! An incoming webhook of Slack: blocks of plain text, so that nothing in it is markup.
//!
//! Limits: 150 characters in a header, 3,000 in the text of a section, 2,000 in a field, 10 fields
//! (<https://docs.slack.dev/reference/block-kit/blocks/section-block>). Slack reads `&`, `<` and `>` as
//! control characters in every text (<https://docs.slack.dev/messaging/formatting-message-text>); a
//! mention such as `<!channel>` begins with one.

use serde_json::{Value, json};

use super::words::{Words, cut, escaped};

const MAX_HEADER: usize = 150;
const MAX_FIELD: usize = 2000;

pub(super) fn body(words: &Words) -> Value {
    let fields = words.facts.iter().map(|fact| {
        let text = format!("{}\n{}", fact.name, escaped(&fact.value));
        plain(&cut(&text, MAX_FIELD))
    });
    let mut blocks = vec![
        json!({ "type": "header", "text": plain(&cut(&escaped(&words.title), MAX_HEADER)) }),
        json!({ "type": "section", "text": plain(&escaped(&words.summary)) }),
        json!({ "type": "section", "fields": fields.collect::<Vec<_>>() }),
    ];
    blocks.extend(words.links.iter().map(|link| {
        let text = format!("<{}|{}>", escaped(&link.url), link.label);
        let text = json!({ "type": "mrkdwn", "text": text, "verbatim": true });
        json!({ "type": "section", "text": text })
    }));
    json!({
        // Shown in the list of messages, and on phones.
        "text": escaped(&format!("{}. {}", words.title, words.summary)),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}
