//! Passwords: argon2id with a random salt. The stored text names its parameters, so they can be
//! raised later without making older passwords useless.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use super::error::PeopleError;
use crate::secret::Secret;

/// The shortest password, in characters.
pub const MIN_PASSWORD: usize = 12;
/// The longest password, in bytes.
pub const MAX_PASSWORD: usize = 1024;
/// The memory that hashing one password takes, in KiB. With [`PASSES`] it is the least that OWASP
/// recommends.
const MEMORY_KIB: u32 = 19 * 1024;
/// How often hashing goes over that memory.
const PASSES: u32 = 2;
/// How many threads hash one password.
const LANES: u32 = 1;
/// Hashed in place of the salt of people who do not exist.
const NO_SALT: &[u8; 16] = b"there is no salt";

/// Checks a password that a person chose.
///
/// # Errors
///
/// [`PeopleError::Field`] if it is too short or too long.
pub fn check_password(password: &Secret) -> Result<(), PeopleError> {
    let text = password.expose();
    let characters = text.chars().count();
    if characters < MIN_PASSWORD {
        let problem = format!("{characters} characters; give {MIN_PASSWORD} or more");
        return Err(PeopleError::field("password", problem));
    }
    if text.len() > MAX_PASSWORD {
        let problem = format!("{} bytes; give {MAX_PASSWORD} at most", text.len());
        return Err(PeopleError::field("password", problem));
    }
    Ok(())
}

fn hasher() -> Result<Argon2<'static>, PeopleError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|_| PeopleError::Password)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashes a password for storage. This takes some hundredths of a second.
///
/// # Errors
///
/// [`PeopleError::Password`] if the system gives no random bytes or no memory.
pub fn hash(password: &Secret) -> Result<String, PeopleError> {
    let hashed = hasher()?.hash_password(password.expose().as_bytes());
    let hashed = hashed.map_err(|_| PeopleError::Password)?;
    Ok(hashed.to_string())
}

/// Whether `password` is the one that was hashed. Without a hash it is wrong, and finding that out
/// takes the same time.
pub fn is_right(password: &Secret, hashed: Option<&str>) -> bool {
    let Ok(hasher) = hasher() else { return false };
    let given = password.expose().as_bytes();
    match hashed.and_then(|hashed| PasswordHash::new(hashed).ok()) {
        Some(hashed) => hasher.verify_password(given, &hashed).is_ok(),
        None => {
            let mut unused = [0; Params::DEFAULT_OUTPUT_LEN];
            // Only the time that it takes matters.
            let _ = hasher.hash_password_into(given, NO_SALT, &mut unused);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_matches_its_hash() {
        let password = Secret::from("correct horse battery");
        let (one, other) = (hash(&password).unwrap(), hash(&password).unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other, "salted");
        assert!(is_right(&password, Some(&one)) && is_right(&password, Some(&other)));
        for wrong in ["correct horse battery ", "", "Correct horse battery"] {
            assert!(!is_right(&wrong.into(), Some(&one)));
        }
        assert!(!is_right(&password, None) && !is_right(&password, Some("no hash")));
    }

    #[test]
    fn a_password_has_twelve_characters_or_more() {
        let check = |text: &str| check_password(&text.into()).map_err(|error| error.to_string());
        assert_eq!(check("twelve chars"), Ok(()));
        assert_eq!(check("ääääääääääää"), Ok(()));
        let short = check("eleven char").unwrap_err();
        assert_eq!(short, "password: 11 characters; give 12 or more");
        assert!(check(&"x".repeat(1025)).is_err());
    }
}
