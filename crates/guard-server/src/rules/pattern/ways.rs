//! In how many ways a pattern can match one text. Where the match fails in the end,
//! a backtracking engine tries each of them.

use regex_syntax::hir::{ClassUnicode, Hir, HirKind, Repetition};

use super::{FEW, can_be_within, characters, class_of, have_common};

/// From one place on; rather too many than too few.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ways {
    /// Those that can come to the same end, which multiply with all others.
    bound: u64,
    /// Those that come to different ends. From most of them what follows does not
    /// go on, unless it can match the same characters.
    free: u64,
}

impl Ways {
    const ONE: Self = Self { bound: 1, free: 1 };

    pub(super) const fn all(self) -> u64 {
        self.bound.saturating_mul(self.free)
    }

    pub(super) fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Alternation(alternatives) => Self::of_alternatives(alternatives),
            HirKind::Repetition(repetition) => Self::of_repetition(repetition),
            HirKind::Capture(_) | HirKind::Concat(_) => {
                let parts = parts_of(hir);
                Self::together(parts.iter().zip(shared(&parts)))
            }
            HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => {
                Self::ONE
            }
        }
    }

    /// A text can choose only between alternatives that begin alike.
    fn of_alternatives(alternatives: &[Hir]) -> Self {
        let judged = alternatives.iter();
        let judged: Vec<_> = judged.map(|it| (beginning(it).0, Self::of(it))).collect();
        let mut most = Self::ONE;
        for (begins, ways) in &judged {
            let alike = judged.iter().filter(|(other, _)| are_alike(begins, other));
            let (count, sum) = alike.fold((0, 0_u64), |(count, sum), (_, ways)| {
                (count + 1, sum.saturating_add(ways.all()))
            });
            let (bound, free) = if count > 1 {
                (sum, 1)
            } else {
                (ways.bound, ways.free)
            };
            most.bound = most.bound.max(bound);
            most.free = most.free.max(free);
        }
        most
    }

    fn of_repetition(repetition: &Repetition) -> Self {
        let most = repetition.max.unwrap_or(FEW);
        let lengths = repetition
            .max
            .map_or(FEW, |most| most.saturating_sub(repetition.min));
        let lengths = lengths.min(FEW) + 1;
        let mut parts = parts_of(&repetition.sub);
        let count = parts.len();
        if most > 1 {
            parts.extend_from_within(..);
        }
        let shared = shared(&parts);
        let shared = (0..count).map(|at| shared.iter().skip(at).step_by(count).any(|it| *it));
        let mut ways = Self::together(parts.iter().zip(shared));
        ways.bound = ways.bound.saturating_pow(most);
        let longer = if may_be_empty(&repetition.sub) {
            &mut ways.bound
        } else {
            &mut ways.free
        };
        *longer = longer.saturating_mul(lengths.into());
        ways
    }

    /// Of parts one behind the other, each with whether it shares characters.
    fn together<'p>(parts: impl Iterator<Item = (&'p Part<'p>, bool)>) -> Self {
        parts.fold(Self::ONE, |mut all, (part, is_shared)| {
            let (bound, free) = if is_shared {
                (part.ways.all(), 1)
            } else {
                (part.ways.bound, part.ways.free)
            };
            all.bound = all.bound.saturating_mul(bound);
            all.free = all.free.max(free);
            all
        })
    }
}

/// A part of what stands one behind the other.
#[derive(Clone)]
struct Part<'h> {
    hir: &'h Hir,
    characters: ClassUnicode,
    ways: Ways,
}

fn parts_of(hir: &Hir) -> Vec<Part<'_>> {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().flat_map(parts_of).collect(),
        HirKind::Capture(capture) => parts_of(&capture.sub),
        _ => vec![Part {
            hir,
            characters: characters(hir),
            ways: Ways::of(hir),
        }],
    }
}

/// Which parts can match the same characters of a text as another.
fn shared(parts: &[Part<'_>]) -> Vec<bool> {
    let mut shared = vec![false; parts.len()];
    for (at, first) in parts.iter().enumerate().filter(|(_, it)| chooses(it.hir)) {
        for (other, later) in parts.iter().enumerate().skip(at + 1) {
            if chooses(later.hir) && have_common(&first.characters, &later.characters) {
                shared[at] = true;
                shared[other] = true;
            }
            if !may_be_empty(later.hir) && !can_be_within(later.hir, &first.characters) {
                break;
            }
        }
    }
    shared
}

/// Whether there is something to choose, be it for a text that begins elsewhere.
fn chooses(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Alternation(_) => true,
        HirKind::Repetition(it) => it.max != Some(it.min) || chooses(&it.sub),
        HirKind::Capture(capture) => chooses(&capture.sub),
        HirKind::Concat(parts) => parts.iter().any(chooses),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => false,
    }
}

fn may_be_empty(hir: &Hir) -> bool {
    hir.properties().minimum_len() == Some(0)
}

/// What the characters that it matches are, one by one, as far as that is the same
/// for all texts; and whether that is all of it.
fn beginning(hir: &Hir) -> (Vec<ClassUnicode>, bool) {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0);
            (text.chars().map(|it| class_of([it])).collect(), true)
        }
        HirKind::Class(_) => (vec![characters(hir)], true),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            (beginning(&repetition.sub).0, false)
        }
        HirKind::Capture(capture) => beginning(&capture.sub),
        HirKind::Concat(parts) => {
            let mut all = Vec::new();
            for part in parts {
                let (next, is_all) = beginning(part);
                all.extend(next);
                if !is_all {
                    return (all, false);
                }
            }
            (all, true)
        }
        HirKind::Alternation(_) | HirKind::Repetition(_) => (Vec::new(), false),
        HirKind::Empty | HirKind::Look(_) => (Vec::new(), true),
    }
}

/// Whether one text can begin with both.
fn are_alike(one: &[ClassUnicode], other: &[ClassUnicode]) -> bool {
    let mut both = one.iter().zip(other);
    both.all(|(one, other)| have_common(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(pattern: &str) -> u64 {
        Ways::of(&regex_syntax::parse(pattern).unwrap()).all()
    }

    #[test]
    fn what_cannot_share_a_text_adds_nothing() {
        for (pattern, expected) in [
            ("abc", 1),
            ("a?", 2),
            ("[a-z]{2,8}", 7),
            ("a{2}", 1),
            ("a{20,}", 11),
            ("(?:ab|ac|d){3}", 1),
            ("a{0,9}b{0,9}", 10),
            (r"\d{1,3}(?:\.\d{1,3}){3}", 9),
            (r"(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}", 16),
            ("(?:%2e|[.]){2}(?:%2f|%5c|/)", 1),
            ("(?:a{1,3};){1,9}", 27),
        ] {
            assert_eq!(ways(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_can_share_a_text_multiplies() {
        for (pattern, expected) in [
            ("a?a?", 4),
            ("a{0,2}a{5}a{0,2}", 9),
            ("(?:a?){3}", 8),
            ("(?:a|a?){3}", 27),
            ("(?:ab|abc|d){3}", 8),
            ("a?b?a?b?", 16),
            (r"(?:\d{1,3}[.,]?){3}", 54),
            ("(?:a?x{0,2}a){2}", 12),
            ("(?:a?a?b){2}", 16),
            ("(?:a?)?(?:b?)?", 8),
            ("(?:a{0,9}(?:b|ab)){2}", 100),
        ] {
            assert_eq!(ways(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_beyond_counting_is_a_lot() {
        assert_eq!(ways("((a?){1000}){1000}"), u64::MAX);
    }
}
