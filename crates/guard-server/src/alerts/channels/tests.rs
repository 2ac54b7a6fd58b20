//! The requests, exactly as they are sent, for an attacker who tries to inject markup.

use serde_json::{Value, json};

use super::super::notification::{Links, NotificationState, TopEntry};
use super::*;

const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
/// Markup, mentions and links of every service.
const ATTACK: &str = "/<!channel>&@everyone*_~`|[x](http://e.example)</b>";

pub(super) fn channel(kind: ChannelKind, target: &str, secret: Option<&str>) -> Channel {
    Channel {
        id: "c1".to_owned(),
        label: "Operations".to_owned(),
        kind,
        target: target.into(),
        secret: secret.map(Into::into),
    }
}

fn top(entries: &[(&str, u64)]) -> Vec<TopEntry> {
    let entry = |(value, count): &(&str, u64)| TopEntry {
        value: (*value).to_owned(),
        count: *count,
    };
    entries.iter().map(entry).collect()
}

pub(super) fn notification() -> Notification {
    Notification {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        alert_id: "a1".to_owned(),
        alert: "Brute force".to_owned(),
        project: "shop".to_owned(),
        condition: "threshold".to_owned(),
        state: NotificationState::Started,
        summary: "1,204 events match endpoint:/login within 5 min".to_owned(),
        group: None,
        since: "2026-11-30T17:20:05Z".parse().unwrap(),
        at: "2026-11-30T17:32:35Z".parse().unwrap(),
        count: 1204,
        top_addresses: top(&[("203.0.113.7", 812), ("2001:db8::7", 392)]),
        top_endpoints: top(&[("/login", 1204)]),
        links: Links {
            view: "https://guard.example/p/shop/events?filter=a&from=b".to_owned(),
            ban: Some("https://guard.example/p/shop/rules?ban=203.0.113.7".to_owned()),
        },
        test: false,
    }
}

/// A notification whose texts an attacker chose.
fn attacked() -> Notification {
    Notification {
        alert: "New_endpoint".to_owned(),
        summary: format!("new endpoint {ATTACK}"),
        top_addresses: vec![],
        top_endpoints: top(&[(ATTACK, 1)]),
        ..notification()
    }
}

fn post(channel: &Channel) -> Post {
    let now = "2026-11-30T17:32:36Z".parse().unwrap();
    request(channel, &attacked(), now).unwrap()
}

fn body(kind: ChannelKind, target: &str, secret: Option<&str>) -> (String, Value) {
    let post = post(&channel(kind, target, secret));
    (
        post.url.expose().to_owned(),
        serde_json::from_str(&post.body).unwrap(),
    )
}

fn header(post: &Post, name: &str) -> Option<String> {
    let found = post.headers.iter().find(|(it, _)| it == name);
    found.map(|(_, value)| value.to_str().unwrap().to_owned())
}

#[test]
fn a_webhook_gets_the_notification_signed_with_the_time() {
    let url = "https://hooks.example.com/a?b=c";
    let signed = post(&channel(
        ChannelKind::Webhook,
        url,
        Some("0123456789abcdef"),
    ));
    assert_eq!(signed.url.expose(), url);
    assert_eq!(header(&signed, "content-type").unwrap(), "application/json");
    assert_eq!(header(&signed, ID_HEADER).unwrap(), attacked().id);
    let timestamp = header(&signed, TIMESTAMP_HEADER).unwrap();
    assert_eq!(timestamp, "1796059956");
    let text = format!("{timestamp}.{}", signed.body);
    let signature = header(&signed, SIGNATURE_HEADER).unwrap();
    assert!(guard_wire::sign::verify(
        text.as_bytes(),
        &signature,
        "0123456789abcdef"
    ));
    let body: Notification = serde_json::from_str(&signed.body).unwrap();
    assert_eq!(body, attacked());

    let unsigned = post(&channel(ChannelKind::Webhook, url, None));
    assert_eq!(header(&unsigned, SIGNATURE_HEADER), None);
}

