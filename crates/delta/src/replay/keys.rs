//! Remembers which files a replay has seen, by 128-bit keys instead of their names: the names of a million files take a hundred
//! megabytes.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};

/// Distinguishes the deletion vectors of one file: storage type, path or inline bytes, and offset.
pub(super) type VectorId<'a> = (&'a str, &'a str, Option<i32>);

/// 128 bits of two keyed hashes. Nobody can choose names that collide, and by chance a billion names do not.
#[derive(Clone, Default)]
pub(crate) struct Hashes(RandomState, RandomState);

impl Hashes {
    pub(crate) fn of(&self, what: &impl Hash) -> u128 {
        u128::from(self.0.hash_one(what)) << 64 | u128::from(self.1.hash_one(what))
    }
}

/// What the newest action says about a file. Stored in the lowest bits of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A commit removed it.
    Removed = 0,
    /// A commit added it.
    Added = 1,
    /// A checkpoint has it.
    Kept = 2,
}

const SAID: u128 = 3;

/// The files seen so far, each with its deletion vector and the newest action on it.
#[derive(Default)]
pub(super) struct Keys {
    hashes: Hashes,
    said: HashSet<u128>,
    /// Paths of the live files that have a deletion vector: at most one of its vectors may be live.
    vectors: HashSet<u128>,
}

/// What an action means for the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the newest action of its file.
    New,
    /// A newer action of its file was recorded before.
    Old,
    /// The path is live already, with another deletion vector or in the same checkpoint: its rows would be read twice.
    Twice,
}

impl Keys {
    /// Empty keys that can be compared with the other ones.
    pub(super) fn like(other: &Self) -> Self {
        Self { hashes: other.hashes.clone(), ..Self::default() }
    }

    pub(super) fn key(&self, path: &str, vector: Option<VectorId<'_>>) -> u128 {
        self.hashes.of(&(path, vector)) & !SAID
    }

    /// Records an action; `key` is that of its file.
    pub(super) fn say(&mut self, key: u128, path: &str, vector: Option<VectorId<'_>>, said: Said) -> Verdict {
        if self.has(key, Said::Added) || self.has(key, Said::Removed) {
            return Verdict::Old;
        }
        let twice = match vector {
            _ if self.has(key, Said::Kept) => true,
            _ if said == Said::Removed => false,
            Some(_) => {
                let bare = self.key(path, None);
                self.is_live(bare) || !self.vectors.insert(bare)
            }
            None => self.vectors.contains(&key),
        };
        if twice {
            return Verdict::Twice;
        }
        self.said.insert(key | said as u128);
        Verdict::New
    }

    /// Removes what was recorded last of a file.
    pub(super) fn unsay(&mut self, key: u128, said: Said) {
        self.said.remove(&(key | said as u128));
    }

    /// Adds the keys of another set that is [like](Self::like) this one.
    pub(super) fn join(&mut self, other: Self) {
        self.said.extend(other.said);
    }

    pub(super) fn is_live(&self, key: u128) -> bool {
        self.has(key, Said::Added) || self.has(key, Said::Kept)
    }

    /// Whether every file that is live here is live in the other set.
    pub(super) fn live_in(&self, other: &Self) -> bool {
        let mut live = self.said.iter().filter(|key| **key & SAID != Said::Removed as u128);
        live.all(|key| other.is_live(key & !SAID))
    }

    fn has(&self, key: u128, said: Said) -> bool {
        self.said.contains(&(key | said as u128))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_action_of_a_file_counts_and_a_place_is_live_once() {
        let mut keys = Keys::default();
        let mut say = |path, vector, said| {
            let key = keys.key(path, vector);
            keys.say(key, path, vector, said)
        };
        let (one, other) = (Some(("u", "v", Some(1))), Some(("u", "v", Some(2))));
        assert_eq!(say("a", None, Said::Added), Verdict::New);
        assert_eq!(say("a", None, Said::Removed), Verdict::Old);
        assert_eq!(say("a", one, Said::Added), Verdict::Twice);
        // A file got a vector: its entry without one is removed.
        assert_eq!(say("b", one, Said::Added), Verdict::New);
        assert_eq!(say("b", None, Said::Removed), Verdict::New);
        assert_eq!(say("b", None, Said::Added), Verdict::Old);
        assert_eq!(say("b", other, Said::Added), Verdict::Twice);
        assert_eq!(say("c", one, Said::Removed), Verdict::New);
        assert_eq!(say("c", other, Said::Added), Verdict::New);
        assert_eq!(say("c", None, Said::Added), Verdict::Twice);
        assert_eq!(say("d", None, Said::Removed), Verdict::New);
        assert_eq!(say("d", one, Said::Kept), Verdict::New);
        // A commit added the file again, or the checkpoint has it twice.
        assert_eq!(say("a", None, Said::Kept), Verdict::Old);
        assert_eq!(say("d", one, Said::Kept), Verdict::Twice);
        let mut more = Keys::like(&keys);
        assert!(!keys.live_in(&more));
        for (path, vector) in [("a", None), ("b", one), ("c", other), ("d", one), ("e", None)] {
            let key = more.key(path, vector);
            more.say(key, path, vector, Said::Kept);
        }
        assert!(keys.live_in(&more) && !more.live_in(&keys));
    }
}
