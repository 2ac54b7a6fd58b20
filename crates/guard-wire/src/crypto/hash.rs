//! Hashes of addresses.

use ring::digest;

/// The first 16 hexadecimal digits of SHA-256 over `ip` followed by `salt`.
///
/// A hash cannot be reversed, but there are few IPv4 addresses: without a secret salt, an
/// attacker finds the address by trying all of them.
///
/// ```
/// assert_eq!(guard_wire::hash::hash_ip("127.0.0.1", ""), "12ca17b49af22894");
/// ```
pub fn hash_ip(ip: &str, salt: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(ip.as_bytes());
    context.update(salt.as_bytes());
    let mut text = hex(context.finish().as_ref());
    text.truncate(16);
    text
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
