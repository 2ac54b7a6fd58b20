//! Counts in how many ways a pattern can match one text. If the match fails in the end, a
//! backtracking engine tries each of them.

use regex_syntax::hir::{Hir, HirKind, Repetition};

use super::FEW;
use super::characters::Characters;

/// This many overlapping pieces always have more than a thousand ways.
const ENOUGH: usize = 10;

/// Two endless repetitions in sequence can match the same text.
#[derive(Debug, PartialEq)]
pub(super) struct Endless;

/// The number of ways to match one text. It may be too high, but never too low.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ways {
    /// The ways that exist whatever comes before and after.
    pub(super) certain: u64,
    /// The ways that exist if all of it overlaps with something else.
    possible: u64,
}

/// A part of a sequence.
struct Piece<'h> {
    hir: &'h Hir,
    characters: Characters,
    ways: Ways,
    /// Whether a match may leave it out.
    is_optional: bool,
    is_endless: bool,
}

impl Piece<'_> {
    /// Whether it can match a text of these characters, or the empty text.
    fn can_be_within(&self, matched: &Characters) -> bool {
        match self.hir.kind() {
            HirKind::Class(_) => matched.overlaps(&self.characters),
            HirKind::Literal(_) => matched.holds(&self.characters),
            _ => can_be_within(self.hir, matched),
        }
    }
}

impl Ways {
    const ONE: Self = Self {
        certain: 1,
        possible: 1,
    };

    /// # Errors
    ///
    /// [`Endless`] if the ways cannot be counted.
    pub(super) fn of(hir: &Hir) -> Result<Self, Endless> {
        let mut sequence = Sequence::default();
        sequence.add(hir, false)?;
        sequence.ways()
    }

    /// Only alternatives with a common beginning give a text a choice.
    fn of_alternatives(alternatives: &[Hir]) -> Result<Self, Endless> {
        let ways: Result<Vec<_>, _> = alternatives.iter().map(Self::of).collect();
        let ways = ways?;
        let begin: Vec<_> = alternatives.iter().map(|it| beginning(it).0).collect();
        let mut most = Self::ONE;
        for (at, one) in begin.iter().enumerate() {
            let alike = (0..begin.len()).filter(|other| are_alike(one, &begin[*other]));
            let sum = alike.fold(0_u64, |sum, other| sum.saturating_add(ways[other].possible));
            let is_alone = sum == ways[at].possible;
            let certain = if is_alone { ways[at].certain } else { sum };
            most.certain = most.certain.max(certain);
            most.possible = most.possible.max(sum);
        }
        Ok(most)
    }
}

/// Pieces in sequence. Short repetitions that contain choices are written out.
#[derive(Default)]
struct Sequence<'h> {
    pieces: Vec<Piece<'h>>,
    /// For each written-out repetition, the number of its possible lengths; the ways are multiplied
    /// by them.
    counts: Vec<u64>,
}

impl<'h> Sequence<'h> {
    fn add(&mut self, hir: &'h Hir, is_optional: bool) -> Result<(), Endless> {
        match hir.kind() {
            HirKind::Concat(parts) => {
                for part in parts {
                    self.add(part, is_optional)?;
                }
            }
            HirKind::Capture(capture) => self.add(&capture.sub, is_optional)?,
            HirKind::Repetition(repetition)
                if !is_endless(repetition) && chooses(&repetition.sub) =>
            {
                let is_optional = is_optional || repetition.min == 0;
                for _ in 0..repetition.max.unwrap_or(FEW).min(FEW) {
                    self.add(&repetition.sub, is_optional)?;
                }
                self.counts.push(lengths(repetition));
            }
            HirKind::Repetition(repetition) => {
                let ways = Ways {
                    certain: 1,
                    possible: lengths(repetition),
                };
                let is_optional = is_optional || repetition.min == 0;
                self.push(hir, ways, is_optional, is_endless(repetition));
            }
            HirKind::Alternation(alternatives) => {
                let ways = Ways::of_alternatives(alternatives)?;
                self.push(hir, ways, is_optional, false);
            }
            HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => {
                self.push(hir, Ways::ONE, is_optional, false);
            }
        }
        Ok(())
    }