#[test]
fn slack_gets_blocks_of_plain_text() {
    let target = "https://hooks.slack.com/services/T/B/x";
    let escaped = "/&lt;!channel&gt;&amp;@everyone*_~`|[x](http://e.example)&lt;/b&gt;";
    let plain = |text: String| json!({ "type": "plain_text", "text": text, "emoji": false });
    let expected = json!({
        "text": format!("Alert: New_endpoint (shop). new endpoint {escaped}"),
        "blocks": [
            { "type": "header", "text": plain("Alert: New_endpoint (shop)".into()) },
            { "type": "section", "text": plain(format!("new endpoint {escaped}")) },
            { "type": "section", "fields": [
                plain("Since\n2026-11-30 17:20:05 UTC, for 12 min".into()),
                plain("Count\n1,204".into()),
                plain(format!("Endpoints\n{escaped} (1)")),
            ] },
            { "type": "section", "text": {
                "type": "mrkdwn",
                "text": "<https://guard.example/p/shop/events?filter=a&amp;from=b|Open in Guard>",
                "verbatim": true,
            } },
            { "type": "section", "text": {
                "type": "mrkdwn",
                "text": "<https://guard.example/p/shop/rules?ban=203.0.113.7|Ban these addresses>",
                "verbatim": true,
            } },
        ],
        "unfurl_links": false,
        "unfurl_media": false,
    });
    assert_eq!(
        body(ChannelKind::Slack, target, None),
        (target.to_owned(), expected)
    );
}

#[test]
fn discord_gets_an_embed_with_values_as_code_that_mentions_nobody() {
    let target = "https://discord.com/api/webhooks/1/x";
    let code = "/<!channel>&@everyone*_~'|[x](http://e.example)</b>";
    let expected = json!({
        "embeds": [{
            "title": r"Alert\: New\_endpoint \(shop\)",
            "description": format!(
                "`new endpoint {code}`\n\
                [Open in Guard](<https://guard.example/p/shop/events?filter=a&from=b>)\n\
                [Ban these addresses](<https://guard.example/p/shop/rules?ban=203.0.113.7>)",
            ),
            "color": 0xd1_3c_3c,
            "fields": [
                { "name": "Since", "value": "`2026-11-30 17:20:05 UTC, for 12 min`", "inline": false },
                { "name": "Count", "value": "`1,204`", "inline": true },
                { "name": "Endpoints", "value": format!("`{code} (1)`"), "inline": true },
            ],
        }],
        "allowed_mentions": { "parse": [] },
    });
    assert_eq!(
        body(ChannelKind::Discord, target, None),
        (target.to_owned(), expected)
    );
}

#[test]
fn teams_gets_an_adaptive_card_of_rich_text() {
    let target = "https://prod.westeurope.logic.azure.com/workflows/1?sig=x";
    let fact = |name: &str, value: &str| {
        json!({ "type": "RichTextBlock", "inlines": [
            { "type": "TextRun", "text": name, "weight": "Bolder" },
            { "type": "TextRun", "text": value },
        ] })
    };
    let expected = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    { "type": "RichTextBlock", "inlines": [{
                        "type": "TextRun",
                        "text": "Alert: New_endpoint (shop)",
                        "size": "Large",
                        "weight": "Bolder",
                        "color": "Attention",
                    }] },
                    { "type": "RichTextBlock", "inlines": [
                        { "type": "TextRun", "text": format!("new endpoint {ATTACK}") },
                    ] },
                    fact("Since: ", "2026-11-30 17:20:05 UTC, for 12 min"),
                    fact("Count: ", "1,204"),
                    fact("Endpoints: ", &format!("{ATTACK} (1)")),
                ],
                "actions": [
                    {
                        "type": "Action.OpenUrl",
                        "title": "Open in Guard",
                        "url": "https://guard.example/p/shop/events?filter=a&from=b",
                    },
                    {
                        "type": "Action.OpenUrl",
                        "title": "Ban these addresses",
                        "url": "https://guard.example/p/shop/rules?ban=203.0.113.7",
                    },
                ],
                "msteams": { "width": "Full" },
            },
        }],
    });
    assert_eq!(
        body(ChannelKind::Teams, target, None),
        (target.to_owned(), expected)
    );
}

#[test]
fn ntfy_gets_plain_text_at_the_root_of_the_server() {
    let channel = channel(
        ChannelKind::Ntfy,
        "https://ntfy.example/my-alerts",
        Some("tk_hush"),
    );
    let post = post(&channel);
    assert_eq!(post.url.expose(), "https://ntfy.example/");
    assert_eq!(header(&post, "authorization").unwrap(), "Bearer tk_hush");
    assert!(!format!("{post:?}").contains("tk_hush"));
    let body: Value = serde_json::from_str(&post.body).unwrap();
    let expected = json!({
        "topic": "my-alerts",
        "title": "Alert: New_endpoint (shop)",
        "message": format!(
            "new endpoint {ATTACK}\nSince: 2026-11-30 17:20:05 UTC, for 12 min\nCount: 1,204\n\
            Endpoints: {ATTACK} (1)",
        ),
        "priority": 4,
        "tags": ["rotating_light"],
        "click": "https://guard.example/p/shop/events?filter=a&from=b",
        "actions": [{
            "action": "view",
            "label": "Ban these addresses",
            "url": "https://guard.example/p/shop/rules?ban=203.0.113.7",
        }],
    });
    assert_eq!(body, expected);
}

