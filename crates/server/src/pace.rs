//! Bounds a flow that many share: [`Shares`] says how much of it each holder gets, [`Bucket`] keeps one holder to its
//! share. Pure: the time is an argument (what has passed since any fixed moment), and nothing here waits.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// How much may be taken at once after a pause: more would break the bound over a minute, less would waste free rate.
const BURST: Duration = Duration::from_millis(500);

/// A token bucket that may go into debt: an amount is known only after it was taken, and the debt is paid by waiting
/// before the next one.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Tokens per second; `None` for no bound.
    rate: Option<f64>,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// Sets the bound from now on; 0 for none. A debt stays.
    #[allow(clippy::cast_precision_loss)] // a rate
    pub fn bound(&mut self, per_second: u64, now: Duration) {
        self.fill(now);
        let free = self.rate.is_none();
        self.rate = (per_second > 0).then_some(per_second as f64);
        if free {
            self.tokens = 0.0;
        }
    }

    /// Records that `amount` was taken.
    #[allow(clippy::cast_precision_loss)] // an amount
    pub fn take(&mut self, amount: u64, now: Duration) {
        self.fill(now);
        self.tokens -= amount as f64;
    }

    /// How long to wait before the next amount is taken; zero if there is no need to.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.fill(now);
        match self.rate {
            Some(rate) if self.tokens < 0.0 => {
                Duration::try_from_secs_f64(-self.tokens / rate).unwrap_or(Duration::MAX)
            }
            _ => Duration::ZERO,
        }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now.max(self.at);
        let Some(rate) = self.rate else { return };
        self.tokens = (self.tokens + rate * passed).min(rate * BURST.as_secs_f64());
    }
}

/// The shares that the holders of a bound have. A holder learns its share when it is heard of (a heartbeat): a new one
/// gets no more than the others leave, and the rest once they have learned of their smaller shares. So all shares
/// together never exceed the bound, whoever comes and goes.
#[derive(Debug, Clone)]
pub struct Shares<K>(HashMap<K, u64>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// Sets and returns the share of one of `holders` holders, from now on. It is at least 1, because 0 would mean no
    /// bound.
    pub fn of(&mut self, key: &K, bound: u64, holders: usize) -> u64 {
        let others: u64 = self.0.iter().filter(|(other, _)| *other != key).map(|(_, share)| *share).sum();
        let even = bound / u64::try_from(holders).unwrap_or(u64::MAX).max(1);
        let share = even.min(bound.saturating_sub(others)).max(1);
        self.0.insert(key.clone(), share);
        share
    }

    /// Releases the share of a holder that is gone.
    pub fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Whether no holder has a share.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    /// A worker that reads as fast as it may, in pieces of one size, and learns its share with each heartbeat.
    struct Reader {
        bucket: Bucket,
        piece: u64,
        read: u64,
        /// When it starts and when it stops.
        at_work: std::ops::Range<Duration>,
        beats: Duration,
    }

    fn reader(piece: u64, at_work: std::ops::Range<u64>, beats: u64) -> Reader {
        let at_work = Duration::from_secs(at_work.start)..Duration::from_secs(at_work.end);
        Reader { bucket: Bucket::default(), piece, read: 0, at_work, beats: Duration::from_millis(beats) }
    }

    /// What all readers together read in a minute.
    fn minute(bound: u64, readers: &mut [Reader]) -> u64 {
        let (mut shares, mut now) = (Shares::default(), Duration::ZERO);
        while now < Duration::from_secs(60) {
            let here: Vec<usize> = (0..readers.len()).filter(|at| readers[*at].at_work.contains(&now)).collect();
            for (at, reader) in readers.iter_mut().enumerate() {
                if !here.contains(&at) {
                    shares.forget(&at);
                    continue;
                }
                let since = (now - reader.at_work.start).as_millis();
                if since.is_multiple_of(reader.beats.as_millis()) {
                    reader.bucket.bound(shares.of(&at, bound, here.len()), now);
                }
                while reader.bucket.wait(now).is_zero() {
                    reader.bucket.take(reader.piece, now);
                    reader.read += reader.piece;
                }
            }
            now += STEP;
        }
        readers.iter().map(|reader| reader.read).sum()
    }

    #[test]
    fn two_workers_hold_a_bound_within_five_percent_over_a_minute() {
        let bound = 10_000_000;
        let within = |read: u64| (read.abs_diff(bound * 60)) * 100 <= bound * 60 * 5;
        let both = minute(bound, &mut [reader(1 << 20, 0..60, 2_000), reader(3 << 20, 0..60, 1_700)]);
        assert!(within(both), "{both}");
        let comes = minute(bound, &mut [reader(1 << 20, 0..60, 2_000), reader(1 << 20, 20..60, 1_300)]);
        assert!(within(comes), "one comes later: {comes}");
        let goes = minute(bound, &mut [reader(1 << 20, 0..60, 2_000), reader(1 << 20, 0..40, 2_000)]);
        assert!(within(goes), "one goes before: {goes}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// However many readers come and go, and whatever the size of their pieces: in no minute do they read more than
        /// the bound, a twentieth of it, and one piece each, which may have been taken before its size was known.
        #[test]
        fn no_minute_has_more_than_the_bound(
            bound in 1_000_000..50_000_000_u64,
            spec in proptest::collection::vec((1_000..4_000_000_u64, 0..50_u64, 1..60_u64, 100..2_000_u64), 1..6),
        ) {
            let mut readers: Vec<Reader> = spec
                .iter()
                .map(|(piece, from, lasts, beats)| reader(*piece, *from..from + lasts, beats / 10 * 10))
                .collect();
            let pieces: u64 = spec.iter().map(|one| one.0).sum();
            let read = minute(bound, &mut readers);
            prop_assert!(read <= bound * 60 * 105 / 100 + pieces, "{read} of {}", bound * 60);
        }

        /// Shares never add up to more than the bound, and are even once every holder was heard of twice.
        #[test]
        fn shares_are_even_and_never_more_than_all(bound in 100..1_000_000_u64, order in proptest::collection::vec(0..8_usize, 1..60)) {
            let mut shares = Shares::default();
            let mut holders = std::collections::BTreeSet::new();
            for key in order {
                // A holder that is there leaves, another one joins.
                if !holders.remove(&key) {
                    holders.insert(key);
                    shares.of(&key, bound, holders.len());
                } else {
                    shares.forget(&key);
                }
                prop_assert!(shares.0.values().sum::<u64>() <= bound + 8);
            }
            for _ in 0..2 {
                for key in &holders {
                    shares.of(key, bound, holders.len());
                }
            }
            let even = bound / u64::try_from(holders.len().max(1)).unwrap();
            prop_assert!(shares.0.values().all(|share| *share == even), "{:?}", shares.0);
        }
    }

    #[test]
    fn without_a_bound_nobody_waits_and_a_new_bound_asks_for_nothing_that_was_before() {
        let (mut bucket, second) = (Bucket::default(), Duration::from_secs(1));
        bucket.take(u64::MAX, second);
        assert_eq!(bucket.wait(second), Duration::ZERO);
        bucket.bound(100, second);
        assert_eq!(bucket.wait(second), Duration::ZERO);
        bucket.take(200, second);
        assert_eq!(bucket.wait(second), 2 * second);
        bucket.bound(400, second);
        assert_eq!(bucket.wait(second), second / 2, "what is owed is paid at the new rate");
        bucket.bound(0, second);
        assert_eq!(bucket.wait(second), Duration::ZERO);
    }
}
