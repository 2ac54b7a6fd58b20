//! The most frequent keys.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use jiff::Timestamp;

use super::group::Key;
use super::series::MAX_GROUPS;

/// A key and its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopItem {
    /// The key: one value for each field that events are grouped by.
    pub key: Vec<Key>,
    /// How many events have it.
    pub count: u64,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

/// The most frequent keys of the events in a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Top {
    /// Most events first, then by key.
    pub items: Vec<TopItem>,
    /// How many keys there are.
    pub distinct: u64,
    /// The events of keys that are not in `items`.
    pub other: u64,
    /// Whether the counts are not exact, because there are too many keys to tell apart, or too many
    /// events to look at.
    pub is_approximate: bool,
}

impl Top {
    /// The number of all events.
    pub fn total(&self) -> u64 {
        self.items.iter().map(|item| item.count).sum::<u64>() + self.other
    }
}

/// Counts events into a [`Top`]. `K` is how an engine represents keys.
#[derive(Debug)]
pub struct TopCounter<K> {
    groups: HashMap<K, Group>,
    other: u64,
    is_approximate: bool,
}

/// The events of a key: how many, and the times of the first and the last in microseconds.
#[derive(Debug, Clone, Copy)]
struct Group {
    count: u64,
    first: i64,
    last: i64,
}

impl<K: Eq + Hash> Default for TopCounter<K> {
    fn default() -> Self {
        Self {
            groups: HashMap::new(),
            other: 0,
            is_approximate: false,
        }
    }
}

impl<K: Eq + Hash> TopCounter<K> {
    /// The same as [`add`](Self::add), which takes the key only if it is new.
    pub fn add_borrowed<Q>(&mut self, key: &Q, n: u64, first: i64, last: i64)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        match self.groups.get_mut(key) {
            Some(group) => group.merge(Group {
                count: n,
                first,
                last,
            }),
            None => self.add(key.to_owned(), n, first, last),
        }
    }

    /// Counts `n` events of a key between `first` and `last`, in microseconds.
    pub fn add(&mut self, key: K, n: u64, first: i64, last: i64) {
        let is_full = self.groups.len() >= MAX_GROUPS;
        if is_full && !self.groups.contains_key(&key) {
            self.is_approximate = true;
            self.other += n;
            return;
        }
        let new = Group {
            count: n,
            first,
            last,
        };
        let group = self.groups.entry(key);
        group.and_modify(|group| group.merge(new)).or_insert(new);
    }

    /// The `limit` most frequent keys. `name` gives the keys their text; keys of equal text become
    /// one.
    ///
    /// # Errors
    ///
    /// The first error of `name`.
    pub fn finish<E>(
        self,
        limit: usize,
        mut name: impl FnMut(K) -> Result<Vec<Key>, E>,
    ) -> Result<Top, E> {
        let mut named = HashMap::<Vec<Key>, Group>::with_capacity(self.groups.len());
        for (key, group) in self.groups {
            let same = named.entry(name(key)?);
            same.and_modify(|same| same.merge(group)).or_insert(group);
        }
        let distinct = named.len() as u64;
        let mut named: Vec<_> = named.into_iter().collect();
        named.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then_with(|| a.cmp(b)));
        let rest = named.split_off(named.len().min(limit));
        let rest: u64 = rest.iter().map(|(_, group)| group.count).sum();
        let item = |(key, group): (_, Group)| TopItem {
            key,
            count: group.count,
            first: Timestamp::from_microsecond(group.first).unwrap_or(Timestamp::MIN),
            last: Timestamp::from_microsecond(group.last).unwrap_or(Timestamp::MAX),
        };
        Ok(Top {
            items: named.into_iter().map(item).collect(),
            distinct,
            other: self.other + rest,
            is_approximate: self.is_approximate,
        })
    }
}

impl Group {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn the_most_frequent_keys_come_first_and_the_rest_is_counted() {
        let mut counter = TopCounter::default();
        for (key, at) in [("b", 5), ("a", 3), ("a", 9), ("c", 1), ("", 2)] {
            counter.add(key, 1, at, at);
        }
        let name = |key: &str| Ok::<_, Infallible>(vec![(!key.is_empty()).then(|| key.to_owned())]);
        let top = counter.finish(3, name).unwrap();
        let keys: Vec<_> = top
            .items
            .iter()
            .map(|item| (item.key[0].as_deref(), item.count))
            .collect();
        assert_eq!(keys, [(Some("a"), 2), (None, 1), (Some("b"), 1)]);
        assert_eq!(top.items[0].first.as_microsecond(), 3);
        assert_eq!(top.items[0].last.as_microsecond(), 9);
        assert_eq!((top.distinct, top.other, top.total()), (4, 1, 5));
    }
}
