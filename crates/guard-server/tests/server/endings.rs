//! The ends of bans and other operations, by time or by command.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::versions::{Book, operation};

/// Each kind of operation, with the field of the document that it changes.
fn operations() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("ban", json!({ "ip": "192.0.2.7" }), "ip_blacklist"),
        ("ban", json!({ "ip": "192.0.2.0/24" }), "ip_blacklist"),
        ("unban", json!({ "ip": "192.0.2.7" }), "ip_whitelist"),
        ("country", json!({ "country": "FR" }), "blocked_countries"),
        (
            "limit",
            json!({ "endpoint": "/a", "requests": 1, "window_s": 2 }),
            "endpoint_rate_limits",
        ),
        (
            "user_agent",
            json!({ "pattern": "sqlmap" }),
            "blocked_user_agents",
        ),
        (
            "cloud",
            json!({ "cloud": "AWS" }),
            "blocked_cloud_providers",
        ),
        (
            "pattern",
            json!({ "pattern": "zz-attack" }),
            "suspicious_patterns",
        ),
        (
            "feature",
            json!({ "feature": "ip_banning", "enabled": false }),
            "enable_ip_banning",
        ),
        (
            "rate_limit",
            json!({ "requests": 9, "window_s": 8 }),
            "global_rate_limit",
        ),
        (
            "auto_ban",
            json!({ "threshold": 3, "ban_s": 60 }),
            "auto_ban_threshold",
        ),
        (
            "emergency",
            json!({ "allowed": ["192.0.2.1"] }),
            "emergency_mode",
        ),
    ]
}

#[tokio::test]
async fn every_operation_ends_at_its_time_with_a_new_version() {
    let mut book = Book::open().await;
    book.publish(json!({})).await;
    let before = book.document().await;
    for (kind, fields, field) in operations() {
        let operation = operation(kind, fields);
        book.make(operation.clone(), Some(60)).await;
        let made = book.document().await;
        assert_ne!(made[field], before[field], "{operation}");
        let (still, _) = book.later(49).await;
        assert_eq!(still[field], made[field], "{operation}");
        let (ended, _) = book.later(11).await;
        assert_eq!(ended[field], before[field], "{operation}");
        assert!(
            ended["version"].as_i64() > made["version"].as_i64(),
            "{operation}"
        );
    }
}

#[tokio::test]
async fn bans_of_addresses_end_one_by_one_through_unbans() {
    let mut book = Book::open().await;
    book.ban("192.0.2.1", Some(60)).await;
    book.ban("192.0.2.2", None).await;
    let (rules, lease) = book.later(59).await;
    assert_eq!(rules["ip_blacklist"], json!(["192.0.2.1", "192.0.2.2"]));
    assert_eq!(lease, 3541);
    let (rules, lease) = book.later(1).await;
    assert_eq!(
        (&rules["ip_blacklist"], &rules["ip_whitelist"]),
        (&json!(["192.0.2.2"]), &json!(["192.0.2.1"]))
    );
    assert_eq!((lease, &rules["version"]), (3600, &json!(3)));
    let (rules, lease) = book.later(900).await;
    assert_eq!((&rules["ip_whitelist"], lease), (&json!([]), 3600));
    let (rules, lease) = book.later(1800).await;
    assert_eq!(
        (&rules["version"], lease),
        (&json!(5), 3600),
        "renewed at half of the lease"
    );
}

#[tokio::test]
async fn no_lease_outlasts_the_ban_of_a_block() {
    let mut book = Book::open().await;
    book.ban("192.0.2.0/24", Some(60)).await;
    book.ban("198.51.100.7", None).await;
    let (rules, lease) = book.later(0).await;
    assert_eq!(
        (rules["ip_blacklist"].as_array().unwrap().len(), lease),
        (2, 60)
    );
    let (rules, lease) = book.later(50).await;
    assert_eq!(
        (&rules["ip_blacklist"], lease),
        (&json!(["198.51.100.7"]), 3600)
    );
    let (rules, _) = book.later(3600).await;
    assert_eq!(
        (&rules["ip_blacklist"], &rules["ip_whitelist"]),
        (&json!(["198.51.100.7"]), &json!([]))
    );
}

#[tokio::test]
async fn a_ban_that_ended_while_no_server_ran_is_lifted_at_the_start() {
    let mut book = Book::open().await;
    book.ban("192.0.2.1", Some(60)).await;
    book.ban("192.0.2.2", None).await;
    let (rules, _) = book.later(7200).await;
    assert_eq!(
        (&rules["ip_blacklist"], &rules["ip_whitelist"]),
        (&json!(["192.0.2.2"]), &json!(["192.0.2.1"]))
    );
}

