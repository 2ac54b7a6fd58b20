use super::*;

/// Where a document is wrong, and why.
fn refusal(outcome: Result<DynamicRules, RulesError>) -> (String, String) {
    match outcome {
        Err(RulesError::Field { field, problem }) => (field, problem),
        other => panic!("not a wrong field: {other:?}"),
    }
}

fn read(json: &str) -> Result<DynamicRules, RulesError> {
    DynamicRules::from_json(json.as_bytes())
}

fn publish(json: &str) -> Result<DynamicRules, RulesError> {
    DynamicRules::for_publishing(json.as_bytes())
}

#[test]
fn a_document_without_a_timestamp_is_sent_without_one() {
    let rules = read(r#"{"version": 2}"#).unwrap();
    let sent = serde_json::to_value(&rules).unwrap();
    assert!(!sent.as_object().unwrap().contains_key("timestamp"));
}

#[test]
fn a_value_that_guards_cannot_use_is_refused_with_its_path() {
    for (json, field, words) in [
        (r#"{"ttl": 0}"#, "ttl", "0 is too small"),
        (r#"{"ttl": "soon"}"#, "ttl", "expected i64"),
        (
            r#"{"ip_blacklist": ["192.0.2.1", "192.0.2.0/33"]}"#,
            "ip_blacklist[1]",
            "neither an address nor a CIDR",
        ),
        (
            r#"{"ip_blacklist": ["192.0.2.0/+8"]}"#,
            "ip_blacklist[0]",
            "CIDR",
        ),
        (
            r#"{"ip_whitelist": ["everyone"]}"#,
            "ip_whitelist[0]",
            "\"everyone\"",
        ),
        (
            r#"{"emergency_whitelist": ["::1/129"]}"#,
            "emergency_whitelist[0]",
            "CIDR",
        ),
        (
            r#"{"ip_blacklist": [7]}"#,
            "ip_blacklist[0]",
            "expected a string",
        ),
        (
            r#"{"blocked_countries": ["FR", "France"]}"#,
            "blocked_countries[1]",
            "FR",
        ),
        (
            r#"{"blocked_user_agents": [""]}"#,
            "blocked_user_agents[0]",
            "0 characters",
        ),
        (
            r#"{"endpoint_rate_limits": {"/login": [0, 60]}}"#,
            "endpoint_rate_limits./login[0]",
            "1 or more",
        ),
        (
            r#"{"endpoint_rate_limits": {"/login": [5, "x"]}}"#,
            "endpoint_rate_limits./login[1]",
            "expected i64",
        ),
        (
            r#"{"expires_at": "tomorrow"}"#,
            "expires_at",
            "\"tomorrow\" is not a timestamp",
        ),
        (
            r#"{"expires_at": "20300101"}"#,
            "expires_at",
            "\"20300101\" is not a timestamp",
        ),
        (r#"{"timestamp": null}"#, "timestamp", "invalid type: null"),
        (
            r#"{"auto_ban_threshold": 0}"#,
            "auto_ban_threshold",
            "1 or more",
        ),
    ] {
        let (at, why) = refusal(read(json));
        assert_eq!(at, field, "{json}: {why}");
        assert!(why.contains(words), "{json}: {why}");
    }
}

#[test]
fn addresses_and_blocks_of_both_families_are_taken() {
    let rules = read(
        r#"{"ip_blacklist": ["192.0.2.7", "192.0.2.7/24", "0.0.0.0/0", "2001:db8::1", "2001:db8::/32"]}"#,
    );
    assert_eq!(rules.unwrap().ip_blacklist.len(), 5);
}

#[test]
fn what_is_written_in_another_way_is_read_as_what_it_means() {
    for (sent, plain) in [
        (r#"{"version":"7"}"#, r#"{"version":7}"#),
        (r#"{"version":7.0,"x":"7"}"#, r#"{"version":7,"x":"7"}"#),
        (
            r#"{"ttl":"60","global_rate_limit":5.0}"#,
            r#"{"ttl":60,"global_rate_limit":5}"#,
        ),
        (
            r#"{"endpoint_rate_limits":{"/a":["5",6e1]}}"#,
            r#"{"endpoint_rate_limits":{"/a":[5,60]}}"#,
        ),
        (
            r#"{"emergency_mode":"False","enable_ip_banning":1}"#,
            r#"{"emergency_mode":false,"enable_ip_banning":true}"#,
        ),
        (
            r#"{"expires_at":"2026-11-22T14:28:58+0530"}"#,
            r#"{"expires_at":"2026-11-22T14:28:58+05:30"}"#,
        ),
        (
            r#"{"timestamp":"2026-11-22 14:28:58.5-0000"}"#,
            r#"{"timestamp":"2026-11-22 14:28:58.5-00:00"}"#,
        ),
        (
            r#"{"expires_at":1795357738}"#,
            r#"{"expires_at":"2026-11-22T14:28:58Z"}"#,
        ),
        (
            r#"{"expires_at":1795357738.5}"#,
            r#"{"expires_at":"2026-11-22T14:28:58.5Z"}"#,
        ),
        (
            r#"{"expires_at":1795357738000}"#,
            r#"{"expires_at":"2026-11-22T14:28:58Z"}"#,
        ),
        (
            r#"{"ip_blacklist":["10.0.0.0/255.0.0.0","192.0.2.7/255.255.255.255","::1"]}"#,
            r#"{"ip_blacklist":["10.0.0.0/8","192.0.2.7/32","::1"]}"#,
        ),
        ("\u{feff} {\"version\": 7}\n", " {\"version\": 7}\n"),
        // As it is: nothing has to be read in another way.
        (
            "{\"version\": 7, \"expires_at\": null, \"y\": 1e0}",
            "{\"version\": 7, \"expires_at\": null, \"y\": 1e0}",
        ),
    ] {
        let (rules, json) = DynamicRules::with_json(sent.as_bytes()).expect(sent);
        assert_eq!(json, plain);
        assert_eq!(rules, read(plain).unwrap(), "{sent}");
    }
}

#[test]
fn what_may_mean_two_things_is_refused() {
    for (json, field) in [
        (r#"{"version":"seven"}"#, "version"),
        (r#"{"version":"+7"}"#, "version"),
        (r#"{"version":" 7"}"#, "version"),
        (r#"{"version":7.5}"#, "version"),
        (r#"{"version":1e300}"#, "version"),
        (r#"{"version":9223372036854775808}"#, "version"),
        (r#"{"version":true}"#, "version"),
        (r#"{"version":null}"#, "version"),
        (r#"{"emergency_mode":"yes"}"#, "emergency_mode"),
        (r#"{"emergency_mode":2}"#, "emergency_mode"),
        (r#"{"expires_at":"1795357738"}"#, "expires_at"),
        (r#"{"expires_at":3600}"#, "expires_at"),
        (r#"{"expires_at":-1}"#, "expires_at"),
        (r#"{"expires_at":20300101}"#, "expires_at"),
        (r#"{"expires_at":"2026-11-22+0530"}"#, "expires_at"),
        (r#"{"expires_at":"2026-11-22T14:28:58+05"}"#, "expires_at"),
        (
            r#"{"ip_blacklist":["10.0.0.0/0.255.255.255"]}"#,
            "ip_blacklist[0]",
        ),
        (
            r#"{"ip_blacklist":["10.0.0.0/255.0.255.0"]}"#,
            "ip_blacklist[0]",
        ),
        (
            r#"{"ip_blacklist":["10.0.0.0/0.0.0.0"]}"#,
            "ip_blacklist[0]",
        ),
        (r#"{"ip_blacklist":["::/255.0.0.0"]}"#, "ip_blacklist[0]"),
    ] {
        let (at, why) = refusal(read(json));
        assert_eq!(at, field, "{json}: {why}");
    }
}

#[test]
fn an_agent_keeps_what_a_newer_backend_adds_and_a_publisher_must_not() {
    let json = r#"{"version": 2, "quarantine": true}"#;
    let rules = read(json).unwrap();
    assert_eq!(rules.unknown_fields().collect::<Vec<_>>(), ["quarantine"]);
    let (field, problem) = refusal(publish(json));
    assert_eq!(field, "quarantine");
    assert!(problem.starts_with("unknown"), "{problem}");
}

#[test]
fn a_name_that_nothing_answers_to_is_not_published() {
    for (json, field) in [
        (r#"{"blocked_countries": ["QQ"]}"#, "blocked_countries[0]"),
        (
            r#"{"blocked_cloud_providers": ["aws"]}"#,
            "blocked_cloud_providers[0]",
        ),
        (
            r#"{"endpoint_rate_limits": {"login": [1, 1]}}"#,
            "endpoint_rate_limits.login",
        ),
    ] {
        assert!(read(json).is_ok(), "{json}");
        assert_eq!(refusal(publish(json)).0, field);
    }
    let known = r#"{"blocked_countries": ["fr"], "blocked_cloud_providers": ["AWS:!S3", "GCP"]}"#;
    assert!(publish(known).is_ok());
}

#[test]
fn what_is_no_document_is_refused_as_a_whole() {
    for json in [
        "",
        "<html>",
        "[]",
        "{\"ttl\": ",
        "{} {}",
        "{\"ttl\": 1, \"ttl\": 2}",
    ] {
        let outcome = read(json);
        assert!(
            matches!(outcome, Err(RulesError::Malformed(_))),
            "{json}: {outcome:?}"
        );
    }
}

#[test]
fn size_and_depth_are_limited() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!("{{\"text\": \"[[\\\"[[\", \"new\": {open}{close}}}")
    };
    assert!(read(&nested(MAX_DEPTH - 1)).is_ok());
    assert!(matches!(read(&nested(MAX_DEPTH)), Err(RulesError::TooDeep)));
    let message = |len: usize| format!("{{\"message\": \"{}\"}}", "x".repeat(len - 15));
    assert!(read(&message(MAX_BYTES)).is_ok());
    assert!(matches!(
        read(&message(MAX_BYTES + 1)),
        Err(RulesError::TooLarge { len, .. }) if len == MAX_BYTES + 1
    ));
    assert!(publish(&message(MAX_PUBLISHED_BYTES)).is_ok());
    assert!(matches!(
        publish(&message(MAX_PUBLISHED_BYTES + 1)),
        Err(RulesError::TooLarge {
            limit: MAX_PUBLISHED_BYTES,
            ..
        })
    ));
}
