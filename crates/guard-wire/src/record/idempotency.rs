//! Idempotency keys for records that have none.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid, Variant, Version};

/// A source of UUIDs. It starts at a random one from the system and counts up.
///
/// Do not use it on both sides of a fork: different records would get the same key, and the
/// backend would store only one of them. Every random generator in memory has this problem.
#[derive(Debug)]
pub(crate) struct Keys {
    first: u128,
    given: AtomicU64,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            first: Uuid::new_v4().as_u128(),
            given: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> Uuid {
        let given = self.given.fetch_add(1, Ordering::Relaxed);
        Builder::from_u128(self.first.wrapping_add(u128::from(given)))
            .with_version(Version::Random)
            .with_variant(Variant::RFC4122)
            .into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_uuids_and_differ_within_and_between_sources() {
        let sources = [Keys::new(), Keys::new()];
        let draw = || (0..1000).flat_map(|_| sources.each_ref().map(Keys::next));
        let keys: HashSet<Uuid> = draw().collect();
        assert_eq!(keys.len(), 2000);
        assert!(keys.iter().all(|key| key.get_version_num() == 4));
    }

    #[test]
    fn keys_go_on_where_the_number_has_no_more_room() {
        let keys = Keys {
            first: u128::MAX,
            given: AtomicU64::new(0),
        };
        assert_ne!(keys.next(), keys.next());
    }
}
