//! What the files of a table add up to: the sizes that planning and the catalog work with. Pure.

use std::collections::BTreeMap;

use crate::{PartitionValues, SourceFile};

/// Files, bytes and rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Bytes of the files, deleted rows included.
    pub bytes: u64,
    /// Rows after deletion vectors; absent as soon as one file has no statistics.
    pub rows: Option<u64>,
}

impl Totals {
    /// Nothing, which is known to have no rows.
    pub const EMPTY: Self = Self { files: 0, bytes: 0, rows: Some(0) };

    /// Counts one more file.
    pub fn add(&mut self, file: &SourceFile) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size);
        self.rows = self.rows.zip(file.rows).map(|(sum, rows)| sum.saturating_add(rows));
    }
}

/// One partition and its totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTotals {
    /// The partition.
    pub values: PartitionValues,
    /// What lies in it.
    pub totals: Totals,
}

/// Totals of a table and of each of its partitions. Memory grows with partitions, not with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTotals {
    all: Totals,
    partitions: BTreeMap<PartitionValues, Totals>,
}

impl Default for TableTotals {
    fn default() -> Self {
        Self { all: Totals::EMPTY, partitions: BTreeMap::new() }
    }
}

impl TableTotals {
    /// Counts one more file.
    pub fn add(&mut self, file: &SourceFile) {
        self.all.add(file);
        if !file.partition_values.is_empty() {
            self.partitions.entry(file.partition_values.clone()).or_insert(Totals::EMPTY).add(file);
        }
    }

    /// The whole table.
    pub fn all(&self) -> Totals {
        self.all
    }

    /// Its partitions in the order of their values, NULL first. None for an unpartitioned table.
    pub fn partitions(self) -> impl Iterator<Item = PartitionTotals> {
        self.partitions.into_iter().map(|(values, totals)| PartitionTotals { values, totals })
    }
}

impl<'a> FromIterator<&'a SourceFile> for TableTotals {
    fn from_iter<I: IntoIterator<Item = &'a SourceFile>>(files: I) -> Self {
        let mut totals = Self::default();
        files.into_iter().for_each(|file| totals.add(file));
        totals
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> impl Strategy<Value = SourceFile> {
        (0..1_000_u64, proptest::option::weighted(0.9, 0..50_u64), proptest::option::of("[ab]")).prop_map(
            |(size, rows, p)| SourceFile {
                path: String::new(),
                size,
                rows,
                partition_values: vec![("p".into(), p)],
                deletion_vector: None,
                statistics: None,
            },
        )
    }

    proptest! {
        #[test]
        fn partitions_add_up_to_the_table(files in proptest::collection::vec(file(), 0..40)) {
            let totals: TableTotals = files.iter().collect();
            let all = totals.all();
            prop_assert_eq!(all.rows.is_some(), files.iter().all(|f| f.rows.is_some()));
            let mut sum = Totals::EMPTY;
            let mut last = None;
            for partition in totals.partitions() {
                prop_assert!(last.as_ref() < Some(&partition.values), "each once, in order");
                sum.files += partition.totals.files;
                sum.bytes += partition.totals.bytes;
                sum.rows = sum.rows.zip(partition.totals.rows).map(|(a, b)| a + b);
                last = Some(partition.values);
            }
            prop_assert_eq!(sum, all);
        }
    }
}
