//! Secrets from files: other users of a machine can see arguments, but not a private file.

use std::io::Read as _;
use std::path::Path;

use super::{FAILED, Outcome};
use crate::secret::Secret;

/// The most bytes that are read of a file with a secret.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// The secret in a file, without the line break at its end. `-` is standard input.
pub(super) fn secret_in(path: &Path) -> Outcome<Secret> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .take(MAX_SECRET_FILE)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|it| it.take(MAX_SECRET_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| (FAILED, format!("cannot read {}: {error}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}
