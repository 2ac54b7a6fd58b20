//! The server answers any body and keeps running.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::support::{Server, event, gzip, metric};

const PATHS: [&str; 4] = [
    "/api/v1/events",
    "/api/v1/metrics",
    "/api/v1/events/encrypted",
    "/api/v1/status",
];

/// Bodies from random bytes to nearly valid batches.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = r#"[\[\]{}:,"\\a-z0-9NaInfity\-. ]{0,200}"#;
    let record = prop_oneof![
        json.prop_map(String::from),
        Just(event("k").to_string()),
        Just(metric(f64::MAX).to_string()),
        Just(r#"{"timestamp": NaN, "event_type": "\ud800"}"#.to_owned()),
        Just(format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
    ];
    let records = vec(record, 0..4).prop_map(|records| records.join(","));
    let envelope = (records.clone(), records).prop_map(|(events, metrics)| {
        format!(r#"{{"batch_id": "b", "events": [{events}], "metrics": [{metrics}]}}"#).into_bytes()
    });
    prop_oneof![
        vec(any::<u8>(), 0..500),
        json.prop_map(String::into_bytes),
        envelope,
    ]
}

#[test]
fn any_body_is_answered_and_the_server_keeps_running() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let case = (
        body(),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(&PATHS[..]),
    );
    let mut runner = proptest::test_runner::TestRunner::default();
    let result = runner.run(&case, |(body, compress, says_gzip, path)| {
        let body = if compress { gzip(&body) } else { body };
        let mut request = server.post(path, body);
        if says_gzip {
            request = request.header("Content-Encoding", "gzip");
        }
        let response = runtime.block_on(request.send());
        let status = response
            .map_err(|error| TestCaseError::fail(error.to_string()))?
            .status();
        prop_assert!(status == 200 || status == 400, "{status}");
        Ok(())
    });
    result.unwrap();
    let alive = runtime.block_on(server.get("/health").send());
    assert_eq!(alive.unwrap().status(), 200);
}