    fn push(&mut self, hir: &'h Hir, ways: Ways, is_optional: bool, is_endless: bool) {
        self.pieces.push(Piece {
            hir,
            characters: Characters::of(hir),
            ways,
            is_optional,
            is_endless,
        });
    }

    fn ways(self) -> Result<Ways, Endless> {
        let overlapping = self.overlapping()?;
        let mut all = self.counts.iter().fold(Ways::ONE, |all, count| Ways {
            certain: all.certain.saturating_mul(*count),
            possible: all.possible.saturating_mul(*count),
        });
        for (piece, overlaps) in self.pieces.iter().zip(overlapping) {
            let Ways { certain, possible } = piece.ways;
            let certain = if overlaps { possible } else { certain };
            all.certain = all.certain.saturating_mul(certain);
            all.possible = all.possible.saturating_mul(possible);
        }
        Ok(all)
    }

    /// Marks the pieces that overlap with another one: both can match the same character, and the
    /// first can match everything that must stand between them.
    fn overlapping(&self) -> Result<Vec<bool>, Endless> {
        let mut overlapping = vec![false; self.pieces.len()];
        let mut count = 0;
        let choosing = |piece: &Piece<'_>| piece.ways.possible > 1;
        for (at, first) in self.pieces.iter().enumerate() {
            if !choosing(first) || (count >= ENOUGH && !first.is_endless) {
                continue;
            }
            for (other, later) in self.pieces.iter().enumerate().skip(at + 1) {
                if choosing(later) && first.characters.overlaps(&later.characters) {
                    if first.is_endless && later.is_endless {
                        return Err(Endless);
                    }
                    for it in [at, other] {
                        count += usize::from(!std::mem::replace(&mut overlapping[it], true));
                    }
                }
                if !later.is_optional && !later.can_be_within(&first.characters) {
                    break;
                }
            }
        }
        Ok(overlapping)
    }
}

/// More repetitions than a few count as endless.
const fn is_endless(repetition: &Repetition) -> bool {
    match repetition.max {
        None => true,
        Some(most) => most > FEW && most != repetition.min,
    }
}

/// The number of lengths that it can have.
fn lengths(repetition: &Repetition) -> u64 {
    let most = repetition.max.unwrap_or(u32::MAX);
    (most.saturating_sub(repetition.min).min(FEW) + 1).into()
}

/// Whether it contains a choice, even for a text that begins elsewhere.
fn chooses(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Alternation(alternatives) => {
            let begin: Vec<_> = alternatives.iter().map(|it| beginning(it).0).collect();
            let is_alike = |(at, one): (usize, &Vec<Characters>)| {
                begin[at + 1..].iter().any(|other| are_alike(one, other))
            };
            alternatives.iter().any(chooses) || begin.iter().enumerate().any(is_alike)
        }
        HirKind::Repetition(it) => it.max != Some(it.min) || chooses(&it.sub),
        HirKind::Capture(capture) => chooses(&capture.sub),
        HirKind::Concat(parts) => parts.iter().any(chooses),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => false,
    }
}

/// Whether it can match a text of these characters, or the empty text.
fn can_be_within(piece: &Hir, matched: &Characters) -> bool {
    match piece.kind() {
        HirKind::Alternation(parts) => parts.iter().any(|part| can_be_within(part, matched)),
        HirKind::Concat(parts) => parts.iter().all(|part| can_be_within(part, matched)),
        HirKind::Capture(capture) => can_be_within(&capture.sub, matched),
        HirKind::Repetition(repetition) => {
            repetition.min == 0 || can_be_within(&repetition.sub, matched)
        }
        HirKind::Class(_) => matched.overlaps(&Characters::of(piece)),
        HirKind::Literal(_) => matched.holds(&Characters::of(piece)),
        HirKind::Empty | HirKind::Look(_) => true,
    }
}

/// The character sets at the start of each match, one by one, as far as they are the same for all
/// matches; and whether that is the whole match.
fn beginning(hir: &Hir) -> (Vec<Characters>, bool) {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0);
            let each = |it: char| Characters::of(&Hir::literal(it.to_string().into_bytes()));
            (text.chars().map(each).collect(), true)
        }
        HirKind::Class(_) => (vec![Characters::of(hir)], true),
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
fn are_alike(one: &[Characters], other: &[Characters]) -> bool {
    let mut both = one.iter().zip(other);
    both.all(|(one, other)| one.overlaps(other))
}