#[test]
fn telegram_gets_html_with_values_as_code() {
    let escaped = "/&lt;!channel&gt;&amp;@everyone*_~`|[x](http://e.example)&lt;/b&gt;";
    let expected = json!({
        "chat_id": "-100123",
        "text": format!(
            "<b>Alert: New_endpoint (shop)</b>\n<code>new endpoint {escaped}</code>\n\
            Since: <code>2026-11-30 17:20:05 UTC, for 12 min</code>\nCount: <code>1,204</code>\n\
            Endpoints: <code>{escaped} (1)</code>\n\
            <a href=\"https://guard.example/p/shop/events?filter=a&amp;from=b\">Open in Guard</a>\n\
            <a href=\"https://guard.example/p/shop/rules?ban=203.0.113.7\">Ban these addresses</a>",
        ),
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
    });
    let url = format!("https://api.telegram.org/bot{TOKEN}/sendMessage");
    assert_eq!(
        body(ChannelKind::Telegram, "-100123", Some(TOKEN)),
        (url, expected)
    );
}

#[test]
fn a_mail_has_text_and_html() {
    let channel = channel(ChannelKind::Email, "ops@example.com, b@example.com", None);
    let mail = email::mail(&channel, &attacked()).unwrap();
    assert_eq!(mail.subject, "[Guard] Alert: New_endpoint (shop)");
    assert_eq!(
        mail.to,
        [
            "ops@example.com".parse().unwrap(),
            "b@example.com".parse().unwrap()
        ]
    );
    assert_eq!(
        mail.text,
        format!(
            "new endpoint {ATTACK}\n\nSince: 2026-11-30 17:20:05 UTC, for 12 min\nCount: 1,204\n\
            Endpoints: {ATTACK} (1)\n\n\
            Open in Guard:\nhttps://guard.example/p/shop/events?filter=a&from=b\n\
            Ban these addresses:\nhttps://guard.example/p/shop/rules?ban=203.0.113.7",
        )
    );
    assert!(
        mail.html.contains("&lt;!channel&gt;&amp;@everyone"),
        "{}",
        mail.html
    );
    assert!(
        !mail.html.contains("<!channel>") && !mail.html.contains("</b>"),
        "{}",
        mail.html
    );
}

/// The largest notification, of the characters that grow most.
#[test]
fn the_largest_messages_stay_within_the_limits() {
    for character in ["&", "<", "\"", "\\", "`", "*", "\u{1b}", "日", "\u{1f469}"] {
        let long = character.repeat(5000);
        let link = format!("https://guard.example/{}?a&b&c", "x".repeat(2250));
        let notification = Notification {
            alert: long.clone(),
            summary: long.clone(),
            top_addresses: top(&[(&long, 1), (&long, 2), (&long, 3)]),
            top_endpoints: top(&[(&long, 1), (&long, 2), (&long, 3)]),
            links: Links {
                view: link.clone(),
                ban: Some(link),
            },
            ..notification()
        };
        let words = Words::of(&notification);
        let units = |text: &Value| text.as_str().unwrap().encode_utf16().count();

        let slack = slack::body(&words);
        let blocks = slack["blocks"].as_array().unwrap();
        assert!(units(&blocks[0]["text"]["text"]) <= 150);
        assert!(units(&blocks[1]["text"]["text"]) <= 3000);
        assert_eq!(blocks.len(), 5);
        assert!(units(&blocks[3]["text"]["text"]) <= 3000);
        for field in blocks[2]["fields"].as_array().unwrap() {
            assert!(units(&field["text"]) <= 2000);
        }

        let embed = &discord::body(&words)["embeds"][0];
        assert!(units(&embed["title"]) <= 256);
        assert!(units(&embed["description"]) <= 4096);
        let fields = embed["fields"].as_array().unwrap();
        let values = fields.iter().map(|field| units(&field["value"]));
        assert!(values.clone().all(|units| units <= 1024));
        let names = fields
            .iter()
            .map(|field| units(&field["name"]))
            .sum::<usize>();
        let total = units(&embed["title"]) + units(&embed["description"]) + names;
        assert!(total + values.sum::<usize>() <= 6000);

        assert!(teams::body(&words).to_string().len() <= 28_000);

        let ntfy = channel(ChannelKind::Ntfy, "https://ntfy.sh/topic", None);
        let ntfy = ntfy::request(&ntfy, &words).unwrap();
        assert!(ntfy.body.len() <= 8192, "{character}: {}", ntfy.body.len());
        let message: Value = serde_json::from_str(&ntfy.body).unwrap();
        assert!(message["message"].as_str().unwrap().len() <= 4096);

        let telegram = channel(ChannelKind::Telegram, "1", Some(TOKEN));
        let telegram = telegram::request(&telegram, &words).unwrap();
        let message: Value = serde_json::from_str(&telegram.body).unwrap();
        let shown = message["text"]
            .as_str()
            .unwrap()
            .replace("&amp;", "&")
            .replace("&lt;", "<");
        let shown = shown.replace("&gt;", ">").encode_utf16().count();
        // With the markup and the links, which do not count.
        assert!(shown <= 4096 + 2 * 2300, "{shown}");
    }
}

