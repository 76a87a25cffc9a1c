//! The content of a store as counts and a digest per table: kept up to date with every write, and compared at every
//! start. Pure; the store's own records (sentinel, revision) are not counted.
//!
//! A digest is the sum of the hashes of all entries: so their order does not matter, and an old entry can be
//! subtracted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use prost::Message;
use sha2::{Digest, Sha256};

use crate::backend::{Batch, View};
use crate::dir::END;
use crate::error::Result;

/// The counts and digests of all tables.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tally {
    #[prost(btree_map = "string, message", tag = "1")]
    tables: BTreeMap<String, Content>,
}

#[derive(Clone, PartialEq, Message)]
struct Content {
    /// Records, as services count them.
    #[prost(uint64, tag = "1")]
    records: u64,
    /// All keys of the table: records, index entries, pieces.
    #[prost(uint64, tag = "2")]
    entries: u64,
    #[prost(uint64, tag = "3")]
    bytes: u64,
    #[prost(fixed64, tag = "4")]
    high: u64,
    #[prost(fixed64, tag = "5")]
    low: u64,
}

impl Tally {
    /// Counts everything in a view.
    pub fn of(view: &dyn View) -> Result<Self> {
        let mut tally = Self::default();
        view.visit(&[], END, false, &mut |key, value| {
            tally.add(key, value);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(tally)
    }

    /// Applies the changes of a batch that is about to be written over `before`.
    pub fn follow(&mut self, before: &dyn View, writes: &Batch) -> Result<()> {
        for (key, value) in writes {
            if let Some(old) = before.get(key)? {
                self.remove(key, &old);
            }
            if let Some(value) = value {
                self.add(key, value);
            }
        }
        Ok(())
    }

    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let Some((table, record)) = place(key) else { return };
        let content = self.tables.entry(table).or_default();
        content.records += u64::from(record);
        content.entries += 1;
        content.bytes += (key.len() + value.len()) as u64;
        content.set(content.digest().wrapping_add(hash(key, value)));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        let Some((table, record)) = place(key) else { return };
        let content = self.tables.entry(table.clone()).or_default();
        content.records = content.records.saturating_sub(u64::from(record));
        content.entries = content.entries.saturating_sub(1);
        content.bytes = content.bytes.saturating_sub((key.len() + value.len()) as u64);
        content.set(content.digest().wrapping_sub(hash(key, value)));
        // A table that was emptied must equal one that never existed.
        if *content == Content::default() {
            self.tables.remove(&table);
        }
    }

    /// Bytes of all keys and values together.
    pub fn bytes(&self) -> u64 {
        self.tables.values().map(|content| content.bytes).sum()
    }

    /// How this differs from what is expected, table by table; `None` if it does not.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        let names: std::collections::BTreeSet<_> = self.tables.keys().chain(expected.tables.keys()).collect();
        let nothing = Content::default();
        let mut found = Vec::new();
        for name in names {
            let is = self.tables.get(name).unwrap_or(&nothing);
            let was = expected.tables.get(name).unwrap_or(&nothing);
            if is.records != was.records {
                found.push(format!("table {name} has {} records of {}", is.records, was.records));
            } else if is != was {
                found.push(format!("table {name} has its {} records, but not as they were written", is.records));
            }
        }
        (!found.is_empty()).then(|| found.join(", "))
    }
}

impl Content {
    fn digest(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    fn set(&mut self, digest: u128) {
        (self.high, self.low) = ((digest >> 64) as u64, digest as u64);
    }
}

/// The table that a key belongs to, and whether the key is a record's; `None` for the store's own keys.
fn place(key: &[u8]) -> Option<(String, bool)> {
    let end = key.iter().position(|byte| *byte == 0).filter(|end| *end > 0)?;
    Some((String::from_utf8_lossy(&key[..end]).into_owned(), key.get(end + 1) == Some(&b'r')))
}

fn hash(key: &[u8], value: &[u8]) -> u128 {
    let digest = Sha256::new().chain_update((key.len() as u32).to_be_bytes()).chain_update(key).chain_update(value);
    let mut half = [0; 16];
    half.copy_from_slice(&digest.finalize()[..16]);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, MemoryBackend};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_followed_is_what_is_there(batches in proptest::collection::vec(
            proptest::collection::btree_map("[ab]\0[ri][a-d]", proptest::option::of("[xy]{0,2}"), 0..6), 0..8)
        ) {
            let (view, mut followed) = (MemoryBackend::default(), Tally::default());
            for batch in batches {
                let bytes = |text: String| text.into_bytes();
                let batch: Batch = batch.into_iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
                followed.follow(&view, &batch).unwrap();
                view.apply(batch).unwrap();
                prop_assert_eq!(&followed, &Tally::of(&view).unwrap());
            }
        }
    }

    #[test]
    fn a_difference_names_the_table() {
        let mut whole = Tally::default();
        for key in [b"docs\0ra", b"docs\0rb", b"docs\0ib"] {
            whole.add(key, b"x");
        }
        let mut less = whole.clone();
        less.remove(b"docs\0rb", b"x");
        assert_eq!(less.difference(&whole).unwrap(), "table docs has 1 records of 2");
        let mut other = whole.clone();
        other.remove(b"docs\0ra", b"x");
        other.add(b"docs\0ra", b"y");
        assert!(other.difference(&whole).unwrap().contains("not as they were written"));
        assert_eq!(whole.difference(&whole.clone()), None);
        let mut own = Tally::default();
        own.add(b"\0revision", b"1");
        assert_eq!(own, Tally::default());
    }
}
