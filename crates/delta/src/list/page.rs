//! Some files of a version, unpacked, as a plan works with them. Pure.

use std::ops::Range;

use super::{lost, record};
use crate::{DeltaError, LoggedFile, TableTotals};

/// Files of a version in some order.
#[derive(Default)]
pub struct FilePage {
    raw: Vec<u8>,
    /// The partition of each file, and its range in `raw`.
    at: Vec<(usize, Range<usize>)>,
}

impl FilePage {
    pub(super) fn of(raw: Vec<u8>) -> Result<Self, DeltaError> {
        let mut at = Vec::new();
        let mut begin = 0;
        while begin < raw.len() {
            let (partition, length) = raw.get(begin..).and_then(record::measure).ok_or_else(|| lost("truncated"))?;
            at.push((partition, begin..begin + length));
            begin += length;
        }
        Ok(Self { raw, at })
    }

    /// Adds the files of another page whose partitions are wanted.
    pub(super) fn take(&mut self, other: &Self, wanted: impl Fn(usize) -> bool) {
        for (partition, range) in other.at.iter().filter(|(partition, _)| wanted(*partition)) {
            let begin = self.raw.len();
            self.raw.extend_from_slice(other.raw.get(range.clone()).unwrap_or_default());
            self.at.push((*partition, begin..self.raw.len()));
        }
    }

    /// Keeps only the files whose partitions are wanted.
    #[must_use]
    pub fn only(mut self, wanted: impl Fn(usize) -> bool) -> Self {
        self.at.retain(|(partition, _)| wanted(*partition));
        self
    }

    /// Adds a file after all others.
    ///
    /// # Errors
    /// [`DeltaError::Internal`] if one of its texts is too long.
    pub fn add(&mut self, file: &LoggedFile<'_>) -> Result<(), DeltaError> {
        let begin = self.raw.len();
        record::write(file, &mut self.raw).ok_or_else(|| lost("a text of 4 GiB"))?;
        self.at.push((file.partition, begin..self.raw.len()));
        Ok(())
    }

    /// Size of the files in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.raw.len()
    }

    /// Sorts the files by a key of their partition's number. Files of equal keys keep their order.
    pub fn sort_by_key<K: Ord>(&mut self, mut key: impl FnMut(usize) -> K) {
        self.at.sort_by_cached_key(|(partition, _)| key(*partition));
    }

    /// The files in order; `totals` of the same table has the values of their partitions.
    pub fn files<'a>(&'a self, totals: &'a TableTotals) -> impl Iterator<Item = Result<LoggedFile<'a>, DeltaError>> {
        self.at.iter().map(|(partition, range)| {
            let values = totals.partition(*partition).map_or(&[][..], |found| found.values.as_slice());
            let raw = self.raw.get(range.clone());
            raw.and_then(|raw| record::read(raw, *partition, values)).ok_or_else(|| lost("truncated"))
        })
    }
}
