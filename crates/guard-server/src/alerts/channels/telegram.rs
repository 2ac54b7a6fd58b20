//! A bot of Telegram. Values from others stand in code, in which nothing is a link or a mention.
//!
//! Limit: 4,096 characters without the markup (<https://core.telegram.org/bots/api#sendmessage>).

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{AlertError, Channel};
use super::words::{Link, Words, escaped};
use crate::outbound::{Post, TargetUrl};

/// Where bots are served.
const API: &str = "https://api.telegram.org";

pub(super) fn request(channel: &Channel, words: &Words) -> Result<Post, AlertError> {
    check(channel)?;
    let token = channel.secret.as_ref().map_or("", |token| token.expose());
    let url = TargetUrl::parse(&format!("{API}/bot{token}/sendMessage"))
        .map_err(|error| AlertError::channel("secret", error.to_string()))?;
    let body = json!({
        "chat_id": channel.target.expose(),
        "text": text(words),
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
    });
    Ok(Post::json(url, &body))
}

fn text(words: &Words) -> String {
    let code = |text: &str| format!("<code>{}</code>", escaped(text));
    let mut lines = vec![
        format!("<b>{}</b>", escaped(&words.title)),
        code(&words.summary),
    ];
    lines.extend(
        words
            .facts
            .iter()
            .map(|it| format!("{}: {}", it.name, code(&it.value))),
    );
    lines.extend(words.links.iter().map(link));
    lines.join("\n")
}

/// How long Telegram asks to wait. It says so in the body of its answer
/// (<https://core.telegram.org/bots/api#responseparameters>).
pub(super) fn retry_after(body: &str) -> Option<Duration> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let seconds = answer["parameters"]["retry_after"].as_u64();
    seconds.map(Duration::from_secs)
}

/// A link in HTML.
pub(super) fn link(link: &Link) -> String {
    let url = escaped(&link.url).replace('"', "&quot;");
    format!("<a href=\"{url}\">{}</a>", link.label)
}

/// Checks the chat and the token of the bot.
pub(super) fn check(channel: &Channel) -> Result<(), AlertError> {
    let chat = channel.target.expose();
    let name = chat.strip_prefix('@').unwrap_or_default();
    let number = chat.strip_prefix('-').unwrap_or(chat);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_chat = (1..=32).contains(&name.len()) && name.bytes().all(is_word)
        || (1..=20).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_chat {
        return Err(AlertError::channel(
            "to",
            "give the number of a chat such as -1001234567890, or the @name of a channel",
        ));
    }
    let token = channel.secret.as_ref().map_or("", |token| token.expose());
    let (bot, key) = token.split_once(':').unwrap_or_default();
    let is_token = !bot.is_empty()
        && bot.bytes().all(|byte| byte.is_ascii_digit())
        && key.len() >= 20
        && key.bytes().all(|byte| is_word(byte) || byte == b'-');
    if !is_token {
        return Err(AlertError::channel(
            "secret",
            "give the token of the bot, as @BotFather shows it: digits, a colon, and 35 characters",
        ));
    }
    Ok(())
}
