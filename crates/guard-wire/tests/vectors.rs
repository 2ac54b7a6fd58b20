//! What the public Python agent answers for the same inputs.

use guard_wire::redact::Redactor;
use guard_wire::{Value, backoff, hash, retry_after, sign, truncate};
use serde_json::Value as Json;
use std::time::SystemTime;

fn vectors() -> Json {
    serde_json::from_str(include_str!("vectors.json")).expect("the vectors are JSON")
}

fn cases(name: &str) -> Vec<Json> {
    vectors()[name].as_array().expect("a list of cases").clone()
}

fn text<'a>(case: &'a Json, field: &str) -> &'a str {
    case[field].as_str().expect("a string")
}

fn number(case: &Json, field: &str) -> f64 {
    case[field].as_f64().expect("a number")
}

#[test]
fn redaction_agrees() {
    let all = vectors();
    let names = all["redaction"]["sensitive_headers"]
        .as_array()
        .expect("names");
    let redactor = Redactor::new(names.iter().map(|name| name.as_str().expect("a name")));
    for case in all["redaction"]["cases"].as_array().expect("cases") {
        let redacted = redactor.to_json(&Value::from(&case["input"]));
        let got: Json = serde_json::from_str(&redacted).expect("redacted values are JSON");
        assert_eq!(got, case["expected"], "{}", case["name"]);
    }
}

#[test]
fn truncation_agrees() {
    for case in cases("truncate") {
        let limit = usize::try_from(case["max_size"].as_u64().expect("a size")).expect("fits");
        assert_eq!(
            truncate::truncate(text(&case, "payload"), limit),
            text(&case, "expected")
        );
    }
}

#[test]
fn hashes_agree() {
    for case in cases("hash_ip") {
        assert_eq!(
            hash::hash_ip(text(&case, "ip"), text(&case, "salt")),
            text(&case, "expected")
        );
    }
}

#[test]
fn backoff_agrees() {
    for case in cases("backoff") {
        let attempt = u32::try_from(case["attempt"].as_u64().expect("an attempt")).expect("fits");
        let delay = backoff::delay(
            attempt,
            number(&case, "base_delay"),
            number(&case, "max_delay"),
        );
        assert_eq!(delay, number(&case, "expected"), "{case}");
    }
}

#[test]
fn retry_after_agrees() {
    for case in cases("retry_after") {
        let seconds = retry_after::seconds(case["header"].as_str(), SystemTime::now(), 60.0);
        assert_eq!(seconds, number(&case, "expected"), "{case}");
    }
}

#[test]
fn signatures_agree_and_verify() {
    for case in cases("signature") {
        let (body, secret) = (text(&case, "body").as_bytes(), text(&case, "secret"));
        let signature = sign::sign(body, secret);
        assert_eq!(signature.as_deref(), case["expected"].as_str());
        if let Some(signature) = signature {
            assert!(sign::verify(body, &signature, secret));
            assert!(!sign::verify(b"other", &signature, secret));
        }
    }
    for malformed in ["", "v1=", "v1=zz", "v1=é", "v2=00", "00"] {
        assert!(!sign::verify(b"{}", malformed, "k"), "{malformed}");
    }
}
