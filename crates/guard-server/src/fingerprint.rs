//! Short fingerprints of long contents.

use ring::digest::{Context, SHA256};

/// 128 bits of the SHA-256 over `parts`, in hexadecimal. That is enough to tell contents apart. A
/// zero byte separates the parts.
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
    fn different_contents_have_different_fingerprints() {
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["ab"]));
        assert_eq!(fingerprint(&[""]).len(), 32);
    }
}
