//! A mail: text, and the same as simple HTML.

use lettre::Address;

use super::super::{AlertError, Channel, Notification};
use super::telegram::link;
use super::words::{Fact, Words, escaped};
use crate::outbound::Mail;

/// The most addresses of a channel.
const MAX_ADDRESSES: usize = 20;

pub(super) fn mail(channel: &Channel, notification: &Notification) -> Result<Mail, AlertError> {
    let words = Words::of(notification);
    Ok(Mail {
        id: notification.id.clone(),
        thread: format!(
            "{}-{}",
            notification.alert_id,
            notification.since.as_second()
        ),
        to: addresses(channel)?,
        subject: format!("[Guard] {}", words.title),
        text: text(&words),
        html: html(&words),
        at: notification.at,
    })
}

fn text(words: &Words) -> String {
    let mut lines = vec![words.summary.clone(), String::new()];
    lines.extend(
        words
            .facts
            .iter()
            .map(|it| format!("{}: {}", it.name, it.value)),
    );
    lines.push(String::new());
    lines.extend(
        words
            .links
            .iter()
            .map(|it| format!("{}:\n{}", it.label, it.url)),
    );
    lines.join("\n")
}

fn html(words: &Words) -> String {
    let row = |it: &Fact| {
        let value = escaped(&it.value);
        format!(
            "<tr><th align=\"left\">{}</th><td>{value}</td></tr>",
            it.name
        )
    };
    let rows: String = words.facts.iter().map(row).collect();
    let links: Vec<_> = words.links.iter().map(link).collect();
    format!(
        "<!doctype html><html><body><h3>{}</h3><p>{}</p><table>{rows}</table><p>{}</p></body></html>",
        escaped(&words.title),
        escaped(&words.summary),
        links.join("<br>"),
    )
}

/// The addresses of a channel.
pub(super) fn addresses(channel: &Channel) -> Result<Vec<Address>, AlertError> {
    let problem = |problem: String| AlertError::channel("to", problem);
    let texts: Vec<_> = channel.target.expose().split(',').map(str::trim).collect();
    if texts.len() > MAX_ADDRESSES {
        return Err(problem(format!("give at most {MAX_ADDRESSES} addresses")));
    }
    let address = |text: &&str| text.parse().ok().filter(|_| text.is_ascii());
    let addresses: Option<Vec<Address>> = texts.iter().map(address).collect();
    addresses.ok_or_else(|| {
        problem("give mail addresses such as ops@example.com, separated by commas".to_owned())
    })
}
