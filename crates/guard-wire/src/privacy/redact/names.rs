//! Sensitive names, in the usual spellings of header names.
//!
//! `x-api-key` is also found as `X-Api-Key`, `x_api_key`, `HTTP_X_API_KEY` (WSGI),
//! `xApiKey`, `b'x-api-key'` (a printed byte string) and
//! `http.request.header.x-api-key` (a flattened path).

/// Words that frameworks put before a header's name, separated by `-` or `_`.
const PREFIXES: [&[u8]; 3] = [b"http", b"header", b"headers"];

/// The set of sensitive names.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// In lower case, without `-` and `_`.
    names: Vec<Vec<u8>>,
    /// One bit for the last two letters of each name: rules out most text quickly.
    tails: u64,
}

impl Names {
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut all: Vec<Vec<u8>> = names.into_iter().map(letters).collect();
        all.retain(|name| !name.is_empty());
        all.sort_unstable();
        all.dedup();
        let tails = all.iter().fold(0, |bits, name| bits | tail_bits(name));
        Self { names: all, tails }
    }

    /// If `text` ends with a sensitive name: where that name begins.
    #[inline]
    pub(super) fn at_end(&self, text: &[u8]) -> Option<usize> {
        if self.tails & tail_bits(text) == 0 {
            return None;
        }
        let mut starts = self.names.iter().filter_map(|name| start_of(name, text));
        starts.find(|&start| is_boundary(&text[..start]))
    }
}

/// A name in lower case and without separators.
fn letters(name: &str) -> Vec<u8> {
    let lower = name.trim().bytes().map(|byte| byte.to_ascii_lowercase());
    lower.filter(|&byte| !is_separator(byte)).collect()
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'_')
}

/// A bit for the last two letters; all bits if they are not adjacent.
fn tail_bits(text: &[u8]) -> u64 {
    match text {
        [.., first, last] if !is_separator(*first) => {
            let [first, last] = [first, last].map(|byte| u32::from(byte.to_ascii_lowercase()));
            1 << ((first * 5 + last) % u64::BITS)
        }
        _ => u64::MAX,
    }
}

/// Where `name` begins if `text` ends with it.
fn start_of(name: &[u8], text: &[u8]) -> Option<usize> {
    let mut at = text.len();
    for wanted in name.iter().rev() {
        loop {
            at = at.checked_sub(1)?;
            if text[at].eq_ignore_ascii_case(wanted) {
                break;
            }
            let is_between_letters = at + 1 < text.len();
            if !is_separator(text[at]) || !is_between_letters {
                return None;
            }
        }
    }
    Some(at)
}

/// Whether a name may begin after `before`. Inside a longer word it may not.
fn is_boundary(before: &[u8]) -> bool {
    let Some((&last, rest)) = before.split_last() else {
        return true;
    };
    match last {
        // An escape for a line break or tab.
        b'n' | b'r' | b't' => rest.ends_with(b"\\"),
        b'-' | b'_' => PREFIXES.iter().any(|prefix| ends_with(rest, prefix)),
        // `document.cookie` in an attack on a page is a property, not a header.
        b'.' => !ends_with(rest, b"document"),
        // A path, an alternative in a pattern, a user, an escape.
        b'/' | b'|' | b'@' | b'\\' | b'%' => false,
        last => !last.is_ascii_alphanumeric(),
    }
}

/// Whether `text` ends with `word`, in any case.
#[inline]
pub(super) fn ends_with(text: &[u8], word: &[u8]) -> bool {
    let mut ends = text.iter().rev().zip(word.iter().rev());
    text.len() >= word.len() && ends.all(|(one, other)| one.eq_ignore_ascii_case(other))
}
