//! A topic of ntfy, on ntfy.sh or another server. The message is plain text.
//!
//! Limits: 4,096 bytes in a message, and twice as many in the whole request. A longer message becomes
//! an attachment (<https://docs.ntfy.sh/publish/#limitations>).

use hyper::header::{AUTHORIZATION, HeaderValue};
use serde_json::json;

use super::super::{AlertError, Channel};
use super::url;
use super::words::{Tone, Words, cut_bytes};
use crate::outbound::{Post, TargetUrl};

/// Less than the limit, to leave room for two long links in the whole request.
const MAX_MESSAGE: usize = 2800;
/// The longest name of a topic.
const MAX_TOPIC: usize = 64;

pub(super) fn request(channel: &Channel, words: &Words) -> Result<Post, AlertError> {
    let url = url(channel)?;
    let (server, topic) = topic(&url)?;
    let (priority, tag) = match words.tone {
        Tone::Alarm => (4, "rotating_light"),
        Tone::Calm => (3, "white_check_mark"),
        Tone::Test => (3, "bell"),
    };
    let facts = words
        .facts
        .iter()
        .map(|it| format!("{}: {}", it.name, it.value));
    let lines: Vec<_> = [words.summary.clone()].into_iter().chain(facts).collect();
    let mut links = words.links.iter();
    let click = links.next().map(|link| &link.url);
    let actions =
        links.map(|link| json!({ "action": "view", "label": link.label, "url": link.url }));
    let body = json!({
        "topic": topic,
        "title": words.title,
        "message": cut_bytes(&lines.join("\n"), MAX_MESSAGE),
        "priority": priority,
        "tags": [tag],
        "click": click,
        "actions": actions.collect::<Vec<_>>(),
    });
    let post = Post::json(server, &body);
    let Some(token) = &channel.secret else {
        return Ok(post);
    };
    let mut token = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|_| AlertError::channel("secret", "give a token of visible ASCII characters"))?;
    token.set_sensitive(true);
    Ok(post.header(AUTHORIZATION, token))
}

/// The URL of the server, and the topic: the last part of the path.
pub(super) fn topic(url: &TargetUrl) -> Result<(TargetUrl, String), AlertError> {
    let mut segments = url.segments();
    let topic = segments.pop().unwrap_or_default().to_owned();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=MAX_TOPIC).contains(&topic.len()) || !topic.bytes().all(is_plain) {
        return Err(AlertError::channel(
            "url",
            "give the URL of a topic such as https://ntfy.sh/my-alerts: letters, digits, - and _",
        ));
    }
    let server = url.with_path(&segments.join("/"));
    Ok((server, topic))
}
