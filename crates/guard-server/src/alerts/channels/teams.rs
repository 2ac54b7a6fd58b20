//! A workflow of Microsoft Teams ("Post to a channel when a webhook request is received"): an adaptive
//! card. The texts are runs of a RichTextBlock, in which Markdown is no markup, unlike in a TextBlock
//! or a fact (<https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format>).
//!
//! Limit: 28 KB for a message (<https://learn.microsoft.com/connectors/teams/>).

use serde_json::{Value, json};

use super::words::{Tone, Words};

pub(super) fn body(words: &Words) -> Value {
    let color = match words.tone {
        Tone::Alarm => "Attention",
        Tone::Calm => "Good",
        Tone::Test => "Default",
    };
    let mut body = vec![
        rich(&[json!({
            "type": "TextRun",
            "text": words.title,
            "size": "Large",
            "weight": "Bolder",
            "color": color,
        })]),
        rich(&[run(&words.summary)]),
    ];
    body.extend(words.facts.iter().map(|fact| {
        let name = format!("{}: ", fact.name);
        rich(&[
            json!({ "type": "TextRun", "text": name, "weight": "Bolder" }),
            run(&fact.value),
        ])
    }));
    let actions = words
        .links
        .iter()
        .map(|link| json!({ "type": "Action.OpenUrl", "title": link.label, "url": link.url }));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions.collect::<Vec<_>>(),
                "msteams": { "width": "Full" },
            },
        }],
    })
}

fn rich(inlines: &[Value]) -> Value {
    json!({ "type": "RichTextBlock", "inlines": inlines })
}

fn run(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text })
}
