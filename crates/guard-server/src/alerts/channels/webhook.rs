//! A signed webhook: the notification as JSON, with its signature in a header. The receiver can check
//! that this server sent it, when, and that it did not get it before.

use guard_wire::sign::sign;
use hyper::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::json;

use super::super::{AlertError, Channel, Notification};
use super::url;
use crate::outbound::Post;

/// The notification's id: the same in each attempt to deliver it.
pub const ID_HEADER: &str = "x-guard-id";
/// When the request was sent, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "x-guard-timestamp";
/// `v1=` and the hexadecimal HMAC-SHA256 of the timestamp, a full stop and the body.
pub const SIGNATURE_HEADER: &str = "x-guard-signature";

pub(super) fn request(
    channel: &Channel,
    notification: &Notification,
    now: Timestamp,
) -> Result<Post, AlertError> {
    let post = Post::json(url(channel)?, &json!(notification));
    let timestamp = now.as_second().to_string();
    let signature = channel.secret.as_ref().and_then(|secret| {
        let signed = [&timestamp, ".", &post.body].concat();
        sign(signed.as_bytes(), secret.expose())
    });
    let headers = [
        (ID_HEADER, Some(notification.id.clone())),
        (TIMESTAMP_HEADER, Some(timestamp)),
        (SIGNATURE_HEADER, signature),
    ];
    let headers = headers.into_iter().filter_map(|(name, value)| {
        Some((
            HeaderName::from_static(name),
            HeaderValue::try_from(value?).ok()?,
        ))
    });
    Ok(headers.fold(post, |post, (name, value)| post.header(name, value)))
}
