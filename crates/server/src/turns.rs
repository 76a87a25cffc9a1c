//! Limits, by key, how many tasks of this process do something with the same thing at once; others wait, first come
//! first served. Knows nothing of what is done meanwhile.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of the things that keys name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns<K> {
    at_once: usize,
    places: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
}

/// A turn; it ends when it is dropped.
#[derive(Debug)]
#[must_use = "a turn ends when it is dropped"]
pub struct Turn(#[expect(dead_code, reason = "it is held, and never looked at")] Option<OwnedSemaphorePermit>);

impl<K: Clone + Eq + Hash> Turns<K> {
    /// At most `at_once` tasks hold a turn of the same key.
    pub fn new(at_once: usize) -> Self {
        Self { at_once, places: Arc::default() }
    }

    /// Waits for a turn of this key; tasks are served in the order in which they came.
    pub async fn of(&self, key: &K) -> Turn {
        let place = {
            let mut places = self.places.lock();
            // A semaphore that nobody holds or waits for is removed; it is created again when needed.
            places.retain(|_, place| Arc::strong_count(place) > 1);
            let place = places.entry(key.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.at_once)));
            Arc::clone(place)
        };
        // The semaphore is never closed.
        Turn(place.acquire_owned().await.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn so_many_have_a_turn_of_one_key_and_none_waits_for_another() {
        let turns = Turns::new(2);
        let (first, _second) = (turns.of(&"a").await, turns.of(&"a").await);
        assert!(turns.of(&"a").now_or_never().is_none());
        let _other = turns.of(&"b").await;
        let mut next = Box::pin(turns.of(&"a"));
        assert!(next.as_mut().now_or_never().is_none());
        drop(first);
        drop(next.await);
    }

    #[tokio::test]
    async fn what_nobody_holds_or_waits_for_is_forgotten() {
        let turns = Turns::new(1);
        for key in 0..1000 {
            drop(turns.of(&key).await);
        }
        assert_eq!(turns.places.lock().len(), 1);
    }
}