#[tokio::test]
async fn an_address_that_leaves_the_published_bans_is_unbanned() {
    let mut book = Book::open().await;
    let lifted = (json!([]), json!(["192.0.2.7"]));
    book.publish(json!({})).await;
    let with = |end: Option<&str>| json!({ "ip_blacklist": ["192.0.2.7"], "expires_at": end });

    book.publish(with(None)).await;
    assert_eq!(book.bans().await, (json!(["192.0.2.7"]), json!([])));
    book.publish(json!({})).await;
    assert_eq!(book.bans().await, lifted, "by another document");

    book.publish(with(None)).await;
    book.roll_back(1).await;
    assert_eq!(book.bans().await, lifted, "by a rollback");

    book.publish(with(Some("2999-01-01T00:01:00Z"))).await;
    book.later(60).await;
    assert_eq!(book.bans().await, lifted, "by its end");
}

#[tokio::test]
async fn an_unban_removes_an_address_from_the_published_document() {
    let mut book = Book::open().await;
    let document =
        json!({ "ip_blacklist": ["::ffff:192.0.2.7", "192.0.2.8/32", "203.0.113.9/24"] });
    book.publish(document).await;
    let (banned, _) = book.bans().await;
    assert_eq!(banned, json!(["192.0.2.7", "192.0.2.8", "203.0.113.0/24"]));
    book.lift("192.0.2.7").await;
    let unban = operation("unban", json!({ "ip": "192.0.2.8" }));
    book.make(unban, None).await;
    book.lift("203.0.113.0/24").await;
    let listed = json!(["192.0.2.7", "192.0.2.8"]);
    assert_eq!(book.bans().await, (json!([]), listed));
    book.later(901).await;
    assert_eq!(book.bans().await, (json!([]), json!([])));
}

#[tokio::test]
async fn a_document_or_a_rollback_can_ban_an_unbanned_address_again() {
    let book = Book::open().await;
    let banned = (json!(["192.0.2.7"]), json!([]));
    book.publish(json!({ "ip_blacklist": ["192.0.2.7"] })).await;
    book.lift("192.0.2.7").await;
    book.publish(json!({ "ip_blacklist": ["192.0.2.7"] })).await;
    assert_eq!(book.bans().await, banned, "by a document");
    book.lift("192.0.2.7").await;
    book.roll_back(1).await;
    assert_eq!(book.bans().await, banned, "by a rollback");
}

#[tokio::test]
async fn a_ban_removes_a_published_unban_and_the_reverse() {
    let mut book = Book::open().await;
    book.publish(json!({ "ip_whitelist": ["192.0.2.50", "192.0.2.51"] }))
        .await;
    book.ban("192.0.2.50", Some(600)).await;
    let banned = (json!(["192.0.2.50"]), json!(["192.0.2.51"]));
    assert_eq!(book.bans().await, banned, "by a ban");
    book.publish(json!({ "ip_whitelist": ["192.0.2.50"] }))
        .await;
    let lifted = (json!([]), json!(["192.0.2.50"]));
    assert_eq!(book.bans().await, lifted, "by a document");
    book.later(600).await;
    assert_eq!(book.bans().await, lifted);
}

#[tokio::test]
async fn a_short_ban_does_not_shorten_published_bans() {
    let mut book = Book::open().await;
    book.publish(json!({ "ip_blacklist": ["198.51.100.8"] }))
        .await;
    book.ban("192.0.2.9", Some(3)).await;
    let (rules, lease) = book.later(0).await;
    let both = json!(["198.51.100.8", "192.0.2.9"]);
    assert_eq!((&rules["ip_blacklist"], lease), (&both, 3600));
    let (rules, _) = book.later(3).await;
    assert_eq!(
        (&rules["ip_blacklist"], &rules["ip_whitelist"]),
        (&json!(["198.51.100.8"]), &json!(["192.0.2.9"]))
    );
    assert_eq!(rules["ip_ban_duration"], 3600);

    book.ban("192.0.2.9", None).await;
    book.publish(json!({ "ip_blacklist": ["198.51.100.8"], "expires_at": "2999-01-01T00:01:00Z" }))
        .await;
    book.ban("192.0.2.9", Some(3)).await;
    assert_eq!(book.later(0).await.1, 57, "to its end at most");
}

#[tokio::test]
async fn a_large_list_can_be_published_removed_and_published_again_in_order() {
    let mut book = Book::open().await;
    let many = (0..60_000_u32).map(|n| Ipv4Addr::from_bits(0x0b00_0000 + n).to_string());
    let many = json!(many.collect::<Vec<_>>());
    book.publish(json!({ "ip_blacklist": many })).await;
    book.publish(json!({})).await;
    assert_eq!(book.bans().await, (json!([]), many.clone()));
    book.ban("192.0.2.7", None).await;
    assert_eq!(book.bans().await, (json!(["192.0.2.7"]), many.clone()));
    book.publish(json!({ "ip_blacklist": many })).await;
    let (banned, unbanned) = book.bans().await;
    assert_eq!(banned.as_array().unwrap().len(), 60_001);
    assert_eq!(unbanned, json!([]));
    book.roll_back(3).await;
    assert_eq!(book.bans().await, (json!(["192.0.2.7"]), many));
    book.later(900).await;
    assert_eq!(book.bans().await.1, json!([]));
}
