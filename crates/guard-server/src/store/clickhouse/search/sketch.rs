//! The values of a metric, counted by size, so that a quantile is within 1 % of the exact one.
//!
//! A positive number has the index `ceil(log(number) / log(GAMMA))`: the numbers of an index differ by
//! a factor of at most `GAMMA`. Indexes are moved up by `OFFSET`, so that those of negative numbers can
//! be negative, and 0 is the index of 0.

use std::collections::BTreeMap;

/// The relative error.
const ERROR: f64 = 0.01;
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);
/// Smaller numbers count as 0.
const LEAST: f64 = 1e-12;
/// More than `-log(LEAST) / log(GAMMA)`.
const OFFSET: i32 = 2000;

/// The index of `value`, as SQL; of NULL it is 0.
pub(super) fn index_of(value: &str) -> String {
    format!(
        "toInt32(ifNull(if(abs({value}) < {LEAST:e}, 0, \
         sign({value}) * ({OFFSET} + ceil(log(abs({value})) / {:e}))), 0))",
        GAMMA.ln()
    )
}

/// How many values there are of each index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sketch(BTreeMap<i32, u64>);

impl Sketch {
    /// Adds `n` values of an index.
    pub(super) fn add(&mut self, index: i32, n: u64) {
        *self.0.entry(index).or_default() += n;
    }

    /// Adds `n` times a value.
    pub(super) fn add_value(&mut self, value: f64, n: u64) {
        self.add(index(value), n);
    }

    /// About the least value that a share of all values does not exceed.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let n: u64 = self.0.values().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts of metrics are far below 2^53"
        )]
        let place = ((share * n as f64).ceil() as u64).clamp(1, n.max(1));
        let mut below = 0;
        let found = self.0.iter().find(|(_, n)| {
            below += **n;
            below >= place
        });
        found.map(|(index, _)| value(*index))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the logarithm of the greatest number is far below 2^31"
)]
fn index(value: f64) -> i32 {
    if value.abs() < LEAST {
        return 0;
    }
    let place = (value.abs().ln() / GAMMA.ln()).ceil() as i32;
    let index = OFFSET + place;
    if value < 0.0 { -index } else { index }
}

/// The number in the middle of those that have an index.
fn value(index: i32) -> f64 {
    if index == 0 {
        return 0.0;
    }
    let size = 2.0 * GAMMA.powi(index.abs() - OFFSET) / (GAMMA + 1.0);
    if index < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_the_error_of_the_exact_one() {
        let mut values: Vec<_> = (-500..1500)
            .map(|n| f64::from(n).powi(3) / 1000.0)
            .chain([1e-300, 1e300, -1e300, 0.0])
            .collect();
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add_value(*value, 1));
        values.sort_by(f64::total_cmp);
        for (share, rank) in [
            (0.0, 0),
            (0.25, 500),
            (0.5, 1001),
            (0.95, 1903),
            (1.0, 2003),
        ] {
            let (found, exact) = (sketch.quantile(share).unwrap(), values[rank]);
            assert!(
                (found - exact).abs() <= exact.abs() * 0.011 + LEAST,
                "{share}: {found} {exact}"
            );
        }
        assert_eq!(Sketch::default().quantile(0.5), None);
    }
}
