//! How many events there were in each bucket, by key.

use std::collections::HashMap;
use std::hash::Hash;

use super::group::Key;

/// The most keys in a series; the events of all others are counted together.
pub const SERIES_KEYS: usize = 12;
/// The most keys that are told apart while counting. Events of keys beyond it count as other, and
/// the answer says that it is approximate.
pub const MAX_GROUPS: usize = 100_000;
/// The most counts that are kept while counting, over all keys.
const MAX_CELLS: usize = 4_000_000;

/// The counts of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCounts {
    /// The key.
    pub key: Key,
    /// One count for each bucket.
    pub counts: Vec<u64>,
}

/// The counts of the events in each bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// The most frequent keys, at most [`SERIES_KEYS`], most events first, then by key.
    pub keys: Vec<KeyCounts>,
    /// The counts of all other events.
    pub other: Vec<u64>,
    /// Whether the counts are not exact, because there are too many keys to tell apart, or too many
    /// events to look at.
    pub is_approximate: bool,
}

impl Series {
    /// The number of all events in it.
    pub fn total(&self) -> u64 {
        let keys = self.keys.iter().flat_map(|key| &key.counts);
        keys.chain(&self.other).sum()
    }
}

/// Counts events into a [`Series`]. `K` is how an engine represents keys.
#[derive(Debug)]
pub struct SeriesCounter<K> {
    groups: HashMap<K, Cells>,
    other: Vec<u64>,
    cells: usize,
    is_approximate: bool,
}

/// The counts of a key in the buckets in which it occurs.
#[derive(Debug, Default)]
struct Cells {
    total: u64,
    counts: Vec<(u16, u64)>,
}

impl<K: Eq + Hash> SeriesCounter<K> {
    /// A counter for this many buckets, at most [`MAX_BUCKETS`](super::buckets::MAX_BUCKETS).
    pub fn new(buckets: usize) -> Self {
        Self {
            groups: HashMap::new(),
            other: vec![0; buckets],
            cells: 0,
            is_approximate: false,
        }
    }

    /// Counts `n` events of no key.
    pub fn add_other(&mut self, bucket: usize, n: u64) {
        if let Some(count) = self.other.get_mut(bucket) {
            *count += n;
        }
    }

    /// Counts `n` events of a key.
    pub fn add(&mut self, key: K, bucket: usize, n: u64) {
        let is_full = self.groups.len() >= MAX_GROUPS || self.cells >= MAX_CELLS;
        if is_full && !self.groups.contains_key(&key) {
            self.is_approximate = true;
            return self.add_other(bucket, n);
        }
        let Ok(place) = u16::try_from(bucket) else {
            return self.add_other(bucket, n);
        };
        let cells = self.groups.entry(key).or_default();
        cells.total += n;
        // Rows come nearly in the order of time, so the place is nearly always at an end.
        match cells.counts.last_mut() {
            Some((last, count)) if *last == place => *count += n,
            _ => match cells.counts.binary_search_by_key(&place, |(at, _)| *at) {
                Ok(at) => cells.counts[at].1 += n,
                Err(at) => {
                    cells.counts.insert(at, (place, n));
                    self.cells += 1;
                }
            },
        }
    }

    /// The series. `name` gives the keys their text; keys of equal text become one.
    ///
    /// # Errors
    ///
    /// The first error of `name`.
    pub fn finish<E>(self, mut name: impl FnMut(K) -> Result<Key, E>) -> Result<Series, E> {
        let mut named = HashMap::<Key, Cells>::with_capacity(self.groups.len());
        for (key, cells) in self.groups {
            let same = named.entry(name(key)?).or_default();
            same.total += cells.total;
            same.counts.extend(cells.counts);
        }
        let mut named: Vec<_> = named.into_iter().collect();
        named.sort_by(|(a, x), (b, y)| y.total.cmp(&x.total).then_with(|| a.cmp(b)));
        let rest = named.split_off(named.len().min(SERIES_KEYS));
        let mut other = self.other;
        for (at, n) in rest.iter().flat_map(|(_, cells)| &cells.counts) {
            other[usize::from(*at)] += n;
        }
        let spread = |(key, cells): (Key, Cells)| {
            let mut counts = vec![0; other.len()];
            for (at, n) in cells.counts {
                counts[usize::from(at)] += n;
            }
            KeyCounts { key, counts }
        };
        Ok(Series {
            keys: named.into_iter().map(spread).collect(),
            is_approximate: self.is_approximate,
            other,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn finish(counter: SeriesCounter<u64>) -> Series {
        let name = |key: u64| Ok::<_, Infallible>((key > 0).then(|| format!("{key:06}")));
        counter.finish(name).unwrap()
    }

    #[test]
    fn the_most_frequent_keys_are_shown_and_the_rest_is_other() {
        let mut counter = SeriesCounter::new(2);
        for key in 0..20 {
            counter.add(key, 1, 1);
            counter.add(key, 0, 20 - key.min(15));
        }
        counter.add_other(0, 1);
        let series = finish(counter);
        let keys: Vec<_> = series.keys.iter().map(|key| key.key.as_deref()).collect();
        assert_eq!(
            (keys[0], keys[1], keys.len()),
            (None, Some("000001"), SERIES_KEYS)
        );
        assert_eq!(series.keys[1].counts, [19, 1]);
        assert_eq!(series.other, [8 + 7 + 6 + 5 * 5 + 1, 8]);
        assert!(!series.is_approximate);
    }

    #[test]
    fn keys_of_equal_text_become_one() {
        let mut counter = SeriesCounter::new(2);
        counter.add(1, 0, 2);
        counter.add(2, 0, 3);
        counter.add(2, 1, 4);
        let series = counter.finish(|_| Ok::<_, Infallible>(Some("same".to_owned())));
        assert_eq!(series.unwrap().keys[0].counts, [5, 4]);
    }

    #[test]
    fn keys_beyond_the_limit_are_counted_as_other() {
        let mut counter = SeriesCounter::new(1);
        let keys = u64::try_from(MAX_GROUPS).unwrap() + 5;
        for key in 0..keys {
            counter.add(key, 0, 1);
        }
        let series = finish(counter);
        assert!(series.is_approximate);
        assert_eq!(series.total(), keys);
    }
}
