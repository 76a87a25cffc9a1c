//! A live file as the log describes it, and the numbering of partitions. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use delta_kernel::schema::DataType;

use super::keys::Hashes;
use crate::statistics::StatisticsText;
use crate::{DeletionVector, FileStatistics, PartitionValues, SourceFile, TableShape};

/// One live file of a version. Borrows from the batch or line that is being replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedFile<'a> {
    /// The path in its normal spelling, as in [`SourceFile::path`].
    pub path: &'a str,
    /// Size in bytes.
    pub size: u64,
    /// Rows without the deleted ones; None if the log has no statistics of the file.
    pub rows: Option<u64>,
    /// Number of its partition, counted in the order of appearance. Files of the same partition have the same number.
    pub partition: usize,
    /// The partition's values; empty for an unpartitioned table.
    pub partition_values: &'a [(String, Option<String>)],
    /// The deleted rows, if any.
    pub deletion_vector: Option<DeletionVector>,
    /// Its statistics as the log has them: JSON text.
    pub stats: Option<&'a str>,
}

impl<'a> LoggedFile<'a> {
    /// The file's parsed statistics; None if it has none or their text is not an object.
    pub fn statistics(&self) -> Option<StatisticsText<'a>> {
        self.stats.and_then(StatisticsText::parse)
    }

    /// The file in owned fields, with its statistics parsed.
    pub fn into_source_file(self) -> SourceFile {
        let statistics = self.stats.map(FileStatistics::parse);
        SourceFile {
            path: self.path.to_owned(),
            size: self.size,
            rows: self.rows,
            partition_values: self.partition_values.to_vec(),
            deletion_vector: self.deletion_vector,
            statistics: statistics.filter(|told| *told != FileStatistics::default()),
        }
    }

    /// The path, percent-decoded, for messages.
    pub fn shown_path(&self) -> String {
        crate::place::decoded(self.path)
    }
}

/// The number of a file's rows that are not deleted; None if the log does not count its rows.
///
/// # Errors
/// More rows are deleted than there are.
pub(super) fn rows_left(stats: Option<&str>, vector: Option<&DeletionVector>) -> Result<Option<u64>, String> {
    let deleted = vector.map_or(0, |vector| vector.cardinality);
    let Some(stored) = stats.and_then(StatisticsText::rows_of) else { return Ok(None) };
    let left = stored.checked_sub(deleted);
    left.map(Some).ok_or_else(|| format!("{stored} rows, of which {deleted} are deleted"))
}

/// The partitions seen so far. Memory grows with their number, not with that of files.
pub(super) struct Partitions {
    columns: Vec<Column>,
    hashes: Hashes,
    by_text: HashMap<u128, usize>,
    by_values: BTreeMap<Arc<PartitionValues>, usize>,
    all: Vec<Arc<PartitionValues>>,
}

/// How many spellings of partitions are remembered beyond two for each partition.
const TEXTS_SPARE: usize = 1_000;

/// The log's name of a partition column, and whether it can hold the empty text.
struct Column {
    logical: String,
    physical: String,
    textual: bool,
}

impl Partitions {
    pub(super) fn of(shape: &TableShape) -> Self {
        let column = |name: &String| {
            let field = shape.schema().field(name.as_str());
            let textual = field.is_some_and(|field| matches!(field.data_type(), &DataType::STRING | &DataType::BINARY));
            Column { logical: name.clone(), physical: shape.physical_name(name), textual }
        };
        Self {
            columns: shape.partition_columns().iter().map(column).collect(),
            hashes: Hashes::default(),
            by_text: HashMap::new(),
            by_values: BTreeMap::new(),
            all: Vec::new(),
        }
    }

    /// Whether the table is partitioned.
    pub(super) fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// The values of the partition with this number.
    pub(super) fn get(&self, number: usize) -> &[(String, Option<String>)] {
        self.all.get(number).map_or(&[], |values| values.as_slice())
    }

    /// Number of the partition that a file's entry names.
    ///
    /// # Errors
    /// Says what in the entry cannot be understood.
    pub(super) fn number<T>(&mut self, entry: &[(T, Option<T>)]) -> Result<usize, String>
    where
        T: AsRef<str> + Hash,
    {
        let text = self.hashes.of(&entry);
        if let Some(number) = self.by_text.get(&text) {
            return Ok(*number);
        }
        let raw: HashMap<&str, Option<&str>> =
            entry.iter().map(|(name, value)| (name.as_ref(), value.as_ref().map(AsRef::as_ref))).collect();
        if raw.len() != entry.len() {
            return Err("two values of one partition column".to_owned());
        }
        let values = Arc::new(self.values(raw)?);
        let next = self.all.len();
        let number = *self.by_values.entry(values.clone()).or_insert(next);
        if number == next {
            self.all.push(values);
        }
        // Bounded, because entries that name other columns as well may have far more spellings than there are partitions.
        if self.by_text.len() <= 2 * self.all.len() + TEXTS_SPARE {
            self.by_text.insert(text, number);
        }
        Ok(number)
    }

    /// A partition column that the log does not name for a file is NULL, as in Spark. If the log names it in another case
    /// only, that is an error, because it would silently become NULL.
    fn values(&self, mut raw: HashMap<&str, Option<&str>>) -> Result<PartitionValues, String> {
        let value = |Column { logical, physical, textual }: &Column| {
            let told = raw.remove(physical.as_str());
            let folded = physical.to_lowercase();
            if told.is_none()
                && let Some(other) = raw.keys().find(|name| name.to_lowercase() == folded)
            {
                return Err(format!("a value of partition column `{other}`, and none of `{physical}`"));
            }
            let text = told.flatten().filter(|text| *textual || !text.is_empty());
            Ok((logical.clone(), text.map(str::to_owned)))
        };
        self.columns.iter().map(value).collect()
    }
}
