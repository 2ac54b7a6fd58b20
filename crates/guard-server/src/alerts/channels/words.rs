//! The text of a notification, the same for every service that people read.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::Notification;
use super::super::notification::{NotificationState, TopEntry};
use crate::visible::visible;

/// The longest title, summary and value, in UTF-16 units as most services count. All of them together
/// fit into the smallest limit of a service.
const MAX_TITLE: usize = 140;
const MAX_SUMMARY: usize = 400;
const MAX_VALUE: usize = 120;
/// A longer link is left out: services refuse the message, or cut it to another link.
const MAX_LINK: usize = 2300;
/// Ends a text that was cut.
const CUT: char = '…';

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something starts or continues.
    Alarm,
    /// It is over.
    Calm,
    /// Only a test.
    Test,
}

/// A name and its value, such as `Count` and `1,204`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// A label and a full URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) label: &'static str,
    pub(super) url: String,
}

/// A notification in words. All texts are on one line, and have no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) tone: Tone,
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) facts: Vec<Fact>,
    pub(super) links: Vec<Link>,
}

impl Words {
    pub(super) fn of(notification: &Notification) -> Self {
        let (tone, state) = match notification.state {
            _ if notification.test => (Tone::Test, "Test"),
            NotificationState::Started => (Tone::Alarm, "Alert"),
            NotificationState::Ongoing => (Tone::Alarm, "Ongoing"),
            NotificationState::Ended => (Tone::Calm, "Ended"),
        };
        let title = format!("{state}: {} ({})", notification.alert, notification.project);
        Self {
            tone,
            title: cut(&visible(&title), MAX_TITLE),
            summary: cut(&visible(&notification.summary), MAX_SUMMARY),
            facts: facts(notification),
            links: links(notification),
        }
    }
}

fn facts(notification: &Notification) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name, value: &str| {
        let value = cut(&visible(value), MAX_VALUE);
        facts.push(Fact { name, value });
    };
    if let Some(group) = &notification.group {
        let value = group.value.as_deref().unwrap_or("all others");
        add("Group", &format!("{}: {value}", group.field));
    }
    add("Since", &since(notification));
    if notification.count > 0 {
        add("Count", &grouped(notification.count));
    }
    add_top(&mut facts, "Addresses", &notification.top_addresses);
    add_top(&mut facts, "Endpoints", &notification.top_endpoints);
    facts
}

fn add_top(facts: &mut Vec<Fact>, name: &'static str, entries: &[TopEntry]) {
    let shown = |entry: &TopEntry| {
        let value = cut(&visible(&entry.value), MAX_VALUE);
        format!("{value} ({})", grouped(entry.count))
    };
    let values: Vec<_> = entries.iter().map(shown).collect();
    if !values.is_empty() {
        let value = values.join(", ");
        facts.push(Fact { name, value });
    }
}

/// `2026-11-30 17:20:05 UTC, for 12 min`.
fn since(notification: &Notification) -> String {
    let Notification { since, at, .. } = *notification;
    let minutes = at.duration_since(since).as_mins();
    let mut text = utc(since);
    let (days, hours) = (minutes / 1440, minutes / 60);
    // Writing to a string cannot fail.
    let _ = match (days, hours, minutes) {
        (_, _, ..=0) => Ok(()),
        (0, 0, minutes) => write!(text, ", for {minutes} min"),
        (0, hours, _) => write!(text, ", for {hours} h"),
        (days, _, _) => write!(text, ", for {days} d"),
    };
    text
}

fn utc(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC);
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// With thousands separators.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The links that a service can show: full URLs.
fn links(notification: &Notification) -> Vec<Link> {
    let view = Some(notification.links.view.as_str());
    let ban = notification.links.ban.as_deref();
    let links = [("Open in Guard", view), ("Ban these addresses", ban)];
    let usable = |url: &&str| url.starts_with("http") && url.len() <= MAX_LINK;
    let link = |(label, url): (&'static str, Option<&str>)| {
        let url = url.filter(usable)?.to_owned();
        Some(Link { label, url })
    };
    links.into_iter().filter_map(link).collect()
}

/// The first `limit` UTF-16 units of a text.
pub(super) fn cut(text: &str, limit: usize) -> String {
    shortened(text, limit, char::len_utf16)
}