fn reply(status: u16, body: &str, retry_after: Option<u64>) -> Reply {
    Reply {
        status,
        body: body.to_owned(),
        retry_after: retry_after.map(std::time::Duration::from_secs),
    }
}

#[test]
fn an_answer_says_whether_to_try_again() {
    let channel = channel(ChannelKind::Webhook, "https://example.com/hush-hush", None);
    for (status, wait, expected) in [
        (301, None, Retry::Never),
        (307, Some(1), Retry::Never),
        (400, None, Retry::Never),
        (404, None, Retry::Never),
        (408, None, Retry::Later),
        (429, None, Retry::Later),
        (
            429,
            Some(7),
            Retry::After(std::time::Duration::from_secs(7)),
        ),
        (500, None, Retry::Later),
        (
            503,
            Some(7),
            Retry::After(std::time::Duration::from_secs(7)),
        ),
    ] {
        let error = answered(reply(status, "at /hush-hush", wait), &channel).unwrap_err();
        assert_eq!(error.retry(), expected, "{status}");
        let answer = error.answer().unwrap();
        assert_eq!(answer.status, Some(status));
        assert!(answer.text.ends_with("at [secret]"), "{answer}");
    }
    for status in [200, 202, 204] {
        let answer = answered(reply(status, "ok\n", None), &channel).unwrap();
        assert_eq!((answer.status, &*answer.text), (Some(status), "ok"));
    }
}

#[test]
fn telegram_says_in_the_body_when_to_try_again() {
    let body = json!({
        "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 7",
        "parameters": { "retry_after": 7 },
    });
    let telegram = channel(ChannelKind::Telegram, "-100123", Some(TOKEN));
    let webhook = channel(ChannelKind::Webhook, "https://example.com/", None);
    let seven = Retry::After(std::time::Duration::from_secs(7));
    for (channel, status, body, expected) in [
        (&telegram, 429, body.to_string(), seven),
        (&telegram, 429, "Too Many Requests".to_owned(), Retry::Later),
        (&telegram, 400, body.to_string(), Retry::Never),
        (&webhook, 429, body.to_string(), Retry::Later),
    ] {
        let error = answered(reply(status, &body, None), channel).unwrap_err();
        assert_eq!(error.retry(), expected, "{status} {body}");
    }
}

#[test]
fn a_failure_says_whether_to_try_again() {
    let channel = channel(ChannelKind::Email, "ops@example.com", None);
    let refused = |code| Failure::MailRefused {
        step: crate::outbound::Step::Handover,
        code,
        reply: "no such user".to_owned(),
    };
    for (failure, expected) in [
        (refused(550), Retry::Never),
        (refused(451), Retry::Later),
        (Failure::NoMailServer, Retry::Later),
        (Failure::NoStartTls, Retry::Later),
    ] {
        assert_eq!(failed(failure, &channel).retry(), expected);
    }
    let shown = failed(refused(550), &channel).to_string();
    assert_eq!(
        shown,
        "the receiver refused it: 550 no such user (while handing over the mail)"
    );
}
