//! A live file as the log has it, and the partitions that files fall into, each with a number. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use delta_kernel::schema::DataType;

use super::keys::Hashes;
use crate::statistics::StatisticsText;
use crate::{DeletionVector, FileStatistics, PartitionValues, SourceFile, TableShape};

/// One live file of a version, as long as it is at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedFile<'a> {
    /// The path, as [`SourceFile::path`] has it.
    pub path: &'a str,
    /// Bytes.
    pub size: u64,
    /// Rows that are left after the deletion vector, where the log has statistics.
    pub rows: Option<u64>,
    /// The number of its partition, counted as they come: files of one number are of one partition.
    pub partition: usize,
    /// The partition, empty for an unpartitioned table.
    pub partition_values: &'a [(String, Option<String>)],
    /// Rows to leave out.
    pub deletion_vector: Option<DeletionVector>,
    /// The text of its statistics.
    pub stats: Option<&'a str>,
}

impl<'a> LoggedFile<'a> {
    /// What else the log tells of it.
    pub fn statistics(&self) -> Option<StatisticsText<'a>> {
        self.stats.and_then(StatisticsText::parse)
    }

    /// The file in fields of its own.
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

    /// The path as people write it.
    pub fn shown_path(&self) -> String {
        crate::place::decoded(self.path)
    }
}

/// Rows that are left of a file.
///
/// # Errors
/// More rows are deleted than there are.
pub(super) fn rows_left(stats: Option<&str>, vector: Option<&DeletionVector>) -> Result<Option<u64>, String> {
    let deleted = vector.map_or(0, |vector| vector.cardinality);
    let Some(stored) = stats.and_then(StatisticsText::rows_of) else { return Ok(None) };
    let left = stored.checked_sub(deleted);
    left.map(Some).ok_or_else(|| format!("{stored} rows, of which {deleted} are deleted"))
}

/// The partitions that came up. Memory grows with them, and not with files.
pub(super) struct Partitions {
    columns: Vec<Column>,
    hashes: Hashes,
    by_text: HashMap<u128, usize>,
    by_values: BTreeMap<Arc<PartitionValues>, usize>,
    all: Vec<Arc<PartitionValues>>,
}

/// Texts of partitions that are remembered beyond two of each.
const TEXTS_SPARE: usize = 1_000;

/// How the log names a partition column, and whether it can hold the empty text.
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

    /// The values of the partition of this number.
    pub(super) fn get(&self, number: usize) -> &[(String, Option<String>)] {
        self.all.get(number).map_or(&[], |values| values.as_slice())
    }

    /// The number of the partition that a file's entry names.
    ///
    /// # Errors
    /// Says what of the entry cannot be understood.
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
        // What names more than the table's columns has more texts than there are partitions.
        if self.by_text.len() <= 2 * self.all.len() + TEXTS_SPARE {
            self.by_text.insert(text, number);
        }
        Ok(number)
    }

    /// A partition column that the log does not name for a file is NULL in it, as Spark has it. One that it names in another
    /// case only is an error: it would be NULL without a word.
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
