use axum::http::HeaderName;

use super::*;

/// The client of a request from `peer` with these headers, when 10.0.0.0/8 and fd00::/8 are
/// trusted.
fn found(peer: &str, pairs: &[(&str, &str)]) -> Option<(String, bool)> {
    let proxies = TrustedProxies::parse(&["10.0.0.0/8", "fd00::/8"]).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(*name).unwrap();
        headers.append(name, value.parse().unwrap());
    }
    let peer = Client {
        address: peer.parse().unwrap(),
        is_https: false,
    };
    let client = proxies.client(peer, &headers)?;
    Some((client.address.to_string(), client.is_https))
}

fn address_of(peer: &str, pairs: &[(&str, &str)]) -> String {
    found(peer, pairs).unwrap().0
}

#[test]
fn no_header_of_a_stranger_is_believed() {
    for header in ["x-forwarded-for", "forwarded", "x-forwarded-proto"] {
        for value in ["198.51.100.1", "for=198.51.100.1;proto=https", "https"] {
            let client = found("192.0.2.9", &[(header, value)]).unwrap();
            assert_eq!(client, ("192.0.2.9".to_owned(), false));
        }
    }
}

#[test]
fn the_client_is_the_rightmost_address_that_is_no_trusted_proxy() {
    for (value, expected) in [
        ("198.51.100.1", "198.51.100.1"),
        // The client wrote the first one itself.
        ("203.0.113.7, 198.51.100.1", "198.51.100.1"),
        ("203.0.113.7, 198.51.100.1, 10.1.1.1", "198.51.100.1"),
        ("10.9.9.9, 198.51.100.1 ,10.1.1.1,  fd00::1", "198.51.100.1"),
        ("10.9.9.9, 10.1.1.1", "10.9.9.9"),
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
    ] {
        let found = address_of("10.0.0.1", &[("X-Forwarded-For", value)]);
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn a_hop_that_names_no_address_ends_the_walk() {
    for (value, expected) in [
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("198.51.100.1, unknown", "10.0.0.1"),
        ("198.51.100.1, _hidden, 10.1.1.1", "10.1.1.1"),
        ("198.51.100.1,", "10.0.0.1"),
    ] {
        let found = address_of("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(found, expected, "{value:?}");
    }
}

#[test]
fn several_header_lines_are_one_list() {
    let lines = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "10.1.1.1"),
    ];
    assert_eq!(address_of("10.0.0.1", &lines), "198.51.100.1");
}

#[test]
fn the_standard_header_is_read_with_quotes_ports_and_other_parameters() {
    for (value, expected) in [
        ("for=198.51.100.1", "198.51.100.1"),
        ("For=\"198.51.100.1:80\";by=10.0.0.1", "198.51.100.1"),
        ("for=\"[2001:db8::7]:80\";proto=https", "2001:db8::7"),
        (
            "for=203.0.113.7, for=198.51.100.1;host=\"a,b;c\", for=10.1.1.1",
            "198.51.100.1",
        ),
        ("for=unknown", "10.0.0.1"),
        ("by=10.0.0.1", "10.0.0.1"),
        // An open quote must not hide what the proxy appended.
        ("for=\"203.0.113.7, for=198.51.100.1", "10.0.0.1"),
        (
            "for=203.0.113.7;host=\"x\\, for=\"[2001:db8::7]\"",
            "10.0.0.1",
        ),
    ] {
        let found = address_of("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn two_headers_that_name_different_clients_name_none() {
    let same = [
        ("x-forwarded-for", "198.51.100.1"),
        ("forwarded", "for=198.51.100.1"),
    ];
    assert_eq!(address_of("10.0.0.1", &same), "198.51.100.1");
    let other = [
        ("x-forwarded-for", "198.51.100.1"),
        ("forwarded", "for=203.0.113.7"),
    ];
    assert_eq!(found("10.0.0.1", &other), None);
}

#[test]
fn the_protocol_is_the_one_that_the_clients_proxy_saw() {
    let is_https = |addresses: &str, protocols: &str| {
        let pairs = [
            ("x-forwarded-for", addresses),
            ("x-forwarded-proto", protocols),
        ];
        found("10.0.0.1", &pairs).unwrap().1
    };
    assert!(is_https("198.51.100.1", "https"));
    assert!(is_https("198.51.100.1", "HTTPS"));
    assert!(!is_https("198.51.100.1", "http"));
    assert!(!is_https("198.51.100.1", "wss"));
    assert!(is_https("198.51.100.1, 10.1.1.1", "https, http"));
    assert!(is_https("198.51.100.1, 10.1.1.1", "https"));
    // The client wrote the first ones.
    assert!(!is_https("203.0.113.7, 198.51.100.1", "https, http"));
    let standard = [("forwarded", "for=198.51.100.1;proto=https")];
    assert!(found("10.0.0.1", &standard).unwrap().1);
}

#[test]
fn every_named_address_is_listed() {
    let mut headers = HeaderMap::new();
    headers.append("x-forwarded-for", "192.0.2.1, [::1]:80".parse().unwrap());
    headers.append("x-real-ip", "192.0.2.2".parse().unwrap());
    headers.append("forwarded", "for=192.0.2.3;by=192.0.2.4".parse().unwrap());
    let named: Vec<_> = named_addresses(&headers).map(|it| it.to_string()).collect();
    assert_eq!(named, ["192.0.2.1", "::1", "192.0.2.2", "192.0.2.3"]);
}

#[test]
fn an_invalid_network_is_named() {
    let error = TrustedProxies::parse(&["10.0.0.0/8", "10.0.0.0/99"]).unwrap_err();
    assert!(error.to_string().contains("10.0.0.0/99"), "{error}");
}
