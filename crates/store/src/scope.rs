//! Which part of a table or an index a scan covers, and in which direction. Pure byte arithmetic over encoded keys.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use crate::key::{Key, KeyPrefix, escape};

/// A part of the key space of `K`, ascending unless [`descending`](Scope::descending).
#[derive(Debug, Clone)]
pub struct Scope<K> {
    from: Vec<u8>,
    /// Exclusive; `None` reaches to the end.
    to: Option<Vec<u8>>,
    descending: bool,
    key: PhantomData<fn() -> K>,
}

/// Byte range inside the one tree: `from` inclusive, `to` exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
    pub descending: bool,
}

/// The smallest byte string that is greater than everything with this prefix; `None` if there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

fn encoded(key: &impl Key) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

impl<K: Key> Scope<K> {
    fn new(from: Vec<u8>, to: Option<Vec<u8>>) -> Self {
        Self { from, to, descending: false, key: PhantomData }
    }

    /// Every key.
    pub fn all() -> Self {
        Self::new(Vec::new(), None)
    }

    /// Every key that begins with these components.
    pub fn prefix(prefix: &impl KeyPrefix<K>) -> Self {
        let mut from = Vec::new();
        prefix.encode_prefix(&mut from);
        let to = after_prefix(&from);
        Self::new(from, to)
    }

    /// One key: a single row of a table, or every row under one index key.
    pub fn exactly(key: &K) -> Self {
        let from = encoded(key);
        let to = after_prefix(&from);
        Self::new(from, to)
    }

    /// The keys of a range.
    pub fn range(range: impl RangeBounds<K>) -> Self {
        // The successor of an encoded key is greater than everything stored under that key and less than the next key,
        // because no encoding is a prefix of another.
        let past = |key: &K| after_prefix(&encoded(key));
        let from = match range.start_bound() {
            Bound::Included(key) => Some(encoded(key)),
            Bound::Excluded(key) => past(key),
            Bound::Unbounded => Some(Vec::new()),
        };
        let to = match range.end_bound() {
            Bound::Included(key) => past(key),
            Bound::Excluded(key) => Some(encoded(key)),
            Bound::Unbounded => None,
        };
        // A key without a successor has nothing after it: an empty scope.
        from.map_or_else(|| Self::new(Vec::new(), Some(Vec::new())), |from| Self::new(from, to))
    }

    /// The same keys, walked from the last to the first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// The byte range below the prefix of a table or index, continued after `after` (an encoded key) in walking
    /// direction.
    pub(crate) fn span(&self, prefix: &[u8], after: Option<&[u8]>) -> Span {
        let under = |key: &[u8]| [prefix, key].concat();
        // A prefix ends in a terminator byte, so it always has a successor.
        let end = || after_prefix(prefix).unwrap_or_default();
        let (mut from, mut to) = (under(&self.from), self.to.as_deref().map_or_else(end, under));
        match after.map(under) {
            Some(after) if self.descending => to = to.min(after),
            Some(after) => from = from.max(after_prefix(&after).unwrap_or(after)),
            None => {}
        }
        Span { from, to, descending: self.descending }
    }
}

impl Scope<String> {
    /// Every string that begins with `text`.
    pub fn starting_with(text: &str) -> Self {
        let mut from = Vec::new();
        escape(text.as_bytes(), &mut from);
        let to = after_prefix(&from);
        Self::new(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_skips_trailing_ff() {
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
    }

    #[test]
    fn a_range_above_the_last_key_is_empty() {
        let span = Scope::<u8>::range((Bound::Excluded(255), Bound::Unbounded)).span(b"t\0r", None);
        assert!(span.from >= span.to);
    }
}
