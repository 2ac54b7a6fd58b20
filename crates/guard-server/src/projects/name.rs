//! Names of projects. A name is part of paths, so it needs no escaping anywhere.

use thiserror::Error;

/// The longest name.
pub const MAX_NAME: usize = 64;

/// Why a text is no name of a project.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "a project's name has 1 to {MAX_NAME} characters: a-z, 0-9, - and _, and begins with a letter \
     or digit"
)]
pub struct InvalidName;

/// Checks the name of a new project.
///
/// # Errors
///
/// [`InvalidName`] says how names look.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = name.bytes();
    let begins_well = bytes.next().is_some_and(is_plain);
    let goes_on_well = bytes.all(|byte| is_plain(byte) || byte == b'-' || byte == b'_');
    (begins_well && goes_on_well && name.len() <= MAX_NAME)
        .then_some(())
        .ok_or(InvalidName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_needs_no_escaping() {
        let longest = "x".repeat(MAX_NAME);
        for name in ["default", "shop-2", "2", "a_b", &longest] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let too_long = "x".repeat(MAX_NAME + 1);
        for name in [
            "", "Shop", "-a", "_a", "a b", "a/b", "a.b", "..", "é", &too_long,
        ] {
            assert_eq!(check_name(name), Err(InvalidName), "{name}");
        }
    }
}
