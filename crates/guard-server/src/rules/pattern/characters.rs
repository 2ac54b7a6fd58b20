//! Sets of characters.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

/// The first character beyond ASCII.
const FIRST_OTHER: char = '\u{80}';

/// A set of characters. ASCII is stored separately, because it decides most comparisons: a class
/// such as `\w` has hundreds of ranges beyond ASCII.
#[derive(Debug, Clone)]
pub(super) struct Characters {
    ascii: u128,
    others: ClassUnicode,
}

impl Characters {
    /// All characters that can occur in a match of `hir`.
    pub(super) fn of(hir: &Hir) -> Self {
        let mut all = Self {
            ascii: 0,
            others: ClassUnicode::empty(),
        };
        all.add(hir);
        all
    }

    fn add(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Literal(literal) => {
                let text = String::from_utf8_lossy(&literal.0);
                let each = text.chars().map(|it| ClassUnicodeRange::new(it, it));
                self.add_class(&ClassUnicode::new(each));
            }
            HirKind::Class(Class::Unicode(class)) => self.add_class(class),
            HirKind::Class(Class::Bytes(class)) => {
                let class = class.to_unicode_class();
                // Bytes beyond ASCII can be part of any character.
                self.add_class(&class.unwrap_or_else(|| {
                    ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])
                }));
            }
            HirKind::Repetition(repetition) => self.add(&repetition.sub),
            HirKind::Capture(capture) => self.add(&capture.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => {
                parts.iter().for_each(|part| self.add(part));
            }
            HirKind::Empty | HirKind::Look(_) => {}
        }
    }

    fn add_class(&mut self, class: &ClassUnicode) {
        for range in class.ranges() {
            let (first, last) = (u32::from(range.start()), u32::from(range.end()));
            if first < 128 {
                self.ascii |= (u128::MAX << first) & (u128::MAX >> (127 - last.min(127)));
            }
        }
        let beyond = class
            .ranges()
            .iter()
            .filter(|range| !range.end().is_ascii());
        let beyond =
            beyond.map(|range| ClassUnicodeRange::new(range.start().max(FIRST_OTHER), range.end()));
        self.others.union(&ClassUnicode::new(beyond));
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.ascii & other.ascii != 0 || meet(self.others.ranges(), other.others.ranges())
    }

    /// Whether it contains all characters of `other`.
    pub(super) fn holds(&self, other: &Self) -> bool {
        let mut missing = other.others.clone();
        missing.difference(&self.others);
        other.ascii & !self.ascii == 0 && missing.ranges().is_empty()
    }
}

/// Whether two sorted lists of ranges share a character.
fn meet(mut one: &[ClassUnicodeRange], mut other: &[ClassUnicodeRange]) -> bool {
    while let ([a, later_one @ ..], [b, later_other @ ..]) = (one, other) {
        if a.end() < b.start() {
            one = later_one;
        } else if b.end() < a.start() {
            other = later_other;
        } else {
            return true;
        }
    }
    false
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
    fn sets_overlap_if_they_share_an_ascii_or_other_character() {
        for (one, other, expected) in [
            ("a", "A", true),
            ("[a-f]", "[f-z]", true),
            ("[a-f]", "[g-z]", false),
            ("k", "s", false),
            (r"\d", r"\w", true),
            (r"\x00", r"\x7f", false),
            (r"[^\x00]", r"\x7f", true),
            ("é", "É", true),
            ("é", "ж", false),
            ("é", "e", false),
            (".", "é", true),
            (r"\s", r"\w", false),
            (r"\w", r"\W", false),
            (r"\D", r"\d", false),
            ("[а-я]", r"\w", true),
        ] {
            assert_eq!(of(one).overlaps(&of(other)), expected, "{one} and {other}");
        }
        assert!(of("[a-c]").holds(&of("ab")) && !of("[a-c]").holds(&of("ad")));
        assert!(of(".").holds(&of("é")) && !of("[a-z]").holds(&of("é")));
    }
}
