//! Text in which stars stand for any text.

/// A text with stars. `/api/*` matches `/api/` and `/api/items`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The literal parts; between two of them stands a star.
    parts: Vec<String>,
}

impl Pattern {
    /// A pattern of literal parts with a star between each two.
    pub(crate) fn new(parts: Vec<String>) -> Self {
        Self { parts }
    }

    pub(crate) fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Whether it is a star alone.
    pub(crate) fn is_star(&self) -> bool {
        self.parts.len() > 1 && self.parts.iter().all(String::is_empty)
    }

    /// Whether the whole text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_none_or(|only| only == text);
        };
        let Some(rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
            return false;
        };
        // The leftmost place of each part leaves the most text for the next ones.
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        true
    }

    /// Whether some part of the text matches, ignoring ASCII case.
    pub(crate) fn is_within(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let mut rest = text.as_str();
        for part in &self.parts {
            let Some(at) = rest.find(&part.to_ascii_lowercase()) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.split('*').map(str::to_owned).collect())
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (stars, text, is_match) in [
            ("/api/*", "/api/items", true),
            ("/api/*", "/api/", true),
            ("/api/*", "/apis", false),
            ("*/login", "/a/login", true),
            ("*/login", "/login/a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("no*on", "non", false),
            ("*", "", true),
            ("**", "x", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(pattern(stars).matches(text), is_match, "{stars} {text}");
        }
    }

    #[test]
    fn a_word_is_found_anywhere_ignoring_ascii_case() {
        assert!(pattern("SqlMap").is_within("a sqlmap/1.7 scan"));
        assert!(pattern("union*select").is_within("1 UNION ALL SELECT 2"));
        assert!(!pattern("select*union").is_within("1 UNION ALL SELECT 2"));
        assert!(!pattern("Ä").is_within("ä"));
    }
}
