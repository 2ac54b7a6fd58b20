//! A growing set of small numbers, one bit each.

/// The indices of the records in a segment that have some property.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn contains(&self, index: u32) -> bool {
        let (word, mask) = place(index);
        self.words.get(word).is_some_and(|bits| bits & mask != 0)
    }

    /// Adds an index. Returns whether it is new.
    pub(crate) fn insert(&mut self, index: u32) -> bool {
        let (word, mask) = place(index);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & mask == 0;
        self.words[word] |= mask;
        new
    }

    /// Removes an index. Returns whether it was there.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        let (word, mask) = place(index);
        match self.words.get_mut(word) {
            Some(bits) if *bits & mask != 0 => {
                *bits &= !mask;
                true
            }
            _ => false,
        }
    }

    /// The indices in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.words).flat_map(|(word, bits)| {
            (0..64)
                .filter(move |bit| bits & (1 << bit) != 0)
                .map(move |bit| word * 64 + bit)
        })
    }
}

fn place(index: u32) -> (usize, u64) {
    (index as usize / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_in_from_insert_to_remove() {
        let mut bits = Bits::default();
        assert!(bits.insert(3) && bits.insert(64) && bits.insert(1_000));
        assert!(!bits.insert(64));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 64, 1_000]);
        assert!(bits.remove(64) && !bits.remove(64) && !bits.remove(5_000));
        assert!(bits.contains(3) && !bits.contains(64) && !bits.contains(5_000));
        assert_eq!(bits.iter().count(), 2);
    }
}
