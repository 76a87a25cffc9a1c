//! Sums over the files of a table, which planning and the catalog work with. Pure.

use crate::{LoggedFile, PartitionValues};

/// Number of files, bytes and rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of files.
    pub files: u64,
    /// Size of the files in bytes, deleted rows included.
    pub bytes: u64,
    /// Rows without the deleted ones; None as soon as one file has no statistics.
    pub rows: Option<u64>,
}

impl Totals {
    /// The totals of no files, which have 0 rows.
    pub const EMPTY: Self = Self { files: 0, bytes: 0, rows: Some(0) };

    /// Adds a file.
    pub fn add(&mut self, file: &LoggedFile<'_>) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size);
        self.rows = self.rows.zip(file.rows).map(|(sum, rows)| sum.saturating_add(rows));
    }
}

/// A partition and its totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTotals {
    /// The values of its columns.
    pub values: PartitionValues,
    /// The totals of its files.
    pub totals: Totals,
}

/// Totals of a table and of each of its partitions. Memory grows with the number of partitions, not of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTotals {
    all: Totals,
    /// By the partition's number.
    partitions: Vec<Option<PartitionTotals>>,
}

impl Default for TableTotals {
    fn default() -> Self {
        Self { all: Totals::EMPTY, partitions: Vec::new() }
    }
}

impl TableTotals {
    /// Adds a file.
    pub fn add(&mut self, file: &LoggedFile<'_>) {
        self.all.add(file);
        if file.partition_values.is_empty() {
            return;
        }
        if self.partitions.len() <= file.partition {
            self.partitions.resize_with(file.partition + 1, || None);
        }
        if let Some(found) = self.partitions.get_mut(file.partition) {
            let new = || PartitionTotals { values: file.partition_values.to_vec(), totals: Totals::EMPTY };
            found.get_or_insert_with(new).totals.add(file);
        }
    }

    /// Totals of the whole table.
    pub fn all(&self) -> Totals {
        self.all
    }

    /// The partition of this number; None if no file lies in it.
    pub fn partition(&self, number: usize) -> Option<&PartitionTotals> {
        self.partitions.get(number)?.as_ref()
    }

    /// One more than the greatest number of a partition; 0 for an unpartitioned table.
    pub fn numbers(&self) -> usize {
        self.partitions.len()
    }

    /// The partitions with their numbers, ordered by their values, NULL first. Empty for an unpartitioned table.
    pub fn partitions(&self) -> Vec<(usize, &PartitionTotals)> {
        let mut all: Vec<_> = self.partitions.iter().enumerate().filter_map(|(n, p)| Some((n, p.as_ref()?))).collect();
        all.sort_by(|(_, a), (_, b)| a.values.cmp(&b.values));
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn partitions_add_up_to_the_table(
            files in proptest::collection::vec((0..1_000_u64, proptest::option::weighted(0.9, 0..50_u64), 0..4_usize), 0..40),
        ) {
            let values = |partition: usize| vec![("p".to_owned(), (partition > 0).then(|| (9 - partition).to_string()))];
            let mut totals = TableTotals::default();
            for (size, rows, partition) in &files {
                let (values, path) = (values(*partition), "");
                totals.add(&LoggedFile {
                    path, size: *size, rows: *rows, partition: *partition, partition_values: &values, deletion_vector: None, stats: None,
                });
            }
            let all = totals.all();
            prop_assert_eq!(all.rows.is_some(), files.iter().all(|(_, rows, _)| rows.is_some()));
            let mut sum = Totals::EMPTY;
            let mut last = None;
            for (number, partition) in totals.partitions() {
                prop_assert_eq!(&partition.values, &values(number));
                prop_assert!(last.as_ref() < Some(&partition.values), "each once, in order");
                sum.files += partition.totals.files;
                sum.bytes += partition.totals.bytes;
                sum.rows = sum.rows.zip(partition.totals.rows).map(|(a, b)| a + b);
                last = Some(partition.values.clone());
            }
            prop_assert_eq!(sum, all);
        }
    }
}
