//! What the files of a table add up to: the sizes that planning and the catalog work with. Pure.

use crate::{LoggedFile, PartitionValues};

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
    pub fn add(&mut self, file: &LoggedFile<'_>) {
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
    /// By number.
    partitions: Vec<Option<PartitionTotals>>,
}

impl Default for TableTotals {
    fn default() -> Self {
        Self { all: Totals::EMPTY, partitions: Vec::new() }
    }
}

impl TableTotals {
    /// Counts one more file.
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

    /// The whole table.
    pub fn all(&self) -> Totals {
        self.all
    }

    /// The partition of a number, if a file lies in it.
    pub fn partition(&self, number: usize) -> Option<&PartitionTotals> {
        self.partitions.get(number)?.as_ref()
    }

    /// How many partitions there may be: numbers are less than this. None for an unpartitioned table.
    pub fn numbers(&self) -> usize {
        self.partitions.len()
    }

    /// The numbers of its partitions, in the order of their values, NULL first. None for an unpartitioned table.
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
