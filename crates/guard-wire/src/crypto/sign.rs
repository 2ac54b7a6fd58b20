//! Signatures: `X-Payload-Signature: v1=HEX`, HMAC-SHA256 (RFC 2104) over the
//! body before compression.

use ring::hmac;

use crate::crypto::hash::hex;

/// Prefix of the header: the version of the scheme.
const PREFIX: &str = "v1=";

/// Signs `body`. Returns `None` if `secret` is empty.
///
/// ```
/// use guard_wire::sign::{sign, verify};
///
/// let signature = sign(b"{}", "k").unwrap();
/// assert!(signature.starts_with("v1="));
/// assert!(verify(b"{}", &signature, "k"));
/// assert!(!verify(b"{ }", &signature, "k"));
/// ```
pub fn sign(body: &[u8], secret: &str) -> Option<String> {
    if secret.is_empty() {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    Some([PREFIX, &hex(hmac::sign(&key, body).as_ref())].concat())
}

/// Whether `signature` is the result of [`sign`] for `body`. Compares in constant time.
pub fn verify(body: &[u8], signature: &str, secret: &str) -> bool {
    let Some(tag) = signature.trim().strip_prefix(PREFIX).and_then(unhex) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    !secret.is_empty() && hmac::verify(&key, body, &tag).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| {
            let digits = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(digits, 16).ok()
        })
        .collect()
}
