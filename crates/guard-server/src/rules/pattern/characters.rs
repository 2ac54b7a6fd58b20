//! Sets of characters, as far as overlap is concerned.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Each ASCII character by itself, and all others as one. So a set is two words, however many
/// characters of Unicode a class such as `\w` has; two classes beyond ASCII always overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Characters {
    ascii: u128,
    others: bool,
}

/// Case variants of `s` and `k`, which no set has besides these: every `k` would overlap with
/// every `s` otherwise.
const VARIANTS: [u32; 2] = [0x17f, 0x212a];

impl Characters {
    /// All characters that may stand in what `hir` matches.
    pub(super) fn of(hir: &Hir) -> Self {
        let mut all = Self::default();
        all.add(hir);
        all
    }

    fn add(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Literal(literal) => {
                for it in String::from_utf8_lossy(&literal.0).chars() {
                    self.add_range(it.into(), it.into());
                }
            }
            HirKind::Class(Class::Unicode(class)) => {
                for range in class.ranges() {
                    self.add_range(range.start().into(), range.end().into());
                }
            }
            HirKind::Class(Class::Bytes(class)) => {
                for range in class.ranges() {
                    self.add_range(range.start().into(), range.end().into());
                }
            }
            HirKind::Repetition(repetition) => self.add(&repetition.sub),
            HirKind::Capture(capture) => self.add(&capture.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => {
                parts.iter().for_each(|part| self.add(part));
            }
            HirKind::Empty | HirKind::Look(_) => {}
        }
    }

    fn add_range(&mut self, first: u32, last: u32) {
        if first < 128 {
            let last = last.min(127);
            self.ascii |= (u128::MAX << first) & (u128::MAX >> (127 - last));
        }
        let is_variant = first == last && VARIANTS.contains(&first);
        self.others |= last >= 128 && !is_variant;
    }

    pub(super) const fn overlaps(self, other: Self) -> bool {
        self.ascii & other.ascii != 0 || (self.others && other.others)
    }

    /// Whether it has all that `other` has.
    pub(super) const fn holds(self, other: Self) -> bool {
        other.ascii & !self.ascii == 0 && (self.others || !other.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Characters {
        let mut parser = regex_syntax::ParserBuilder::new();
        let hir = parser.case_insensitive(true).build().parse(pattern);
        Characters::of(&hir.unwrap())
    }

    #[test]
    fn sets_overlap_in_a_character_of_ascii_or_beyond_it() {
        for (one, other, expected) in [
            ("a", "A", true),
            ("[a-f]", "[f-z]", true),
            ("[a-f]", "[g-z]", false),
            ("k", "s", false),
            (r"\d", r"\w", true),
            (r"\x00", r"\x7f", false),
            (r"[^\x00]", r"\x7f", true),
            ("é", "ж", true),
            ("é", "e", false),
            (".", "é", true),
        ] {
            assert_eq!(of(one).overlaps(of(other)), expected, "{one} and {other}");
        }
        assert!(of("[a-c]").holds(of("ab")) && !of("[a-c]").holds(of("ad")));
        assert!(of(".").holds(of("é")) && !of("[a-z]").holds(of("é")));
    }
}