/// The first `limit` bytes of a text.
pub(super) fn cut_bytes(text: &str, limit: usize) -> String {
    shortened(text, limit, char::len_utf8)
}

fn shortened(text: &str, limit: usize, len: fn(char) -> usize) -> String {
    if text.chars().map(len).sum::<usize>() <= limit {
        return text.to_owned();
    }
    let mut left = limit.saturating_sub(len(CUT));
    let mut short: String = text
        .chars()
        .take_while(|character| {
            let fits = len(*character) <= left;
            left = left.saturating_sub(len(*character));
            fits
        })
        .collect();
    short.push(CUT);
    short
}

/// Text in HTML and in the markup of Slack, in which the same three characters begin markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::notification;
    use super::*;

    #[test]
    fn a_notification_says_what_since_when_how_many_and_who() {
        let words = Words::of(&notification());
        assert_eq!(words.title, "Alert: Brute force (shop)");
        assert_eq!(
            words.summary,
            "1,204 events match endpoint:/login within 5 min"
        );
        let facts: Vec<_> = words.facts.iter().map(|it| (it.name, &*it.value)).collect();
        assert_eq!(
            facts,
            [
                ("Since", "2026-11-30 17:20:05 UTC, for 12 min"),
                ("Count", "1,204"),
                ("Addresses", "203.0.113.7 (812), 2001:db8::7 (392)"),
                ("Endpoints", "/login (1,204)"),
            ]
        );
        let links: Vec<_> = words.links.iter().map(|link| link.label).collect();
        assert_eq!(links, ["Open in Guard", "Ban these addresses"]);
    }

    #[test]
    fn the_title_names_the_state() {
        for (state, test, expected) in [
            (NotificationState::Started, false, (Tone::Alarm, "Alert: ")),
            (
                NotificationState::Ongoing,
                false,
                (Tone::Alarm, "Ongoing: "),
            ),
            (NotificationState::Ended, false, (Tone::Calm, "Ended: ")),
            (NotificationState::Started, true, (Tone::Test, "Test: ")),
        ] {
            let words = Words::of(&Notification {
                state,
                test,
                ..notification()
            });
            assert_eq!(words.tone, expected.0);
            assert!(words.title.starts_with(expected.1), "{}", words.title);
        }
    }

    #[test]
    fn control_characters_are_visible_and_long_texts_are_cut() {
        let words = Words::of(&Notification {
            summary: format!("a\r\nBcc: b\u{202e}{}", "x".repeat(5000)),
            top_endpoints: vec![TopEntry {
                value: "\u{1f469}".repeat(5000),
                count: 1,
            }],
            ..notification()
        });
        assert!(
            words.summary.starts_with(r"a\r\nBcc: b\u{202e}xx"),
            "{}",
            words.summary
        );
        assert!(words.summary.ends_with("x…"));
        assert_eq!(words.summary.encode_utf16().count(), MAX_SUMMARY);
        let endpoints = words.facts.last().unwrap();
        assert_eq!(endpoints.value, format!("{}… (1)", "\u{1f469}".repeat(59)));
    }

    #[test]
    fn links_without_a_host_and_too_long_ones_are_left_out() {
        let mut notification = notification();
        notification.links.view = "/p/shop/events".to_owned();
        notification.links.ban = Some(format!("https://guard.example/{}", "a".repeat(2300)));
        assert_eq!(Words::of(&notification).links, []);
    }

    #[test]
    fn text_is_cut_at_characters() {
        for (text, limit, expected) in [
            ("abc", 3, "abc"),
            ("abcdef", 5, "ab…"),
            ("日本語", 9, "日本語"),
            ("日本語", 8, "日…"),
            ("日本語", 6, "日…"),
            ("日本語", 5, "…"),
        ] {
            assert_eq!(cut_bytes(text, limit), expected, "{text} {limit}");
        }
        assert_eq!(cut("a\u{1f469}b", 4), "a\u{1f469}b");
        assert_eq!(cut("a\u{1f469}bc", 4), "a\u{1f469}…");
        assert_eq!(cut("\u{1f469}\u{1f469}", 2), "…");
    }
}
