//! Text that must not be shown.

use std::fmt;

use serde::Deserialize;
use utoipa::openapi::KnownFormat;

use crate::schema::text_schema;

/// A secret as the operator gave it. Its `Debug` output hides the text.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Secret(String);

text_schema!(
    Secret,
    "A secret. No answer returns it.",
    "correct horse battery staple",
    KnownFormat::Password
);

impl Secret {
    /// The text itself. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
