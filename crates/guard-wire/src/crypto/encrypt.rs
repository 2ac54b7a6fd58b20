//! Encrypted payloads: AES-256-GCM (NIST SP 800-38D), written as URL-safe
//! base64 (RFC 4648) of nonce (12 bytes), ciphertext and tag (16 bytes).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const KEY_LEN: usize = 32;

/// Why a key cannot be used. It does not contain the key.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The text is not URL-safe base64.
    #[error("the encryption key is not URL-safe base64; give 32 bytes as URL-safe base64")]
    NotBase64,
    /// The key does not have 32 bytes.
    #[error("the encryption key has {len} bytes; give 32 bytes as URL-safe base64")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
}

/// A payload could not be encrypted, because the system provided no random bytes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the payload could not be encrypted: no random bytes from the system")]
pub struct EncryptError;

/// A payload could not be decrypted.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("Invalid or tampered payload")]
pub struct DecryptError;

/// Encrypts and decrypts payloads with one key.
///
/// ```
/// use guard_wire::encrypt::Encryptor;
///
/// let encryptor = Encryptor::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
/// let sealed = encryptor.encrypt(b"{}").unwrap();
/// assert_eq!(encryptor.decrypt(&sealed).unwrap(), b"{}");
/// ```
pub struct Encryptor {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Encryptor {
    /// An encryptor for a 256-bit key given as URL-safe base64.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the text is not base64 or the key does not have 32 bytes.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        let bytes = BASE64.decode(key.trim()).map_err(|_| KeyError::NotBase64)?;
        if bytes.len() != KEY_LEN {
            return Err(KeyError::Length { len: bytes.len() });
        }
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| KeyError::Length { len: bytes.len() })?;
        Ok(Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
        })
    }

    /// Seals `plain` under a fresh random nonce.
    ///
    /// # Errors
    ///
    /// [`EncryptError`] if the system provides no random bytes.
    pub fn encrypt(&self, plain: &[u8]) -> Result<String, EncryptError> {
        self.encrypt_with(plain, &[])
    }

    /// Encrypts `plain` and binds it to `associated`, which is not part of the result.
    ///
    /// # Errors
    ///
    /// [`EncryptError`] if the system provides no random bytes.
    pub fn encrypt_with(&self, plain: &[u8], associated: &[u8]) -> Result<String, EncryptError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| EncryptError)?;
        self.seal(nonce, plain, associated)
    }

    fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        plain: &[u8],
        associated: &[u8],
    ) -> Result<String, EncryptError> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated),
                &mut sealed[NONCE_LEN..],
            )
            .map_err(|_| EncryptError)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(BASE64.encode(sealed))
    }

    /// Decrypts the result of [`encrypt`](Self::encrypt).
    ///
    /// # Errors
    ///
    /// [`DecryptError`] for anything that was not encrypted with this key. It does not say why.
    pub fn decrypt(&self, sealed: &str) -> Result<Vec<u8>, DecryptError> {
        self.decrypt_with(sealed, &[])
    }

    /// Decrypts the result of [`encrypt_with`](Self::encrypt_with) with the same `associated`.
    ///
    /// # Errors
    ///
    /// [`DecryptError`] for anything else.
    pub fn decrypt_with(&self, sealed: &str, associated: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let mut bytes = BASE64.decode(sealed.trim()).map_err(|_| DecryptError)?;
        let (nonce, cipher) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(DecryptError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DecryptError)?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(associated), cipher)
            .map_err(|_| DecryptError)?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryptor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_given_nonce_gives_the_public_agents_ciphertext() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors.json")).unwrap();
        for case in vectors["encryption"].as_array().unwrap() {
            let encryptor = Encryptor::new(case["key"].as_str().unwrap()).unwrap();
            let sealed = case["ciphertext"].as_str().unwrap();
            let plain = encryptor.decrypt(sealed).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&plain).unwrap();
            assert_eq!(parsed, case["plaintext"]);
            let nonce = u8::from_str_radix(&case["nonce_hex"].as_str().unwrap()[..2], 16).unwrap();
            assert_eq!(
                encryptor.seal([nonce; NONCE_LEN], &plain, &[]).unwrap(),
                sealed
            );
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_refused_without_being_named() {
        assert_eq!(
            Encryptor::new("not base64!").unwrap_err(),
            KeyError::NotBase64
        );
        let error = Encryptor::new("c2hvcnQ=").unwrap_err();
        assert_eq!(error, KeyError::Length { len: 5 });
        assert!(!error.to_string().contains("short"));
        assert!(!format!("{:?}", Encryptor::new(KEY).unwrap()).contains("AAEC"));
    }

    #[test]
    fn a_payload_that_was_changed_or_bound_to_something_else_does_not_open() {
        let encryptor = Encryptor::new(KEY).unwrap();
        let sealed = encryptor.encrypt_with(b"plain", b"bound").unwrap();
        assert_eq!(encryptor.decrypt_with(&sealed, b"bound").unwrap(), b"plain");
        assert_eq!(encryptor.decrypt(&sealed), Err(DecryptError));
        assert_eq!(encryptor.decrypt("AAAA"), Err(DecryptError));
        let mut bytes = BASE64.decode(&sealed).unwrap();
        bytes[13] ^= 1;
        assert_eq!(
            encryptor.decrypt_with(&BASE64.encode(bytes), b"bound"),
            Err(DecryptError)
        );
    }
}
