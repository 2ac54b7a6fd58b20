//! Signatures, encryption and hashes.

pub mod encrypt;
pub mod hash;
pub mod sign;
