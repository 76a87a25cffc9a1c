//! A cache bounded by bytes and age; evicts the oldest entries first. Pure: knows neither Delta logs nor clocks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long an entry is kept.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);

struct Entry<K, V> {
    key: K,
    value: V,
    bytes: usize,
    since: Instant,
}

/// Values by key.
pub(super) struct Kept<K, V> {
    most: usize,
    bytes: usize,
    /// Oldest first.
    all: VecDeque<Entry<K, V>>,
}

impl<K: PartialEq, V: Clone> Kept<K, V> {
    /// An empty cache of at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, all: VecDeque::new() }
    }

    pub(super) fn get(&mut self, key: &K, now: Instant) -> Option<V> {
        self.forget_old(now);
        self.all.iter().find(|entry| entry.key == *key).map(|entry| entry.value.clone())
    }

    /// Stores a value and replaces the one of the same key. A value larger than the whole cache is not stored.
    pub(super) fn put(&mut self, key: K, value: V, bytes: usize, now: Instant) {
        let place = self.all.iter().position(|entry| entry.key == key);
        if let Some(old) = place.and_then(|at| self.all.remove(at)) {
            self.bytes -= old.bytes;
        }
        if bytes > self.most {
            return;
        }
        while self.bytes > self.most - bytes {
            self.forget_oldest();
        }
        self.bytes += bytes;
        self.all.push_back(Entry { key, value, bytes, since: now });
    }

    /// Removes expired entries.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.all.front().is_some_and(|entry| now.saturating_duration_since(entry.since) >= KEPT_FOR) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.bytes -= self.all.pop_front().map_or(self.bytes, |entry| entry.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The cache holds the newest value of a key or none, never exceeds its bytes, and holds the last value put if that fits.
        #[test]
        fn the_newest_are_kept(puts in proptest::collection::vec((0..6_u8, 0..40_usize, 0..300_u64), 0..60)) {
            let (mut kept, mut now) = (Kept::new(100), Instant::now());
            let mut model = std::collections::BTreeMap::new();
            for (number, (key, bytes, seconds)) in puts.into_iter().enumerate() {
                now += Duration::from_secs(seconds);
                kept.put(key, number, bytes * 3, now);
                model.insert(key, (number, now));
                prop_assert_eq!(kept.get(&key, now).is_some(), bytes * 3 <= 100);
                prop_assert!(kept.bytes <= 100);
                prop_assert_eq!(kept.bytes, kept.all.iter().map(|entry| entry.bytes).sum::<usize>());
                for (key, (newest, since)) in &model {
                    let found = kept.get(key, now);
                    prop_assert!(found.is_none_or(|found| found == *newest && now - *since < KEPT_FOR));
                }
            }
        }
    }
}
