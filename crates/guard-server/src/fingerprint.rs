//! Short names for long contents.

use ring::digest::{Context, SHA256};

/// 128 bits of the SHA-256 over `parts`, as hexadecimal digits. Enough to tell
/// contents apart; parts are kept apart by a zero byte.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&context.finish().as_ref()[..16]);
    format!("{:032x}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_that_differ_get_fingerprints_that_differ() {
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["ab"]));
        assert_eq!(fingerprint(&[""]).len(), 32);
    }
}
